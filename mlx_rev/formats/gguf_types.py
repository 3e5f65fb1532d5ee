"""How numbers are kept in the tensors of a GGUF file.

What is not written here (BF16, the K-quants and others) is dequantised by llama.cpp's package gguf,
which is handed blocks whose count and size have been checked.
"""

from enum import IntEnum

import numpy as np

from mlx_rev.errors import FormatError
from mlx_rev.formats.q8 import dequantised, quantised

Q8_GROUP = 32
_BLOCKS_AT_ONCE = 1 << 15


class Type(IntEnum):
    """Tensor types that are written, by ggml's numbers."""

    F32 = 0
    F16 = 1
    Q8_0 = 8


WRITTEN_BLOCKS = {Type.F32: (1, 4), Type.F16: (1, 2), Type.Q8_0: (Q8_GROUP, Q8_GROUP + 2)}
"""Numbers in a block, and its bytes."""


def block_of(number: int, what: str) -> tuple[int, int]:
    """Numbers in a block of a tensor type, and its bytes.

    Raises FormatError, naming the tensor as `what`, for a type that cannot be dequantised.
    """
    if number in set(Type):
        return WRITTEN_BLOCKS[Type(number)]
    from gguf import GGML_QUANT_SIZES, GGMLQuantizationType, dequantize

    try:
        kind = GGMLQuantizationType(number)
        size, length = GGML_QUANT_SIZES[kind]
        dequantize(np.zeros((1, length), np.uint8), kind)
    except (ValueError, KeyError, NotImplementedError) as error:
        raise FormatError(
            f"{what} has type {number}, which cannot be read; expected F32, F16, BF16 or one of "
            "llama.cpp's quantised types"
        ) from error
    return int(size), int(length)


def encoded(weight: np.ndarray, type: Type) -> bytes:
    """Numbers as the bytes of a tensor; those beyond its range come back infinite or NaN."""
    if type is Type.F32:
        return weight.astype("<f4", copy=False).tobytes()
    if type is Type.F16:
        with np.errstate(over="ignore"):
            return weight.astype("<f2").tobytes()
    values, scales = quantised(weight, Q8_GROUP, np.float16)
    blocks = np.empty(len(scales), [("scale", "<f2"), ("values", "i1", Q8_GROUP)])
    blocks["scale"], blocks["values"] = scales, values.reshape(-1, Q8_GROUP)
    return blocks.tobytes()


def decoded(raw: np.ndarray, number: int) -> np.ndarray:
    """The float32 values, flat, that the bytes of a tensor encode."""
    if number == Type.Q8_0:
        blocks = raw.view([("scale", "<f2"), ("values", "i1", Q8_GROUP)])
        return dequantised(blocks["values"], blocks["scale"], Q8_GROUP)
    if number in (Type.F32, Type.F16):
        return raw.view("<f4" if number == Type.F32 else "<f2").astype(np.float32, copy=False)
    from gguf import GGML_QUANT_SIZES, GGMLQuantizationType, dequantize

    kind = GGMLQuantizationType(number)
    size, length = GGML_QUANT_SIZES[kind]
    whole = raw.reshape(-1, length)
    values = np.empty((len(whole), size), np.float32)
    with np.errstate(over="ignore", invalid="ignore"):  # a damaged scale; the reader refuses inf
        for start in range(0, len(whole), _BLOCKS_AT_ONCE):
            part = slice(start, start + _BLOCKS_AT_ONCE)
            row = whole[part].reshape(1, -1)  # it goes through many short rows slowly
            values[part] = dequantize(row, kind).reshape(-1, size)
    return values.reshape(-1)
