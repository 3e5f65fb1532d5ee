"""exp in plain arithmetic: MLX computes its own one element at a time on a CPU.

No calls, no branches and nothing done with bits, so that MLX makes one kernel of it and the
compiler vectorises that.
"""

import math

import mlx.core as mx

_TAYLOR_OF_EIGHTH = [8.0**-power / math.factorial(power) for power in range(8)]
_TINY = 1e-30
"""Keeps a division by 0 from being one."""


def exp_neg(z: mx.array) -> mx.array:
    """e^-z of z >= 0, with an absolute error under 2e-6; exactly 0 for large z.

    1 / (e^(z/8))^8, e^(z/8) by its Taylor polynomial. Where the polynomial is wrong, beyond 20, the
    result is almost 0.
    """
    c = _TAYLOR_OF_EIGHTH
    z2 = z * z
    low = (c[0] + c[1] * z) + z2 * (c[2] + c[3] * z)
    high = (c[4] + c[5] * z) + z2 * (c[6] + c[7] * z)
    root = low + (z2 * z2) * high
    square = root * root
    fourth = square * square
    return 1 / (fourth * fourth)


def sigmoid(x: mx.array) -> mx.array:
    """1 / (1 + e^-x), with an absolute error under 5e-7."""
    size = mx.abs(x)
    tail = exp_neg(size)
    # (1 + tanh(x / 2)) / 2, and tanh(x / 2) is (1 - tail) / (1 + tail) with the sign of x.
    return 0.5 + 0.5 * x * ((1 - tail) / ((1 + tail) * (size + _TINY)))
