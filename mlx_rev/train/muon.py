"""Muon: momentum whose matrix is made orthogonal before it is followed.

Jordan et al., "Muon: An optimizer for hidden layers in neural networks" (2024),
https://kellerjordan.github.io/posts/muon/.
"""

import mlx.core as mx

_MOMENTUM = 0.95
"""Decay rate of the gradients' running mean."""
_COEFFICIENTS = 3.4445, -4.7750, 2.0315
"""Of the quintic that brings singular values near 1 fastest."""
_ITERATIONS = 5


def suits(name: str, weight: mx.array) -> bool:
    """Whether a weight is a matrix between hidden layers, as embedding and output projection are
    not: those and vectors are AdamW's."""
    return weight.ndim == 2 and ".layers." in name


def direction(gradient: mx.array, mean: mx.array) -> tuple[mx.array, mx.array]:
    """Where to go from a gradient (O, I) and its running mean, and the new mean; float32.

    Nesterov's momentum, made orthogonal; a tall matrix goes further by the root of its proportions,
    so that each of its outputs moves as far as those of a square one.
    """
    mean = _MOMENTUM * mean + (1 - _MOMENTUM) * gradient
    ahead = _MOMENTUM * mean + (1 - _MOMENTUM) * gradient
    rows, columns = gradient.shape
    return orthogonal(ahead) * max(1.0, rows / columns) ** 0.5, mean


def orthogonal(matrix: mx.array) -> mx.array:
    """Roughly the nearest matrix with orthonormal rows or columns, whichever are fewer, by
    Newton-Schulz iterations in float32: singular values come out at 0.7 to 1.2."""
    first, third, fifth = _COEFFICIENTS
    tall = matrix.shape[0] > matrix.shape[1]
    x = matrix.T if tall else matrix
    x = x / (mx.sqrt((x * x).sum()) + 1e-7)
    for _ in range(_ITERATIONS):
        square = x @ x.T
        x = first * x + (third * square + fifth * (square @ square)) @ x
    return x.T if tall else x
