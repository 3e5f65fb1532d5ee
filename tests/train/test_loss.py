"""The loss of a step and its gradients, in both forms: those of the reference."""

from dataclasses import replace

import mlx.core as mx
import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from mlx_rev.backend import Backend
from mlx_rev.config import ModelConfig, TrainConfig
from mlx_rev.cpu import loss
from mlx_rev.data.batches import Batch
from mlx_rev.model.llama import get_weights
from mlx_rev.train import optimizer
from mlx_rev.train.step import TrainingStep
from tests import reference
from tests.forms import backend, random_batch, random_llama, shape

__all__ = ["backend"]


def assert_the_references(backend: Backend, config: ModelConfig, batch: Batch) -> None:
    """Loss and gradients of a step on `batch`, before they are clipped."""
    weights = get_weights(random_llama(config, backend))
    accumulation, rows = batch.inputs.shape[:2]
    train = TrainConfig(batch_size=rows, accumulation=accumulation, workers=1, compile=False)
    moments = optimizer.initial_moments(weights, train)
    step = TrainingStep(config, train, weights, moments, backend=backend)
    found, gradients = step._gradients(0, batch)
    mx.eval(found, gradients)
    step.close()
    arrays = (batch.inputs, batch.targets, batch.segment_start)
    flat = [array.reshape(-1, config.context).tolist() for array in arrays]
    plain = list(zip(*flat, strict=True))
    nats, expected = mx.value_and_grad(lambda w: reference.mean_loss(config, w, plain))(weights)
    assert found.item() == pytest.approx(nats.item(), rel=1e-6, abs=1e-6)
    assert gradients.keys() == expected.keys()
    for name, gradient in expected.items():
        largest = max(mx.abs(gradient).max().item(), 0.1)
        assert mx.abs(gradients[name] - gradient).max().item() <= 2e-5 * largest, name


@given(
    rows=st.integers(1, 3),
    context=st.integers(1, 30),
    vocabulary=st.integers(2, 300),
    ignored=st.floats(0, 1),
    tied=st.booleans(),
    seed=st.integers(0, 99),
)
# The backend is the same for all of a test's examples.
@settings(max_examples=12, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_of_any_targets(
    backend: Backend,
    rows: int,
    context: int,
    vocabulary: int,
    ignored: float,
    tied: bool,
    seed: int,
) -> None:
    """Every id counts as one, down to 0; what is below is none, and one at least is left."""
    random, size = np.random.default_rng(seed), (1, rows, context)
    keep = random.random(size) >= ignored
    keep[0, 0, 0] = True
    tokens, targets = (random.integers(0, vocabulary, size).astype(np.int32) for _ in range(2))
    start = np.broadcast_to(np.arange(context, dtype=np.int32) // 20 * 20, size)
    batch = Batch(tokens, np.where(keep, targets, -1), start, int(keep.sum()))
    config = replace(shape(tied=tied, context=context), n_layers=1, vocab_size=vocabulary)
    assert_the_references(backend, config, batch)


def test_of_several_micro_batches_and_chunks(
    backend: Backend, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Each a share of the mean over all targets; on a CPU in chunks of 256 rows at most."""
    monkeypatch.setattr(loss, "_LOGITS_AT_ONCE", 1)
    config = replace(shape(), n_layers=1)
    assert_the_references(backend, config, random_batch(config, accumulation=2, rows=5))
