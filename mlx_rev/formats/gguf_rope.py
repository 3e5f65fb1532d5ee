"""Llama 3's RoPE scaling in a GGUF file: the slowdown of each pair and, as keys of ours, the
numbers that it comes from, which other programs leave out."""

from dataclasses import replace
from typing import Any

import numpy as np

from mlx_rev.config import ModelConfig
from mlx_rev.errors import FormatError
from mlx_rev.fields import Fields
from mlx_rev.formats.model_file import checked_config

_TOLERANCE = 1e-4
_KEY = "mlx_rev."
_NUMBERS = ("rope_factor", "rope_low_frequency", "rope_high_frequency")
_CONTEXT = "rope_original_context"


def factors(config: ModelConfig) -> np.ndarray:
    """What the tensor rope_freqs.weight holds where RoPE is scaled, (head size / 2,)."""
    pairs = range(config.head_dim // 2)
    return np.array([config.rope_slowdown(pair) for pair in pairs], "<f4")


def metadata_of(config: ModelConfig) -> dict[str, np.generic]:
    """The numbers that the factors come from, by key; none where RoPE is not scaled."""
    if config.rope_factor == 1:
        return {}
    numbers = {_KEY + name: np.float64(getattr(config, name)) for name in _NUMBERS}
    return {**numbers, _KEY + _CONTEXT: np.uint64(config.rope_original_context)}


def scaled(config: ModelConfig, found: np.ndarray, metadata: Fields) -> ModelConfig:
    """`config` with the scaling that makes these factors: the one that the file states, or one
    with Llama 3's own frequencies, at the original contexts that there are.

    Raises FormatError where none does.
    """
    if not np.isfinite(found).all() or found.min() < 1:
        raise FormatError(f"{metadata.source}: rope_freqs.weight has numbers below 1; damaged")
    slowest = float(found.max())
    possible = [
        replace(config, rope_factor=slowest, rope_original_context=context)
        for context in (8192, 4096, 2048, 16384, 32768)
    ]
    if metadata.has(_KEY + _NUMBERS[0]):
        stated: dict[str, Any] = {name: metadata.number(_KEY + name) for name in _NUMBERS}
        stated[_CONTEXT] = metadata.integer(_KEY + _CONTEXT)
        possible.insert(0, checked_config(metadata.source, replace(config, **stated)))
    for made in possible:
        if np.allclose(factors(made), found, rtol=_TOLERANCE):
            return made
    raise FormatError(
        f"{metadata.source}: rope_freqs.weight scales RoPE in another way than Llama 3 does, which "
        "cannot be written down here"
    )
