"""The step on one rank and on several."""

from dataclasses import replace

import mlx.core as mx
import numpy as np
import pytest

from mlx_rev.config import ModelConfig, TrainConfig
from mlx_rev.data.batches import Batch
from mlx_rev.errors import ConfigError
from mlx_rev.model.llama import Llama, Weights, get_weights, initialise
from mlx_rev.train import optimizer, rank
from mlx_rev.train.step import TrainingStep, _shared_out

CONFIG = TrainConfig(steps=50, batch_size=6, accumulation=2, warmup=5, ranks=1)


def weights_of(shape: ModelConfig) -> Weights:
    model = Llama(shape)
    initialise(model, 0)
    return get_weights(model)


def batch(shape: ModelConfig, step: int) -> Batch:
    """Random tokens, some of which are no targets."""
    random = np.random.default_rng(step)
    rows = (CONFIG.accumulation, CONFIG.batch_size, shape.context)
    tokens = random.integers(3, shape.vocab_size, rows).astype(np.int32)
    targets = np.where(random.random(rows) < 0.1, -1, np.roll(tokens, -1, axis=-1))
    first = np.broadcast_to(np.arange(shape.context, dtype=np.int32) // 32 * 32, rows)
    return Batch(tokens, targets.astype(np.int32), first, int((targets >= 0).sum()))


def trained(
    shape: ModelConfig, config: TrainConfig, steps: int
) -> tuple[list[float], list[float], Weights]:
    """Losses, norms and final weights."""
    weights = weights_of(shape)
    step = TrainingStep(shape, config, weights, optimizer.initial_moments(weights))
    try:
        losses, norms = zip(*(step(n, batch(shape, n % 3)) for n in range(steps)), strict=True)
        mx.eval(losses, norms, step.weights)
    finally:
        step.close()
    return [x.item() for x in losses], [x.item() for x in norms], step.weights


@pytest.mark.parametrize("ranks", [2, 3])
def test_any_number_of_ranks_trains_alike(tiny: ModelConfig, ranks: int) -> None:
    shape = replace(tiny, tied=False)
    losses, norms, weights = trained(shape, CONFIG, 50)
    assert losses[0] > losses[-1] + 0.2
    shared, shared_norms, shared_weights = trained(shape, replace(CONFIG, ranks=ranks), 50)
    assert shared == pytest.approx(losses, abs=1e-4)
    assert shared_norms == pytest.approx(norms, rel=1e-3)
    assert list(shared_weights) == list(weights)


def test_pieces_change_no_bit(tiny: ModelConfig, monkeypatch: pytest.MonkeyPatch) -> None:
    config = replace(CONFIG, ranks=2)
    losses, norms, weights = trained(tiny, config, 4)
    monkeypatch.setattr(rank, "_LONGEST_IN_PIECES", 0)
    whole_losses, whole_norms, whole_weights = trained(tiny, config, 4)
    assert (losses, norms) == (whole_losses, whole_norms)
    assert all(bool((weights[name] == whole_weights[name]).all()) for name in weights)


def test_a_step_takes_over_the_memory_of_the_one_before(tiny: ModelConfig) -> None:
    shape = replace(tiny, vocab_size=20_000)
    weights = weights_of(shape)
    size = sum(array.nbytes for array in weights.values())
    step = TrainingStep(shape, CONFIG, weights, optimizer.initial_moments(weights))
    del weights
    mx.eval(step.weights, step.moments)
    before = mx.get_active_memory()
    for number in range(3):
        step(number, batch(shape, 0))
        mx.eval(step.weights, step.moments)
    assert mx.get_active_memory() < before + size / 10
    step.close()


def test_weights_are_shared_out_evenly(tiny: ModelConfig) -> None:
    weights = weights_of(replace(tiny, n_layers=6))
    shares = _shared_out(weights, 3)
    assert sorted(name for share in shares for name in share) == sorted(weights)
    sizes = [sum(weights[name].size for name in share) for share in shares]
    assert max(sizes) < 1.2 * min(sizes)


def test_more_ranks_than_rows_are_refused(tiny: ModelConfig) -> None:
    weights = weights_of(tiny)
    config = replace(CONFIG, ranks=7)
    with pytest.raises(ConfigError, match="batch_size is 6, too small for 1 nodes of 7 ranks"):
        TrainingStep(tiny, config, weights, optimizer.initial_moments(weights))
