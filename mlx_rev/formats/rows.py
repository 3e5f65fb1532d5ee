"""Weights taken some rows at a time, so that encoding one makes no second copy of it."""

from collections.abc import Iterator

import numpy as np

from mlx_rev.errors import FormatError

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
    """The largest error of each weight of a model, from that of its parts."""

    def __init__(self, source: str) -> None:
        super().__init__()
        self._source = source

    def note(self, name: str, kept: np.ndarray, exact: np.ndarray) -> None:
        """Record how far `kept`, what a type holds of an array, is from `exact`.

        Raises FormatError for values beyond the type's range, of which infinity or NaN is left.
        """
        if not np.isfinite(kept).all():
            largest = float(np.abs(exact).max(initial=0))
            raise FormatError(
                f"{self._source}: {name} has values of up to {largest:.3g}, beyond the range of "
                "the type asked for; use --dtype float32"
            )
        error = float(np.abs(kept.ravel() - exact.ravel()).max(initial=0))
        self[name] = max(self.get(name, 0.0), error)
