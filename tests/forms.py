"""Every test of the model, the loss, the step and decoding runs the plain forms and the CPU's."""

import mlx.core as mx
import numpy as np
import pytest

from mlx_rev import backend as backends
from mlx_rev.backend import Backend
from mlx_rev.config import ModelConfig
from mlx_rev.data.batches import Batch
from mlx_rev.model.llama import Llama, get_weights, initialise, set_weights

backends.choose()  # so that what is compiled here lies where it does for a user


@pytest.fixture(params=[backends.PLAIN, backends.CPU], ids=["plain", "cpu"])
def backend(request: pytest.FixtureRequest) -> Backend:
    """The forms that a GPU runs, here on the CPU, and those of the CPU."""
    chosen: Backend = request.param
    if chosen is backends.CPU and mx.default_device() != mx.Device(mx.cpu):
        pytest.skip("the CPU's forms, and the device is a GPU")
    return chosen


any_shape = pytest.mark.parametrize(
    "change",
    [
        {},
        {"n_kv_heads": 4},
        {"tied": False},
        {"rope_theta": 500.0, "rope_factor": 4.0, "norm_eps": 1e-2},
    ],
    ids=str,
)
"""What a test's shape has otherwise than `shape()`."""


def shape(
    *, tied: bool = True, n_kv_heads: int = 2, dropout: float = 0.0, context: int = 64
) -> ModelConfig:
    """A model of two layers."""
    return ModelConfig(
        dim=32,
        n_layers=2,
        n_heads=4,
        n_kv_heads=n_kv_heads,
        hidden_dim=64,
        vocab_size=300,
        context=context,
        tied=tied,
        dropout=dropout,
    )


def random_llama(config: ModelConfig, backend: Backend, seed: int = 1) -> Llama:
    """Weights ten times the usual, so that attention is far from uniform, and norms that are not
    all 1."""
    model = Llama(config, backend.ops)
    initialise(model, seed)
    random = np.random.default_rng(seed)
    norms = {
        name: mx.array(random.normal(1, 0.3, weight.shape).astype(np.float32))
        for name, weight in get_weights(model).items()
        if weight.ndim == 1
    }
    set_weights(model, {n: w * 10 for n, w in get_weights(model).items()} | norms)
    return model


def random_tokens(*size: int) -> mx.array:
    """Ids of `shape`'s vocabulary."""
    return mx.array(np.random.default_rng(0).integers(0, 300, size))


def random_batch(
    config: ModelConfig, step: int = 0, *, accumulation: int = 2, rows: int = 6
) -> Batch:
    """Random tokens in segments of 20, some of which are no targets."""
    random = np.random.default_rng(step)
    size = (accumulation, rows, config.context)
    tokens = random.integers(3, config.vocab_size, size).astype(np.int32)
    targets = np.where(random.random(size) < 0.1, -1, np.roll(tokens, -1, axis=-1))
    start = np.broadcast_to(np.arange(config.context, dtype=np.int32) // 20 * 20, size)
    return Batch(tokens, targets.astype(np.int32), start, int((targets >= 0).sum()))
