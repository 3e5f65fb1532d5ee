"""mlx's affine quantisation, as mlx-lm stores it: packed uint32, scales and biases."""

from collections.abc import Mapping

import mlx.core as mx
import numpy as np

from mlx_rev.errors import FormatError
from mlx_rev.fields import Fields
from mlx_rev.formats.model_file import ModelFile
from mlx_rev.formats.rows import LargestErrors, row_parts, row_slices
from mlx_rev.formats.safetensors import Entry

_GROUP_SIZES = (64, 32)
_KNOWN_GROUPS = (32, 64, 128)
_KNOWN_BITS = (2, 3, 4, 5, 6, 8)
"""What mlx can dequantise."""
_DEFAULT_GROUP, _DEFAULT_BITS = 64, 4
"""Of mlx.nn.quantize in affine mode."""


def group_size_of(model: ModelFile) -> int:
    """The largest group size that divides the rows of all matrices; if none does, the smallest."""
    columns = [shape[1] for shape in model.shapes.values() if len(shape) == 2]
    for size in _GROUP_SIZES:
        if all(count % size == 0 for count in columns):
            return size
    return _GROUP_SIZES[-1]


def quantise(
    weight: np.ndarray, group_size: int, name: str, errors: LargestErrors
) -> tuple[list[bytes], ...]:
    """8-bit values, scales and biases (float16) of a matrix, each in parts to be joined."""
    parts: tuple[list[bytes], ...] = [], [], []
    for rows in row_parts(weight):
        made = mx.quantize(mx.array(rows).astype(mx.float16), group_size=group_size, bits=8)
        values, scales, biases = made
        wide = scales.astype(mx.float32), biases.astype(mx.float32)
        kept = mx.dequantize(values, *wide, group_size=group_size, bits=8)
        errors.note(name, np.array(kept), rows)
        for into, part in zip(parts, made, strict=True):
            into.append(np.array(part).tobytes())
    return parts


def check_quantised(
    tensors: Mapping[str, Entry], name: str, shape: tuple[int, ...], settings: Fields
) -> None:
    """Raise FormatError if the settings, or the parts' types and shapes, do not make a matrix of
    `shape`."""
    group_size, bits = _settings(settings, name)
    stem = name.removesuffix("weight")
    rows, columns = shape[0], shape[-1]
    if len(shape) != 2 or columns % group_size:
        raise FormatError(
            f"{settings.source}: {name} is {shape}, not quantisable in groups of {group_size}"
        )
    groups = rows, columns // group_size
    values = rows, columns * bits // 32
    for part, wanted in (("weight", values), ("scales", groups), ("biases", groups)):
        found = tensors.get(stem + part)
        if found is None:
            raise FormatError(f"{settings.source}: {stem}{part} is missing")
        fits = found.dtype == "U32" if part == "weight" else found.is_float
        if found.shape != wanted or not fits:
            kind = "U32" if part == "weight" else "floats"
            raise FormatError(
                f"{settings.source}: {stem}{part} has shape {found.shape} of {found.dtype}, "
                f"expected {wanted} of {kind}"
            )


def read_quantised(tensors: Mapping[str, Entry], name: str, settings: Fields) -> np.ndarray:
    """A matrix as float32, whose parts have been checked."""
    group_size, bits = _settings(settings, name)
    stem = name.removesuffix("weight")
    parts = [tensors[stem + part].read() for part in ("weight", "scales", "biases")]
    rows, groups = parts[1].shape
    whole = np.empty((rows, groups * group_size), np.float32)
    for taken in row_slices(whole.shape):
        values, scales, biases = (mx.array(part[taken]) for part in parts)
        kept = mx.dequantize(values, scales, biases, group_size=group_size, bits=bits)
        whole[taken] = np.array(kept.astype(mx.float32))
    return whole


def _settings(settings: Fields, name: str) -> tuple[int, int]:
    """Group size and bits of a matrix: its own, or the general ones; null is mlx's default, as it
    is to mlx-lm."""
    own = name.removesuffix(".weight")
    ours = settings.has(own) and settings.values[own] is not True
    chosen = settings.object(own) if ours else settings
    if (mode := chosen.text("mode", "affine")) != "affine":
        raise FormatError(f"{settings.source}: quantization mode is {mode!r}, expected 'affine'")
    found = []
    for field, known, default in (
        ("group_size", _KNOWN_GROUPS, _DEFAULT_GROUP),
        ("bits", _KNOWN_BITS, _DEFAULT_BITS),
    ):
        value = chosen.integer(field, default if ours or field in chosen.values else None)
        if value not in known:
            raise chosen.error(field, f"one of {', '.join(map(str, known))}")
        found.append(value)
    return found[0], found[1]
