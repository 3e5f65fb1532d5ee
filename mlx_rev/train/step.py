"""The training step: loss, gradients, clipping, AdamW or Muon."""

from collections.abc import Callable
from functools import partial
from typing import Any

import mlx.core as mx
import mlx.nn as nn
from mlx.utils import tree_map

from mlx_rev.backend import PLAIN, Backend
from mlx_rev.config import ModelConfig, TrainConfig
from mlx_rev.data.batches import Batch
from mlx_rev.errors import ConfigError
from mlx_rev.model.llama import Llama, Weights, set_weights
from mlx_rev.model.micro_batch import MicroBatch, micro_batch
from mlx_rev.train import optimizer
from mlx_rev.train.distributed import Nodes
from mlx_rev.train.optimizer import Moments


def mean_loss(model: Llama, dtype: mx.Dtype, weights: Weights, micro_batch: MicroBatch) -> mx.array:
    """The nats of a micro-batch's targets, as their share of the whole step's mean: a scalar.

    The forward pass is in `dtype`, the loss in float32. The model describes the computation; after
    tracing it holds no usable weights.
    """
    inputs, targets, segment_start, share, key = micro_batch
    set_weights(model, {name: weight.astype(dtype) for name, weight in weights.items()})
    logits = model(inputs, segment_start=segment_start, key=key).astype(mx.float32)
    counted = targets >= 0
    nats = nn.losses.cross_entropy(logits, mx.where(counted, targets, 0))
    return mx.sum(nats * counted) * share


class TrainingStep:
    """Holds the weights and their moments, and does one step after another on them.

    While a step is done nobody else should hold them: the new ones then take the old ones' memory.
    A backend's workers, where it has any, share the gradients and the update among them.
    """

    def __init__(
        self,
        shape: ModelConfig,
        config: TrainConfig,
        weights: Weights,
        moments: Moments,
        nodes: Nodes | None = None,
        backend: Backend = PLAIN,
    ) -> None:
        self.weights, self.moments = dict(weights), Moments(*map(dict, moments))
        mx.eval(self.weights, self.moments)  # no other thread could
        self._config, self._nodes = config, nodes or Nodes()
        self._workers = backend.workers(shape, config, self.weights)
        self._parts = 1 if self._workers is None else self._workers.count
        _check_rows(config.batch_size, self._nodes.count, self._parts)
        compiled: Callable[..., Any] = mx.compile if config.compile else lambda function: function
        loss = partial(mean_loss, Llama(shape, backend.ops), getattr(mx, config.dtype))
        self._loss_and_gradients = compiled(mx.value_and_grad(loss))
        update = partial(optimizer.update, config)
        if self._workers is None:
            self._squared_norms, self._update = optimizer.squared_norms, compiled(update)
        else:
            self._squared_norms = self._workers.shared(optimizer.squared_norms)
            self._update = self._workers.shared(update, takes=3)

    def __call__(self, step: int, batch: Batch) -> tuple[mx.array, mx.array]:
        """Do step `step` (from 0) on a batch.

        Gives the mean loss in nats per target and the gradients' norm before clipping. Without
        workers these, the weights and the moments are lazy.
        """
        loss, gradients = self._nodes.sum(*self._gradients(step, batch))
        squares = self._squared_norms(gradients)
        factor, norm = optimizer.clipping(squares, self._config.gradient_clip)
        scales = optimizer.scales(step, factor, self._config)
        after = self._update(self.weights, *self.moments, gradients, scales)
        self.weights, self.moments = after[0], Moments(*after[1:])
        return loss, norm

    def close(self) -> None:
        """End the workers, if there are any; the step cannot be called any more."""
        if self._workers is not None:
            self._workers.close()

    def _gradients(self, step: int, batch: Batch) -> tuple[mx.array, Weights]:
        """The loss and gradients of this node's rows."""
        first = self._nodes.number * self._parts
        own = batch.parts(self._nodes.count * self._parts)[first : first + self._parts]
        seeds = [self._config.seed + (step << 20) + (first + n << 12) for n in range(self._parts)]
        if self._workers is not None:
            return self._workers.gradients(self.weights, own, seeds)
        micro_batches = (micro_batch(own[0], n, seeds[0]) for n in range(self._config.accumulation))
        total: Any = None
        for arrays in micro_batches:
            found = self._loss_and_gradients(self.weights, arrays)
            total = found if total is None else tree_map(mx.add, total, found)
            if self._config.accumulation > 1:
                mx.eval(total)  # so that one micro-batch's activations are in memory, not all
        loss, gradients = total
        return loss, gradients


def _check_rows(batch_size: int, nodes: int, parts: int) -> None:
    if nodes * parts > batch_size:
        raise ConfigError(
            f"batch_size is {batch_size}, expected {nodes * parts} or more: a row for each of "
            f"{parts} workers on {nodes} machines; give a larger --batch-size or fewer --workers"
        )
