"""The named runs: llama2.c's sizes, and `quick` for the bundled stories."""

import math
from typing import Any

from mlx_rev.config import ModelConfig, RunConfig, TrainConfig
from mlx_rev.errors import ConfigError


def llama_hidden_dim(dim: int, multiple_of: int = 32) -> int:
    """The SwiGLU width of llama2.c: two thirds of 4·dim, rounded up to a multiple."""
    return multiple_of * math.ceil(int(8 * dim / 3) / multiple_of)


def _preset(model: ModelConfig, **train: Any) -> RunConfig:
    return RunConfig(model=model, train=TrainConfig(**train))


def presets() -> dict[str, RunConfig]:
    """The named sizes: llama2.c's four, and `quick` for the bundled stories."""
    return {
        "quick": _preset(
            ModelConfig(n_heads=8, n_kv_heads=8, hidden_dim=256, tied=False),
            steps=9000,
            batch_size=4,
            learning_rate=2e-3,
            min_learning_rate=2e-5,
            weight_decay=0.01,
            init_std=0.06,
            embedding_init_std=0.3,
            beta2=0.98,
            log_every=50,
            eval_every=900,
            save_every=900,
            sample_every=900,
        ),
        "260k": _preset(
            ModelConfig(
                dim=64,
                n_layers=5,
                n_heads=8,
                n_kv_heads=4,
                hidden_dim=172,
                vocab_size=512,
                context=512,
            ),
            steps=10_000,
            learning_rate=4e-3,
            min_learning_rate=0.0,
            init_std=0.05,
            embedding_init_std=0.05,
            beta2=0.98,
        ),
        "15m": _llama2c(288, 6, 6, 256, steps=100_000, learning_rate=5e-4, warmup=1000),
        "42m": _llama2c(512, 8, 8, 1024, steps=100_000, learning_rate=5e-4, warmup=1000),
        "110m": _llama2c(768, 12, 12, 1024, steps=200_000, learning_rate=4e-4, warmup=2000),
    }


def preset(name: str) -> RunConfig:
    """The preset called `name`; ConfigError names the ones there are."""
    known = presets()
    if name not in known:
        raise ConfigError(f"preset {name!r}: unknown, expected one of {', '.join(known)}")
    return known[name]


def _llama2c(dim: int, n_layers: int, n_heads: int, context: int, **train: Any) -> RunConfig:
    """A size of llama2.c with Llama's vocabulary."""
    model = ModelConfig(
        dim=dim,
        n_layers=n_layers,
        n_heads=n_heads,
        n_kv_heads=n_heads,
        hidden_dim=llama_hidden_dim(dim),
        vocab_size=32000,
        context=context,
    )
    return _preset(model, batch_size=8, accumulation=4, min_learning_rate=0.0, **train)
