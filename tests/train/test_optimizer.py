from itertools import pairwise

import mlx.core as mx
import mlx.optimizers as peer
import numpy as np
import pytest

from mlx_rev.config import TrainConfig
from mlx_rev.train import optimizer


def random_arrays(seed: int) -> dict[str, mx.array]:
    random = np.random.default_rng(seed)
    return {
        "matrix": mx.array(random.normal(size=(5, 7)).astype(np.float32)),
        "vector": mx.array(random.normal(size=(7,)).astype(np.float32)),
    }


def test_update_is_mlxs_adamw_with_bias_correction_and_no_decay_on_vectors() -> None:
    config = TrainConfig(weight_decay=0.2, beta1=0.8, beta2=0.97)
    weights, moments = random_arrays(0), optimizer.initial_moments(random_arrays(0))
    expected = random_arrays(0)
    peers = {
        name: peer.AdamW(
            0.01,
            betas=[config.beta1, config.beta2],
            weight_decay=decay,
            bias_correction=True,
        )
        for name, decay in (("matrix", 0.2), ("vector", 0.0))
    }
    for step in range(1, 6):
        gradients = random_arrays(step)
        weights, moments = optimizer.update(
            weights, gradients, moments, mx.array(0.01), mx.array(float(step)), config
        )
        for name, adam in peers.items():
            expected |= adam.apply_gradients({name: gradients[name]}, {name: expected[name]})
    for name, weight in weights.items():
        assert np.array(weight) == pytest.approx(np.array(expected[name]), abs=2e-6)


def test_clipping_scales_all_gradients_to_the_norm() -> None:
    gradients = random_arrays(1)
    flat = np.concatenate([np.array(gradient).ravel() for gradient in gradients.values()])
    clipped, norm = optimizer.clip(gradients, 0.5)
    assert norm.item() == pytest.approx(np.linalg.norm(flat), rel=1e-6)
    assert optimizer.global_norm(clipped).item() == pytest.approx(0.5, rel=1e-4)
    for limit in (0.0, 1000.0):
        same, _ = optimizer.clip(gradients, limit)
        assert all(bool((same[name] == gradients[name]).all()) for name in gradients)


def test_the_rate_warms_up_then_falls_as_a_cosine() -> None:
    config = TrainConfig(steps=110, warmup=10, learning_rate=1.0, min_learning_rate=0.1)
    rates = [optimizer.learning_rate(step, config) for step in range(111)]
    assert rates[:10] == pytest.approx([0.1 * (step + 1) for step in range(10)])
    assert rates[10] == 1.0
    assert rates[60] == pytest.approx(0.55)
    assert rates[110] == pytest.approx(0.1)
    assert all(later < earlier for earlier, later in pairwise(rates[10:]))
