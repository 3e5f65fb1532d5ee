"""Q8_0: symmetric 8-bit groups, as in llama2.c (export.py) and GGUF (ggml-quants)."""

import numpy as np


def quantised(
    weight: np.ndarray, group_size: int, scale_type: type[np.floating] = np.float32
) -> tuple[np.ndarray, np.ndarray]:
    """int8 values and the scales, max|w| / 127, of groups of `group_size` in row order.

    The scales are rounded to `scale_type` before the values are computed, so that a value is within
    half a step of its weight; a group of zeros has scale 0, and one beyond the type's range an
    infinite one.
    """
    groups = weight.reshape(-1, group_size).astype(np.float32, copy=False)
    with np.errstate(over="ignore"):
        scales = (np.abs(groups).max(axis=1) / np.float32(127)).astype(scale_type)
    steps = np.where(scales == 0, 1, scales).astype(np.float32)
    values = np.clip(np.rint(groups / steps[:, None]), -127, 127).astype(np.int8)
    return values.ravel(), scales


def dequantised(values: np.ndarray, scales: np.ndarray, group_size: int) -> np.ndarray:
    """The float32 values, flat, that int8 values and their groups' scales encode."""
    groups = values.reshape(-1, group_size).astype(np.float32)
    with np.errstate(over="ignore", invalid="ignore"):  # an infinite scale
        groups *= scales.astype(np.float32)[:, None]
    return groups.ravel()
