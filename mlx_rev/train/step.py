"""The training step: loss and gradients on several ranks, clipping and AdamW.

MLX does the elementwise work of a stream on one thread, so on the CPU a step uses all cores only
if its work is shared out. The ranks are threads of this process, each with the stream that MLX
gives every thread: they share the weights, and there is nothing to start, watch or lose.
"""

from collections.abc import Callable, Iterable
from concurrent.futures import ThreadPoolExecutor
from threading import Lock
from typing import TypeVar

import mlx.core as mx
import numpy as np

from mlx_rev.config import ModelConfig, TrainConfig
from mlx_rev.data.batches import Batch
from mlx_rev.errors import ConfigError
from mlx_rev.model import ops
from mlx_rev.model.llama import Weights
from mlx_rev.train import optimizer
from mlx_rev.train.nodes import Nodes
from mlx_rev.train.optimizer import Moments
from mlx_rev.train.rank import Rank

Result = TypeVar("Result")


class TrainingStep:
    """Holds the weights and their moments, and does one step after another on them.

    While a step is done nobody else should hold them: the new ones then take the old ones' memory.
    `close` ends the threads of the ranks.
    """

    def __init__(
        self,
        shape: ModelConfig,
        config: TrainConfig,
        weights: Weights,
        moments: Moments,
        nodes: Nodes | None = None,
    ) -> None:
        self.weights, self.moments = dict(weights), Moments(*map(dict, moments))
        mx.eval(self.weights, self.moments)  # no other thread could
        self._config, self._nodes = config, nodes or Nodes()
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
        building = Lock() if count > 1 else None
        self._ranks = [
            Rank(shape, config, number, owned, building)
            for number, owned in enumerate(_shared_out(weights, count))
        ]
        self._threads = [
            ThreadPoolExecutor(
                1, initializer=mx.set_default_device, initargs=(mx.default_device(),)
            )
            for _ in range(count if count > 1 else 0)
        ]

    def __call__(self, step: int, batch: Batch) -> tuple[mx.array, mx.array]:
        """Do step `step` (from 0) on a batch.

        Gives the mean loss in nats per target and the gradients' norm before clipping. With one
        rank these, the weights and the moments are lazy.
        """
        loss, total = self._nodes.sum(*self._own_gradients(step, batch))
        squares = _merged(self._on_ranks(lambda rank: rank.squared_norms_of_owned(total)))
        factor, norm = optimizer.clipping(squares, self._config.gradient_clip)
        scales = optimizer.scales(step, factor, self._config)
        if self._threads:
            mx.eval(loss, total, scales)
        order = list(self.weights)
        updated = self._on_ranks(
            lambda rank: rank.update_owned(self.weights, self.moments, total, scales)
        )
        weights, moments = zip(*updated, strict=True)
        self.weights = _merged(weights, order)
        self.moments = Moments(*(_merged(part, order) for part in zip(*moments, strict=True)))
        return loss, norm

    def close(self) -> None:
        """End the threads; the step cannot be called any more."""
        for thread in self._threads:
            thread.submit(mx.clear_streams).result()  # MLX aborts if a thread leaves streams behind
            thread.shutdown()

    def _own_gradients(self, step: int, batch: Batch) -> tuple[mx.array, Weights]:
        """The loss and gradients of this node's rows."""
        jobs = self._jobs(step, batch)
        results = self._on_ranks(lambda rank: rank.gradients(self.weights, *jobs[rank.number]))
        losses, gradients = zip(*results, strict=True)
        sums = self._on_ranks(lambda rank: rank.sum_of_owned(gradients))
        return sum(losses[1:], losses[0]), _merged(sums)

    def _jobs(self, step: int, batch: Batch) -> list[tuple[tuple[np.ndarray, ...], int, int]]:
        """For each of this node's ranks: its rows, its seed, and how many targets all have."""
        count = len(self._ranks)
        arrays = (batch.inputs, batch.targets, batch.first)
        parts = (np.array_split(array, count * self._nodes.count, axis=1) for array in arrays)
        shares = list(zip(*parts, strict=True))
        seed = self._config.seed + (step << 20)
        return [
            (shares[number], seed + (number << 12), batch.target_count)
            for number in range(count * self._nodes.number, count * (self._nodes.number + 1))
        ]

    def _on_ranks(self, work: Callable[[Rank], Result]) -> list[Result]:
        """What each rank gives for `work`, done in the rank's thread where there are any."""
        if not self._threads:
            return [work(self._ranks[0])]
        futures = [
            thread.submit(work, rank)
            for thread, rank in zip(self._threads, self._ranks, strict=True)
        ]
        return [future.result() for future in futures]


def _shared_out(weights: Weights, count: int) -> list[list[str]]:
    """The weights' names in `count` lists of about the same size in numbers."""
    shares: list[list[str]] = [[] for _ in range(count)]
    sizes = [0] * count
    for name in sorted(weights, key=lambda name: (-weights[name].size, name)):
        least = sizes.index(min(sizes))
        shares[least].append(name)
        sizes[least] += weights[name].size
    return shares


def _merged(parts: Iterable[Weights], order: Iterable[str] | None = None) -> Weights:
    """The dictionaries in one, in an order of the names if one is given."""
    whole = {name: array for part in parts for name, array in part.items()}
    return whole if order is None else {name: whole[name] for name in order}
