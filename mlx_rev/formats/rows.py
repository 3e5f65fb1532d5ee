"""Weights taken some rows at a time, so that encoding one makes no second copy of it."""

from collections.abc import Iterator

import numpy as np

_PART = 1 << 20
"""Values in a part, about."""


def row_slices(shape: tuple[int, ...]) -> Iterator[slice]:
    """Slices of the first axis of about a million values each; a vector is one slice."""
    rows = shape[0]
    step = rows if len(shape) == 1 else max(1, _PART // shape[1])
    for start in range(0, rows, step):
        yield slice(start, min(start + step, rows))


def row_parts(weight: np.ndarray) -> Iterator[np.ndarray]:
    """The rows of `weight`, as views of about a million values each."""
    return (weight[rows] for rows in row_slices(weight.shape))


class LargestErrors(dict[str, float]):
    """The largest error of each weight, from that of its parts."""

    def note(self, name: str, kept: np.ndarray, exact: np.ndarray) -> None:
        """Record how far `kept` is from `exact`, an array of the same size."""
        error = float(np.abs(kept.ravel() - exact.ravel()).max(initial=0))
        self[name] = max(self.get(name, 0.0), error)
