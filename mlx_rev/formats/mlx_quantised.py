"""mlx's affine quantisation, as mlx-lm stores it: packed uint32, scales and biases."""

from collections.abc import Mapping
from typing import Any

import mlx.core as mx
import numpy as np

from mlx_rev.errors import FormatError
from mlx_rev.formats.lazy import LazyModel
from mlx_rev.formats.safetensors import Entry

_GROUP_SIZES = (64, 32)


def group_size_of(model: LazyModel) -> int:
    """The largest group that divides the rows of all matrices; where none does, the smallest."""
    columns = [shape[1] for shape in model.shapes.values() if len(shape) == 2]
    for size in _GROUP_SIZES:
        if all(count % size == 0 for count in columns):
            return size
    return _GROUP_SIZES[-1]


def quantise(weight: np.ndarray, group_size: int) -> tuple[tuple[bytes, ...], float]:
    """8-bit values, scales and biases (float16) of a matrix, and the largest error."""
    values, scales, biases = mx.quantize(
        mx.array(weight).astype(mx.float16), group_size=group_size, bits=8
    )
    wide_scales, wide_biases = scales.astype(mx.float32), biases.astype(mx.float32)
    kept = mx.dequantize(values, wide_scales, wide_biases, group_size=group_size, bits=8)
    error = float(np.abs(np.array(kept) - weight).max())
    parts = tuple(np.array(part).tobytes() for part in (values, scales, biases))
    return parts, error


def read_quantised(
    tensors: Mapping[str, Entry], name: str, settings: Mapping[str, Any], source: str
) -> np.ndarray:
    """A matrix as float32. Raises FormatError where the settings or parts do not fit."""
    stem = name.removesuffix("weight")
    own = settings.get(stem.removesuffix("."), settings)
    mode = own.get("mode", "affine")
    if mode != "affine":
        raise FormatError(f"{source}: quantization mode is {mode!r}, expected 'affine'")
    try:
        group_size, bits = int(own["group_size"]), int(own["bits"])
        values, scales, biases = (
            mx.array(tensors[stem + part].read()) for part in ("weight", "scales", "biases")
        )
        whole = mx.dequantize(values, scales, biases, group_size=group_size, bits=bits)
    except (KeyError, TypeError, ValueError) as error:
        raise FormatError(f"{source}: {name} cannot be dequantised ({error})") from error
    return np.array(whole.astype(mx.float32))
