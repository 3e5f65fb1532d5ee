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
    config = TrainConfig(
        weight_decay=0.2,
        beta1=0.8,
        beta2=0.97,
        learning_rate=0.01,
        min_learning_rate=0.01,
        warmup=0,
    )
    weights, moments = random_arrays(0), optimizer.initial_moments(random_arrays(0), config)
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
    for step in range(5):
        gradients = random_arrays(step + 1)
        scales = optimizer.scales(step, mx.array(1.0), config)
        weights, *moments = optimizer.update(config, weights, *moments, gradients, scales)
        for name, adam in peers.items():
            expected |= adam.apply_gradients({name: gradients[name]}, {name: expected[name]})
    for name, weight in weights.items():
        assert np.array(weight) == pytest.approx(np.array(expected[name]), abs=2e-6)


def test_clipping_brings_all_gradients_to_the_norm() -> None:
    gradients = random_arrays(1)
    flat = np.concatenate([np.array(gradient).ravel() for gradient in gradients.values()])
    squares = optimizer.squared_norms(gradients)
    factor, norm = optimizer.clipping(squares, 0.5)
    assert norm.item() == pytest.approx(np.linalg.norm(flat), rel=1e-6)
    assert np.linalg.norm(flat * factor.item()) == pytest.approx(0.5, rel=1e-4)
    for limit in (0.0, 1000.0):
        assert optimizer.clipping(squares, limit)[0].item() == 1


def test_the_norm_does_not_depend_on_the_order_of_the_arrays() -> None:
    """Not in its last bit: what is resumed has them in another."""
    squares = {f"{n:03d}": mx.array(1.0 if n else 1e8) for n in range(101)}
    turned = dict(reversed(squares.items()))
    assert optimizer.clipping(squares, 1.0)[1].item() == optimizer.clipping(turned, 1.0)[1].item()


def test_the_factor_is_of_the_gradients() -> None:
    weights, gradients, config = random_arrays(0), random_arrays(1), TrainConfig()
    halves = {name: gradient / 2 for name, gradient in gradients.items()}
    found, expected = (
        optimizer.update(
            *(config, weights, *optimizer.initial_moments(weights, config), given),
            optimizer.scales(3, mx.array(factor), config),
        )
        for given, factor in ((gradients, 0.5), (halves, 1.0))
    )
    for ours, theirs in zip(found, expected, strict=True):
        assert all(bool((ours[name] == theirs[name]).all()) for name in weights)


def test_the_rate_warms_up_then_falls_as_a_cosine() -> None:
    config = TrainConfig(steps=110, warmup=10, learning_rate=1.0, min_learning_rate=0.1)
    rates = [optimizer.learning_rate(step, config) for step in range(111)]
    assert rates[:10] == pytest.approx([0.1 * (step + 1) for step in range(10)])
    assert rates[10] == 1.0
    assert rates[60] == pytest.approx(0.55)
    assert rates[110] == pytest.approx(0.1)
    assert all(later < earlier for earlier, later in pairwise(rates[10:]))


def test_the_rate_stays_at_the_minimum_and_the_shortest_schedules_have_one() -> None:
    config = TrainConfig(steps=11, warmup=10, learning_rate=1.0, min_learning_rate=0.1)
    rates = [optimizer.learning_rate(step, config) for step in (10, 11, 12, 1000)]
    assert rates == pytest.approx([1.0, 0.1, 0.1, 0.1])
    only_warm_up = TrainConfig(steps=10, warmup=10, learning_rate=1.0, min_learning_rate=0.1)
    assert optimizer.learning_rate(9, only_warm_up) == 1.0
    assert optimizer.learning_rate(10, only_warm_up) == 1.0


def test_the_linear_schedule_is_a_line() -> None:
    config = TrainConfig(
        steps=110, warmup=10, learning_rate=1.0, min_learning_rate=0.2, schedule="linear"
    )
    rates = [optimizer.learning_rate(step, config) for step in range(10, 111)]
    assert rates == pytest.approx(np.linspace(1.0, 0.2, 101))


@pytest.mark.parametrize("schedule", ["linear", "cosine"])
def test_with_a_decay_share_the_rate_stays_at_its_peak_until_it_falls(schedule: str) -> None:
    config = TrainConfig(
        steps=110, warmup=10, learning_rate=1.0, min_learning_rate=0.0,
        schedule=schedule, decay_share=0.2,
    )  # fmt: skip
    rates = [optimizer.learning_rate(step, config) for step in range(111)]
    assert set(rates[10:91]) == {1.0}
    assert rates[100] == pytest.approx(0.5)
    assert rates[110] == pytest.approx(0.0)
    assert all(later < earlier for earlier, later in pairwise(rates[90:]))


def test_more_steps_leave_the_rates_before_the_fall_as_they_were() -> None:
    short, long = (TrainConfig(steps=steps, decay_share=0.1) for steps in (1000, 9000))
    for step in range(900):
        assert optimizer.learning_rate(step, short) == optimizer.learning_rate(step, long)


def test_hardly_any_gradients_are_neither_divided_by_nothing_nor_turned_round() -> None:
    """Clipping by PyTorch's formula: the norm and a millionth."""
    for size, factor in ((0.0, 0.5), (1e-6, 0.25), (3e-6, 0.125)):
        found, norm = optimizer.clipping({"x": mx.array(size * size)}, 5e-7)
        assert norm.item() == pytest.approx(size)
        assert found.item() == pytest.approx(factor, rel=1e-4)
    assert optimizer.clipping({"x": mx.array(0.0)}, 1.0)[0].item() == 1


def test_tiny_gradients_move_weights_as_mlxs_adamw_does() -> None:
    """Where the epsilon, 1e-8, is as large as they are."""
    config = TrainConfig(learning_rate=0.01, min_learning_rate=0.01, warmup=0, weight_decay=0.0)
    adam = peer.AdamW(0.01, betas=[config.beta1, config.beta2], eps=1e-8, weight_decay=0.0,
                      bias_correction=True)  # fmt: skip
    weights = {"vector": mx.zeros((7,))}
    moments = optimizer.initial_moments(weights, config)
    gradients = {"vector": random_arrays(1)["vector"] * 1e-8}
    expected = adam.apply_gradients(gradients, weights)
    scales = optimizer.scales(0, mx.array(1.0), config)
    found, *_ = optimizer.update(config, weights, *moments, gradients, scales)
    assert np.array(found["vector"]) == pytest.approx(np.array(expected["vector"]), rel=1e-4)
    assert mx.abs(found["vector"]).max().item() < 0.009


def test_a_step_takes_its_own_rate_for_the_mean_and_for_the_decay() -> None:
    config = TrainConfig(steps=20, warmup=10, learning_rate=0.5, min_learning_rate=0.1)
    for step in (0, 5, 12):
        rate = optimizer.learning_rate(step, config)
        scales = optimizer.scales(step, mx.array(0.25), config)
        assert scales.gradient.item() == 0.25
        assert scales.decay.item() == pytest.approx(1 - rate * config.weight_decay)
        assert scales.mean.item() == pytest.approx(rate / (1 - config.beta1 ** (step + 1)))
        assert scales.square.item() == pytest.approx(1 / (1 - config.beta2 ** (step + 1)))
