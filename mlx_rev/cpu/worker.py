"""One worker's part of a training step: the gradients of some rows."""

from collections.abc import Callable, Iterator
from threading import Lock
from typing import Any, TypeVar

import mlx.core as mx

from mlx_rev.config import ModelConfig, TrainConfig
from mlx_rev.cpu.loss import linear_cross_entropy
from mlx_rev.cpu.ops import CpuOps
from mlx_rev.data.batches import Batch
from mlx_rev.model.llama import Dropout, Llama, Weights, set_weights
from mlx_rev.model.micro_batch import MicroBatch, micro_batch

_LONGEST_IN_PIECES = 256
"""Context up to which half a layer has few enough operations to be a piece."""

Result = TypeVar("Result")


class Worker:
    """What one thread does in a step.

    With a lock, which all workers share, results are evaluated when they are returned: graphs are
    made by one thread at a time, and each is evaluated by the thread that made it, as MLX wants.
    Without, they are lazy. The compiled parts take all that changes as arguments and give it back
    as results; all that they are given is an array; the shapes are fixed.
    """

    def __init__(self, shape: ModelConfig, config: TrainConfig, building: "Lock | None") -> None:
        self._dtype, self._building = getattr(mx, config.dtype), building
        self._in_pieces = shape.context <= _LONGEST_IN_PIECES
        # The model describes the computation; after tracing it holds no usable weights.
        self._model = Llama(shape, CpuOps())
        self._compiled: Callable[..., Any] = mx.compile if config.compile else lambda given: given
        self._first = self._compiled(mx.value_and_grad(self._loss))
        self._next = self._compiled(self._accumulate)

    def compiled(self, function: Callable[..., Any]) -> Callable[..., Any]:
        """`function` for this thread: what is compiled belongs to one."""
        return self._compiled(lambda *arguments: function(*arguments))

    def gradients(self, weights: Weights, rows: Batch, seed: int) -> tuple[mx.array, Weights]:
        """The loss and gradients of these rows' micro-batches, as their share of the step's."""
        loss, gradients = self._micro_batch(self._first, (weights,), rows, 0, seed)
        for index in range(1, len(rows.inputs)):
            mx.eval(loss, gradients)
            before = (weights, loss, gradients)
            loss, gradients = self._micro_batch(self._next, before, rows, index, seed)
        return loss, gradients

    def evaluated(
        self,
        make: Callable[[], Result],
        pieces: Callable[[Result], Iterator[object]] | None = None,
    ) -> Result:
        """What `make` makes, evaluated at once if there are other threads, piece by piece where
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

    def _micro_batch(
        self, function: Callable[..., tuple], before: tuple, rows: Batch, index: int, seed: int
    ) -> tuple[mx.array, Weights]:
        def make() -> tuple[mx.array, Weights, list[list[mx.array]]]:
            (_, loss, *stages), gradients = function(*before, micro_batch(rows, index, seed))
            return loss, gradients, stages

        loss, gradients, _ = self.evaluated(make, _pieces if self._in_pieces else None)
        return loss, gradients

    def _accumulate(
        self, weights: Weights, loss: mx.array, gradients: Weights, micro_batch: MicroBatch
    ) -> tuple[tuple, Weights]:
        (surrogate, own_loss, *stages), own = mx.value_and_grad(self._loss)(weights, micro_batch)
        total = {name: gradients[name] + own[name] for name in own}
        return (surrogate, loss + own_loss, *stages), total

    def _loss(self, weights: Weights, micro_batch: MicroBatch) -> tuple:
        """A surrogate whose gradients are the loss's, the loss (the plain step's `mean_loss`), and
        the stages on the way there."""
        inputs, targets, segment_start, share, key = micro_batch
        set_weights(self._model, {n: weight.astype(self._dtype) for n, weight in weights.items()})
        stages = branch_outputs(self._model, inputs, segment_start, key)
        hidden = self._model.model.norm(stages[-1])
        hidden = hidden.reshape(-1, hidden.shape[-1])
        weight, counted = self._model.output_weight, mx.where(targets >= 0, share, 0.0)
        found = linear_cross_entropy(hidden, weight, targets.reshape(-1), counted.reshape(-1))
        # Never evaluated: it only seeds the backward pass with the gradients that are known.
        surrogate = mx.sum(hidden * found.by_hidden) + mx.sum(weight * found.by_weight)
        return surrogate, found.loss, *([stage] for stage in stages), *found.chunks


def branch_outputs(
    model: Llama, tokens: mx.array, segment_start: mx.array | None, key: mx.array | None
) -> list[mx.array]:
    """The residual stream (B, T, D) after each branch of each block: the decoder's own walk through
    its layers, in halves. The last one, normalised, is what `model.model` gives."""
    decoder, drop = model.model, Dropout(model.config, key)
    angles = decoder.angles(tokens.shape[1])
    mask = model.ops.attention_mask(tokens.shape[1], segment_start)
    x, stages = drop(decoder.embed_tokens(tokens)), []
    for block in decoder.layers:
        x = x + drop(block.self_attn(block.input_layernorm(x), angles, mask))
        stages.append(x)
        x = x + drop(block.mlp(block.post_attention_layernorm(x)))
        stages.append(x)
    return stages


def _pieces(made: tuple[mx.array, Weights, list[list[mx.array]]]) -> Iterator[object]:
    """What to evaluate after what: the forward pass, then the gradients, half a layer at a time.
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
