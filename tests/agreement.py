"""Whether two functions have the same values and the same gradients."""

from collections.abc import Callable

import mlx.core as mx
import numpy as np

TOLERANCE = 1e-5


def normal(seed: int, *shape: int, scale: float = 1.0) -> mx.array:
    return mx.array(np.random.default_rng(seed).normal(0, scale, shape).astype(np.float32))


def agree(
    ours: Callable, plain: Callable, *inputs: mx.array, slope: mx.array | None = None
) -> None:
    """All values, and the gradients of all inputs, agree, relative to the largest entry. `slope` is
    what the values' gradients are, 1 by default. Nothing is compiled: each kernel would take a
    quarter of a second, and the step's tests have them.

    A gradient that should be 0 may be off by a millionth of the inputs, which are about 1.
    """
    slope = mx.array(1.0) if slope is None else slope

    def differentiated(function: Callable) -> Callable:
        return lambda *given: [*map(tuple, mx.vjp(function, given, [slope]))]

    values, gradients = differentiated(plain)(*inputs)
    found, by_inputs = differentiated(ours)(*inputs)
    for one, other in zip((*found, *by_inputs), (*values, *gradients), strict=True):
        assert bool(mx.isfinite(one).all())
        largest = max(mx.abs(other).max().item(), 0.1)
        assert mx.abs(one - other).max().item() <= TOLERANCE * largest
