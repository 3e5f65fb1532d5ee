import mlx.core as mx
import mlx.optimizers as peer
import numpy as np
import pytest

from mlx_rev.config import TrainConfig
from mlx_rev.train import muon, optimizer

SHAPES = {
    "model.layers.0.mlp.up_proj.weight": (24, 8),
    "model.layers.0.mlp.down_proj.weight": (8, 24),
    "model.layers.0.self_attn.q_proj.weight": (8, 8),
    "model.layers.0.input_layernorm.weight": (8,),
    "model.embed_tokens.weight": (30, 8),
}


def random_arrays(seed: int) -> dict[str, mx.array]:
    random = np.random.default_rng(seed)
    return {
        name: mx.array(random.normal(size=shape).astype(np.float32))
        for name, shape in SHAPES.items()
    }


def constant(optimizer: str = "muon", **others: float) -> TrainConfig:
    """Rates that stay as they are."""
    rates = {"learning_rate": 0.01, "min_learning_rate": 0.01}
    return TrainConfig(optimizer=optimizer, warmup=0, **rates, **others)


def trained(config: TrainConfig, steps: int) -> dict[str, mx.array]:
    weights, moments = random_arrays(0), optimizer.initial_moments(random_arrays(0), config)
    for step in range(steps):
        scales = optimizer.scales(step, mx.array(1.0), config)
        gradients = random_arrays(step + 1)
        weights, *moments = optimizer.update(config, weights, *moments, gradients, scales)
    return weights


def test_matrices_of_blocks_are_updated_as_by_mlxs_muon_and_all_else_by_adamw() -> None:
    rates = {"muon_learning_rate": 0.03, "weight_decay": 0.0}
    theirs, by_muon = peer.Muon(0.03, momentum=0.95, weight_decay=0.0), random_arrays(0)
    for step in range(4):
        by_muon = theirs.apply_gradients(random_arrays(step + 1), by_muon)
    by_adamw = trained(constant("adamw", **rates), 4)
    ours = trained(constant(**rates), 4)
    for name, weight in ours.items():
        expected = by_muon if "_proj" in name else by_adamw
        assert np.array(weight) == pytest.approx(np.array(expected[name]), abs=2e-5)


def test_decay_is_decoupled() -> None:
    """Without a gradient nothing but the decay moves a matrix."""
    weights, config = random_arrays(0), constant(muon_learning_rate=0.5, weight_decay=0.1)
    none = {name: mx.zeros_like(weight) for name, weight in weights.items()}
    moments = optimizer.initial_moments(weights, config)
    scales = optimizer.scales(0, mx.array(1.0), config)
    after = optimizer.update(config, weights, *moments, none, scales)[0]
    for name, weight in weights.items():
        factor = 0.95 if "_proj" in name else 0.999 if weight.ndim == 2 else 1.0
        assert np.array(after[name]) == pytest.approx(np.array(weight) * factor, abs=1e-6)


@pytest.mark.parametrize("shape", [(8, 8), (20, 8), (8, 20)])
def test_orthogonal_keeps_directions_and_evens_out_their_sizes(shape: tuple[int, int]) -> None:
    matrix = np.random.default_rng(0).normal(size=shape).astype(np.float32)
    found = np.array(muon.orthogonal(mx.array(matrix)))
    left, sizes, right = np.linalg.svd(matrix, full_matrices=False)
    inside = left.T @ found @ right.T
    assert np.abs(inside - np.diag(np.diag(inside))).max() < 1e-3
    assert ((np.diag(inside) > 0.6) & (np.diag(inside) < 1.3)).all()
    assert sizes.max() / sizes.min() > 2


def test_its_weights_need_no_mean_square() -> None:
    moments = optimizer.initial_moments(random_arrays(0), constant())
    assert moments.mean.keys() == SHAPES.keys()
    assert sorted(moments.square) == [
        "model.embed_tokens.weight",
        "model.layers.0.input_layernorm.weight",
    ]


def test_both_rates_follow_the_schedule() -> None:
    config = TrainConfig(steps=100, warmup=10, muon_learning_rate=0.04, min_learning_rate=0.0)
    for step in (0, 5, 10, 50, 99):
        scales = optimizer.scales(step, mx.array(1.0), config)
        share = optimizer.learning_rate(step, config) / config.learning_rate
        assert scales.muon.item() == pytest.approx(0.04 * share)
