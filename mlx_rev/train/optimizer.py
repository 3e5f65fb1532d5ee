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


def global_norm(gradients: Arrays) -> mx.array:
    """The Euclidean norm of all gradients together.

    Summed in the order of their names: a checkpoint gives the weights in another order than a
    new model does, and the sum must not depend on it by a bit.
    """
    squares = [gradients[name].astype(mx.float32).square().sum() for name in sorted(gradients)]
    return mx.sqrt(mx.stack(squares).sum())


def clip(gradients: Arrays, largest: float) -> tuple[Arrays, mx.array]:
    """Scale the gradients so that their global norm is at most `largest` (0: leave them)."""
    norm = global_norm(gradients)
    if largest == 0:
        return gradients, norm
    scale = mx.minimum(largest / (norm + 1e-6), 1.0)
    return {name: gradient * scale for name, gradient in gradients.items()}, norm


def update(
    weights: Arrays,
    gradients: Arrays,
    moments: Moments,
    rate: mx.array,
    step: mx.array,
    config: TrainConfig,
) -> tuple[Arrays, Moments]:
    """One step of AdamW with bias correction; decay on matrices only.

    Loshchilov and Hutter, "Decoupled Weight Decay Regularization" (2019), algorithm 2. `step`
    counts from 1; it and `rate` are scalar arrays, so that new values do not retrace.
    """
    mean_correction = 1 / (1 - mx.power(config.beta1, step))
    square_correction = 1 / (1 - mx.power(config.beta2, step))
    after, mean, square = {}, {}, {}
    for name, weight in weights.items():
        gradient = gradients[name].astype(mx.float32)
        mean[name] = config.beta1 * moments.mean[name] + (1 - config.beta1) * gradient
        square[name] = config.beta2 * moments.square[name] + (1 - config.beta2) * gradient.square()
        root = mx.sqrt(square[name] * square_correction) + _EPSILON
        if weight.ndim >= 2:
            weight = weight * (1 - rate * config.weight_decay)
        after[name] = weight - rate * mean_correction * mean[name] / root
    return after, Moments(mean, square)
