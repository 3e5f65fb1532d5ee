"""AdamW and Muon, the schedule of their rates, clipping: pure functions over named arrays.

Written out because mlx.optimizers cannot do three things that are needed here: decay the matrices
but not the norms with one optimiser; keep its state as plain arrays under the weights' names, so
that checkpoints hold them, resuming is exact and workers can share them out; and correct the bias
with a number computed once per step (its AdamW has a power in every weight's kernel, which a CPU
computes for every element). Muon's direction is in muon.py; mlx.optimizers' Muon decays the
gradient before it is made orthogonal, so that a heavy decay turns it.
"""

import math
from typing import NamedTuple

import mlx.core as mx

from mlx_rev.config import TrainConfig
from mlx_rev.train import muon

Arrays = dict[str, mx.array]

_EPSILON = 1e-8


class Moments(NamedTuple):
    """Running means by weight name, in float32."""

    mean: Arrays
    """Of the gradients."""
    square: Arrays
    """Of their squares: AdamW's, so not of the weights that Muon updates."""


def initial_moments(weights: Arrays, config: TrainConfig) -> Moments:
    """Zeros of the weights' shapes, for those that the run's optimisers need."""
    by_muon = {
        name for name in weights if config.optimizer == "muon" and muon.suits(name, weights[name])
    }
    return Moments(
        {name: mx.zeros(weight.shape) for name, weight in weights.items()},
        {name: mx.zeros(weights[name].shape) for name in weights if name not in by_muon},
    )


def learning_rate(step: int, config: TrainConfig) -> float:
    """The rate of step `step` (from 0): a linear warm-up, the peak for as long as `decay_share`
    leaves, then half a cosine, or a line, to the minimum.

    With a share under 1 this is the trapezoid of Hägele et al., "Scaling Laws and Compute-Optimal
    Training Beyond Fixed Training Durations" (2024).
    """
    if step < config.warmup:
        return config.learning_rate * (step + 1) / config.warmup
    steps = config.steps - config.warmup
    falling = round(config.decay_share * steps)
    fallen = max(0, step - config.warmup - (steps - falling))
    progress = min(1.0, fallen / max(1, falling))
    share = 1 - progress
    if config.schedule == "cosine":
        share = 0.5 * (1 + math.cos(math.pi * progress))
    return config.min_learning_rate + share * (config.learning_rate - config.min_learning_rate)


def squared_norms(gradients: Arrays) -> Arrays:
    """The squared Euclidean norm of each gradient, as a float32 scalar."""
    flat = {name: gradient.reshape(1, -1) for name, gradient in gradients.items()}
    return {name: (row @ row.T).reshape(()) for name, row in flat.items()}


def clipping(squares: Arrays, largest: float) -> tuple[mx.array, mx.array]:
    """The factor that brings the gradients' global norm down to at most `largest` (0: no limit),
    and that norm, from the gradients' squared norms.

    Summed in the order of their names: a checkpoint has the weights in another order than a new
    model, and the sum must not depend on that, not even in its last bit.
    """
    norm = mx.sqrt(mx.stack([squares[name] for name in sorted(squares)]).sum())
    if largest == 0:
        return mx.ones_like(norm), norm
    return mx.minimum(largest / (norm + 1e-6), 1.0), norm


class Scales(NamedTuple):
    """The scalars of one step: arrays, so that new values do not retrace, and computed
    beforehand, so that they are not computed again for every weight."""

    gradient: mx.array
    """Factor of the gradients, from `clipping`."""
    decay: mx.array
    """Factor of AdamW's matrices: what weight decay leaves of them."""
    mean: mx.array
    """Factor of the mean: the learning rate and the mean's bias correction."""
    square: mx.array
    """Factor of the mean square: its bias correction."""
    muon: mx.array
    """Factor of Muon's direction: its learning rate."""
    muon_decay: mx.array
    """Factor of Muon's matrices: what weight decay leaves of them."""


def scales(step: int, factor: mx.array, config: TrainConfig) -> Scales:
    """The scales of step `step` (from 0), whose gradients are multiplied by `factor`."""
    rate = learning_rate(step, config)
    muon_rate = rate / config.learning_rate * config.muon_learning_rate
    return Scales(
        factor,
        mx.array(1 - rate * config.weight_decay),
        mx.array(rate / (1 - config.beta1 ** (step + 1))),
        mx.array(1 / (1 - config.beta2 ** (step + 1))),
        mx.array(muon_rate),
        mx.array(1 - muon_rate * config.weight_decay),
    )


def update(
    config: TrainConfig,
    weights: Arrays,
    mean: Arrays,
    square: Arrays,
    gradients: Arrays,
    scales: Scales,
) -> tuple[Arrays, Arrays, Arrays]:
    """One step, decay on matrices only: weights, mean, square.

    A weight with a mean square is updated by AdamW with bias correction (Loshchilov and Hutter,
    "Decoupled Weight Decay Regularization", 2019, algorithm 2), one without by Muon.
    """
    after, new_mean, new_square = {}, {}, {}
    for name, weight in weights.items():
        gradient = gradients[name] * scales.gradient
        if name not in square:
            direction, new_mean[name] = muon.direction(gradient, mean[name])
            after[name] = weight * scales.muon_decay - scales.muon * direction
            continue
        new_mean[name] = config.beta1 * mean[name] + (1 - config.beta1) * gradient
        new_square[name] = config.beta2 * square[name] + (1 - config.beta2) * gradient.square()
        root = mx.sqrt(new_square[name] * scales.square) + _EPSILON
        left = weight * scales.decay if weight.ndim >= 2 else weight
        after[name] = left - scales.mean * new_mean[name] / root
    return after, new_mean, new_square
