"""AdamW with two groups, warm-up and cosine, clipping: pure functions over named arrays.

Written out rather than taken from mlx.optimizers so that all state is plain arguments and
results of the compiled step, and resume is a matter of saving two dictionaries.
"""

import math
from typing import NamedTuple

import mlx.core as mx

from mlx_rev.config import TrainConfig

Arrays = dict[str, mx.array]

_EPSILON = 1e-8


class Moments(NamedTuple):
    """AdamW's running means, by weight name, in float32."""

    mean: Arrays
    square: Arrays


def initial_moments(weights: Arrays) -> Moments:
    """Zeros of the weights' shapes."""
    return Moments(
        {name: mx.zeros(weight.shape) for name, weight in weights.items()},
        {name: mx.zeros(weight.shape) for name, weight in weights.items()},
    )


def learning_rate(step: int, config: TrainConfig) -> float:
    """The rate of step `step` (from 0): linear warm-up, then half a cosine to the minimum."""
    if step < config.warmup:
        return config.learning_rate * (step + 1) / config.warmup
    progress = (step - config.warmup) / max(1, config.steps - config.warmup)
    share = 0.5 * (1 + math.cos(math.pi * min(1.0, progress)))
    return config.min_learning_rate + share * (config.learning_rate - config.min_learning_rate)


def squared_norms(gradients: Arrays) -> Arrays:
    """The squared Euclidean norm of each gradient, as a float32 scalar."""
    flat = {
        name: gradient.astype(mx.float32).reshape(1, -1) for name, gradient in gradients.items()
    }
    return {name: (row @ row.T).reshape(()) for name, row in flat.items()}


def clipping(squares: Arrays, largest: float) -> tuple[mx.array, mx.array]:
    """The factor that brings the gradients' global norm down to at most `largest` (0: none does),
    and that norm, from the gradients' squared norms.

    Summed in the order of their names: a checkpoint gives the weights in another order than a
    new model does, and the sum must not depend on it by a bit.
    """
    norm = mx.sqrt(mx.stack([squares[name] for name in sorted(squares)]).sum())
    if largest == 0:
        return mx.ones_like(norm), norm
    return mx.minimum(largest / (norm + 1e-6), 1.0), norm


class Scales(NamedTuple):
    """The numbers of one step of AdamW, as scalar arrays so that new values do not retrace, and
    made beforehand so that they are not computed anew for every weight."""

    gradient: mx.array
    """Of the gradients, from `clipping`."""
    decay: mx.array
    """What is left of a matrix."""
    mean: mx.array
    """Of the mean: the learning rate and its bias correction."""
    square: mx.array
    """Of the mean square: its bias correction."""


def scales(step: int, factor: mx.array, config: TrainConfig) -> Scales:
    """The scales of step `step` (from 0) whose gradients are to be multiplied by `factor`."""
    rate = learning_rate(step, config)
    return Scales(
        factor,
        mx.array(1 - rate * config.weight_decay),
        mx.array(rate / (1 - config.beta1 ** (step + 1))),
        mx.array(1 / (1 - config.beta2 ** (step + 1))),
    )


def update(
    weights: Arrays, gradients: Arrays, moments: Moments, scales: Scales, config: TrainConfig
) -> tuple[Arrays, Moments]:
    """One step of AdamW with bias correction; decay on matrices only.

    Loshchilov and Hutter, "Decoupled Weight Decay Regularization" (2019), algorithm 2.
    """
    after, mean, square = {}, {}, {}
    for name, weight in weights.items():
        gradient = gradients[name].astype(mx.float32) * scales.gradient
        mean[name] = config.beta1 * moments.mean[name] + (1 - config.beta1) * gradient
        square[name] = config.beta2 * moments.square[name] + (1 - config.beta2) * gradient.square()
        root = mx.sqrt(square[name] * scales.square) + _EPSILON
        left = weight * scales.decay if weight.ndim >= 2 else weight
        after[name] = left - scales.mean * mean[name] / root
    return after, Moments(mean, square)
