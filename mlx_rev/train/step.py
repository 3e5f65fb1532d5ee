"""The training step: loss and gradients on several ranks, clipping and AdamW, compiled.

MLX does the elementwise work of a stream on one thread, so on the CPU a step uses all cores only
if its rows are shared out. The ranks are threads of this process, each with the stream that MLX
gives every thread: they share the weights, and there is nothing to start, watch or lose.
"""

from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from threading import Lock

import mlx.core as mx
import numpy as np

from mlx_rev.config import ModelConfig, TrainConfig
from mlx_rev.data.batches import Batch
from mlx_rev.errors import ConfigError
from mlx_rev.model import ops
from mlx_rev.model.kernels import compiled
from mlx_rev.model.llama import Llama, Weights, set_weights
from mlx_rev.train import optimizer
from mlx_rev.train.nodes import Nodes
from mlx_rev.train.optimizer import Moments

Compiled = Callable[..., tuple]


class TrainingStep:
    """Calls the compiled parts of one optimiser step.

    All that changes is an argument and a result; all that is given is an array; the shapes are
    fixed. `close` ends the threads of the ranks.
    """

    def __init__(self, shape: ModelConfig, config: TrainConfig, nodes: Nodes | None = None) -> None:
        self._nodes = nodes or Nodes()
        count = max(1, config.ranks)
        if count * self._nodes.count > config.batch_size:
            raise ConfigError(
                f"batch_size is {config.batch_size}, too small for {self._nodes.count} nodes of "
                f"{count} ranks"
            )
        if config.dtype == "bfloat16" and ops.on_cpu():
            raise ConfigError(
                "--dtype bfloat16 on CPU: its matrix products run at a thirtieth of float32's "
                "speed here; use float32"
            )
        self._config = config
        building = Lock()
        self._ranks = [_Rank(Llama(shape), config, building) for _ in range(count)]
        self._threads = [
            ThreadPoolExecutor(
                1, initializer=mx.set_default_device, initargs=(mx.default_device(),)
            )
            for _ in range(count if count > 1 else 0)
        ]
        self._update = _compiled(self._add_and_update, config)

    def __call__(
        self,
        weights: Weights,
        moments: Moments,
        step: int,
        batch: Batch,
    ) -> tuple[Weights, Moments, mx.array, mx.array]:
        """Do step `step` (from 0) on a batch.

        Gives the new weights and moments, the mean loss in nats per target, and the gradients'
        norm before clipping; all of them lazy.
        """
        losses, gradients = zip(*self._on_ranks(weights, step, batch), strict=True)
        after, moments_after, loss, norm = self._update(
            weights,
            moments,
            losses,
            gradients,
            mx.array(optimizer.learning_rate(step, self._config)),
            mx.array(step + 1.0),
        )
        return after, Moments(*moments_after), loss, norm

    def close(self) -> None:
        """End the threads; the step cannot be called any more."""
        for thread in self._threads:
            thread.submit(mx.clear_streams).result()  # MLX aborts if a thread leaves streams behind
            thread.shutdown()

    def _on_ranks(
        self, weights: Weights, step: int, batch: Batch
    ) -> list[tuple[mx.array, Weights]]:
        """Each own rank's share of the loss and of the gradients."""
        count = len(self._ranks)
        arrays = (batch.inputs, batch.targets, batch.first)
        parts = (np.array_split(array, count * self._nodes.count, axis=1) for array in arrays)
        shares = list(zip(*parts, strict=True))
        own = range(count * self._nodes.number, count * (self._nodes.number + 1))
        seed = self._config.seed + (step << 20)
        jobs = [(weights, shares[rank], seed + (rank << 12), batch.target_count) for rank in own]
        if not self._threads:
            return [self._ranks[0].gradients(*jobs[0])]
        mx.eval(weights)
        futures: list[Future[tuple[mx.array, Weights]]] = [
            thread.submit(rank.gradients_now, *job)
            for thread, rank, job in zip(self._threads, self._ranks, jobs, strict=True)
        ]
        return [future.result() for future in futures]

    def _add_and_update(
        self,
        weights: Weights,
        moments: Moments,
        losses: tuple[mx.array, ...],
        gradients: tuple[Weights, ...],
        rate: mx.array,
        count: mx.array,
    ) -> tuple[Weights, tuple[Weights, Weights], mx.array, mx.array]:
        own = {name: _sum([share[name] for share in gradients]) for name in weights}
        loss, total = self._nodes.sum(_sum(losses), own)
        clipped, norm = optimizer.clip(total, self._config.gradient_clip)
        after, (mean, square) = optimizer.update(
            weights, clipped, Moments(*moments), rate, count, self._config
        )
        return after, (mean, square), loss, norm


class _Rank:
    """The gradients of one share of the rows. The model describes the computation; after tracing
    it holds no usable weights."""

    def __init__(self, model: Llama, config: TrainConfig, building: Lock) -> None:
        self._model, self._config, self._building = model, config, building
        self._first = _compiled(mx.value_and_grad(self._loss), config)
        self._next = _compiled(self._accumulate, config)

    def gradients_now(self, *job: object) -> tuple[mx.array, Weights]:
        """Like `gradients`, computed when it returns: only this thread may use its stream."""
        result = self.gradients(*job)  # type: ignore[arg-type]
        mx.eval(result)
        return result

    def gradients(
        self,
        weights: Weights,
        rows: tuple[np.ndarray, ...],
        seed: int,
        target_count: int,
    ) -> tuple[mx.array, Weights]:
        """The loss and gradients of these micro-batches (inputs, targets, first), as their share
        of the step's mean."""
        share = mx.array(1 / target_count)
        count = len(rows[0])
        keys = mx.random.split(mx.random.key(seed), count)
        batches = [
            (*(mx.array(array[index]) for array in rows), share, keys[index])
            for index in range(count)
        ]
        with self._building:  # graphs are made by one thread at a time, computed by all
            loss, gradients = self._first(weights, *batches[0])
        for batch in batches[1:]:
            mx.eval(loss, gradients)
            with self._building:
                loss, gradients = self._next(weights, loss, gradients, *batch)
        return loss, gradients

    def _accumulate(
        self, weights: Weights, loss: mx.array, gradients: Weights, *batch: mx.array
    ) -> tuple[mx.array, Weights]:
        own_loss, own = mx.value_and_grad(self._loss)(weights, *batch)
        return loss + own_loss, {name: gradients[name] + own[name] for name in own}

    def _loss(
        self,
        weights: Weights,
        inputs: mx.array,
        targets: mx.array,
        first: mx.array,
        share: mx.array,
        key: mx.array,
    ) -> mx.array:
        """Nats of this micro-batch's targets, as its share of the whole step's mean."""
        if self._config.dtype == "bfloat16":
            weights = {name: weight.astype(mx.bfloat16) for name, weight in weights.items()}
        set_weights(self._model, weights)
        hidden = self._model.hidden(inputs, key, first)
        counted = mx.where(targets >= 0, share, 0.0)
        return ops.linear_cross_entropy(
            hidden.reshape(-1, hidden.shape[-1]),
            self._model.output_weight,
            targets.reshape(-1),
            counted.reshape(-1),
        )


def _compiled(function: Callable[..., tuple], config: TrainConfig) -> Compiled:
    return compiled(function) if config.compile else function


def _sum(shares: "list[mx.array] | tuple[mx.array, ...]") -> mx.array:
    total = shares[0]
    for share in shares[1:]:
        total = total + share
    return total
