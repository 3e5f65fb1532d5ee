"""Llama 3's RoPE scaling in a GGUF file: the slowdown of each pair, without how it came about."""

from dataclasses import replace

import numpy as np

from mlx_rev.config import ModelConfig
from mlx_rev.errors import FormatError

_TOLERANCE = 1e-4


def rope_factors(config: ModelConfig) -> np.ndarray | None:
    """What the tensor rope_freqs.weight holds, (head size / 2,); None where RoPE is not scaled."""
    if config.rope_factor == 1:
        return None
    return _factors(config)


def _factors(config: ModelConfig) -> np.ndarray:
    pairs = range(config.head_dim // 2)
    return np.array([config.rope_slowdown(pair) for pair in pairs], "<f4")


def scaled(config: ModelConfig, factors: np.ndarray, source: str) -> ModelConfig:
    """`config` with the scaling that makes these factors: with Llama 3's own frequencies, at the
    original contexts that there are. Raises FormatError where none does."""
    if not np.isfinite(factors).all() or factors.min() < 1:
        raise FormatError(f"{source}: rope_freqs.weight has numbers below 1; damaged")
    if factors.max() == 1:
        return config
    for context in (8192, 4096, 2048, 16384, 32768):
        made = replace(config, rope_factor=float(factors.max()), rope_original_context=context)
        if np.allclose(_factors(made), factors, rtol=_TOLERANCE):
            return made
    raise FormatError(
        f"{source}: rope_freqs.weight scales RoPE in another way than Llama 3 does, which cannot "
        "be written down here"
    )
