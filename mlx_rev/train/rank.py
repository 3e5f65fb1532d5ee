"""One rank's part of a training step: the gradients of some rows, the update of some weights."""

from collections.abc import Callable, Iterator, Sequence
from threading import Lock
from typing import TypeVar

import mlx.core as mx
import numpy as np

from mlx_rev.config import ModelConfig, TrainConfig
from mlx_rev.cpu.kernels import compiled
from mlx_rev.model import ops
from mlx_rev.model.llama import Llama, Weights, set_weights
from mlx_rev.train import optimizer
from mlx_rev.train.optimizer import Moments, Scales

_LONGEST_IN_PIECES = 256
"""Context up to which half a layer has few enough operations to be a piece."""

Result = TypeVar("Result")


class Rank:
    """What one thread does in a step. It updates the weights called `owned`.

    With a lock, which all ranks share, results are computed when they are returned: graphs are
    made by one thread at a time, and each is computed by the thread that made it, as MLX wants.
    Without, they are lazy. The compiled parts take all that changes as arguments and give it back
    as results; all that they are given is an array; the shapes are fixed.
    """

    def __init__(
        self,
        shape: ModelConfig,
        config: TrainConfig,
        number: int,
        owned: Sequence[str],
        building: "Lock | None",
    ) -> None:
        self.number = number
        self._config, self._owned, self._building = config, owned, building
        self._in_pieces = shape.context <= _LONGEST_IN_PIECES
        # The model describes the computation; after tracing it holds no usable weights.
        self._model = Llama(shape)
        compile_it = compiled if config.compile else lambda function: function
        self._first = compile_it(mx.value_and_grad(self._loss))
        self._next = compile_it(self._accumulate)
        self._update = compile_it(self._updated)

    def gradients(
        self,
        weights: Weights,
        rows: tuple[np.ndarray, ...],
        seed: int,
        target_count: int,
    ) -> tuple[mx.array, Weights]:
        """The loss and gradients of these micro-batches (inputs, targets, first), as their share
        of the step's mean."""
        loss, gradients = self._micro_batch(self._first, (weights,), rows, 0, seed, target_count)
        for index in range(1, len(rows[0])):
            mx.eval(loss, gradients)
            before = (weights, loss, gradients)
            loss, gradients = self._micro_batch(self._next, before, rows, index, seed, target_count)
        return loss, gradients

    def sum_of_owned(self, gradients: Sequence[Weights]) -> Weights:
        """All ranks' gradients by the weights owned, added in the ranks' order."""
        return self._computed(
            lambda: {name: _sum([own[name] for own in gradients]) for name in self._owned}
        )

    def squared_norms_of_owned(self, gradients: Weights) -> Weights:
        """Of the gradients by the weights owned."""
        return self._computed(
            lambda: optimizer.squared_norms({name: gradients[name] for name in self._owned})
        )

    def update_owned(
        self,
        weights: Weights,
        moments: Moments,
        gradients: Weights,
        scales: Scales,
    ) -> tuple[Weights, Moments]:
        """The weights owned and their moments after a step; what they were is taken out of the
        dictionaries, so that nobody else holds its memory."""

        def taken(arrays: Weights) -> Weights:
            return {name: arrays.pop(name) for name in self._owned}

        own = {name: gradients[name] for name in self._owned}
        after, (mean, square) = self._computed(
            lambda: self._update(taken(weights), own, tuple(map(taken, moments)), *scales)
        )
        return after, Moments(mean, square)

    def _micro_batch(
        self,
        function: Callable[..., tuple],
        before: tuple,
        rows: tuple[np.ndarray, ...],
        index: int,
        seed: int,
        target_count: int,
    ) -> tuple[mx.array, Weights]:
        def make() -> tuple[mx.array, Weights, list[list[mx.array]]]:
            key = mx.random.split(mx.random.key(seed), len(rows[0]))[index]
            arrays = (mx.array(array[index]) for array in rows)
            (_, loss, *stages), gradients = function(
                *before, *arrays, mx.array(1 / target_count), key
            )
            return loss, gradients, stages

        loss, gradients, _ = self._computed(make, _pieces if self._in_pieces else None)
        return loss, gradients

    def _computed(
        self,
        make: Callable[[], Result],
        pieces: Callable[[Result], Iterator[object]] | None = None,
    ) -> Result:
        """What `make` makes, computed at once if there are other threads, piece by piece where
        `pieces` says which.

        MLX lets about 100 operations be under way in all threads together. A thread that takes
        them all leaves another one idle; pieces are too small for that.
        """
        if self._building is None:
            return make()
        with self._building:
            made = make()
        for piece in pieces(made) if pieces else ():
            mx.eval(piece)
        mx.eval(made)
        return made

    def _accumulate(
        self, weights: Weights, loss: mx.array, gradients: Weights, *batch: mx.array
    ) -> tuple[tuple, Weights]:
        (slope, own_loss, *stages), own = mx.value_and_grad(self._loss)(weights, *batch)
        return (slope, loss + own_loss, *stages), {n: gradients[n] + own[n] for n in own}

    def _loss(
        self,
        weights: Weights,
        inputs: mx.array,
        targets: mx.array,
        first: mx.array,
        share: mx.array,
        key: mx.array,
    ) -> tuple:
        """Something with the gradients of the nats of this micro-batch's targets, as their share
        of the whole step's mean; then those nats, then the stages on the way there."""
        if self._config.dtype == "bfloat16":
            weights = {name: weight.astype(mx.bfloat16) for name, weight in weights.items()}
        set_weights(self._model, weights)
        stages: list[mx.array] = []
        hidden = self._model.hidden(inputs, key, first, stages)
        hidden = hidden.reshape(-1, hidden.shape[-1])
        weight, counted = self._model.output_weight, mx.where(targets >= 0, share, 0.0)
        found = ops.linear_cross_entropy(hidden, weight, targets.reshape(-1), counted.reshape(-1))
        # Its gradients are known. Nobody computes this sum, only what it hands down.
        slope = mx.sum(hidden * found.by_hidden) + mx.sum(weight * found.by_weight)
        return slope, found.loss, *([stage] for stage in stages), *found.chunks

    def _updated(
        self,
        weights: Weights,
        gradients: Weights,
        moments: tuple[Weights, Weights],
        *scales: mx.array,
    ) -> tuple[Weights, tuple[Weights, Weights]]:
        after, (mean, square) = optimizer.update(
            weights, gradients, Moments(*moments), Scales(*scales), self._config
        )
        return after, (mean, square)


def _pieces(made: tuple[mx.array, Weights, list[list[mx.array]]]) -> Iterator[object]:
    """What to compute after what: the forward pass, then the gradients, half a layer at a time.
    Stages are let go of when they are done with."""
    _, gradients, stages = made
    while stages:
        yield stages.pop(0)
    halves: dict[tuple[int, bool], list[mx.array]] = {}
    for name, gradient in gradients.items():
        _, kind, *place = name.split(".")
        half = (int(place[0]), place[1] in _SECOND_HALF) if kind == "layers" else (-1, False)
        halves.setdefault(half, []).append(gradient)
    yield from (halves[half] for half in sorted(halves, reverse=True))


_SECOND_HALF = ("mlp", "post_attention_layernorm")


def _sum(arrays: Sequence[mx.array]) -> mx.array:
    total = arrays[0]
    for array in arrays[1:]:
        total = total + array
    return total
