"""The training step shared out over worker threads.

MLX does the elementwise work of a stream on one thread, so on a CPU a step uses all cores only if
its work is shared out. The workers are threads of this process, each with the stream that MLX gives
every thread: they share the weights, and there is nothing to start, watch or lose.
"""

from collections.abc import Callable, Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from threading import Lock
from typing import Any, TypeVar

import mlx.core as mx

from mlx_rev.config import ModelConfig, TrainConfig
from mlx_rev.cpu import kernels
from mlx_rev.cpu.worker import Worker
from mlx_rev.data.batches import Batch
from mlx_rev.model.llama import Weights

Result = TypeVar("Result")


class Workers:
    """Does what a training step asks for, on `count` threads; `close` ends them.

    Each worker owns some weights: it adds up their gradients and updates them. One worker needs no
    thread, and its results are lazy.
    """

    def __init__(self, shape: ModelConfig, config: TrainConfig, weights: Weights) -> None:
        self.count = max(1, config.workers)
        building = Lock() if self.count > 1 else None
        self._workers = [Worker(shape, config, building) for _ in range(self.count)]
        self._owned = _shared_out(weights, self.count)
        self._order = list(weights)
        self._steps = 0
        self._threads = [
            ThreadPoolExecutor(
                1, initializer=mx.set_default_device, initargs=(mx.default_device(),)
            )
            for _ in range(self.count if self.count > 1 else 0)
        ]

    def gradients(
        self, weights: Weights, parts: Sequence[Batch], seeds: Sequence[int]
    ) -> tuple[mx.array, Weights]:
        """The loss and gradients of all parts, a worker each, added in the workers' order."""
        if self._steps == 1:
            kernels.exchange()  # all that a step takes was built in the first one
        self._steps += 1
        found = self._all(
            lambda worker, number: worker.gradients(weights, parts[number], seeds[number])
        )
        losses, gradients = zip(*found, strict=True)

        def sum_owned(worker: Worker, number: int) -> Weights:
            return worker.evaluated(
                lambda: {n: _sum([own[n] for own in gradients]) for n in self._owned[number]}
            )

        return _sum(losses), self._merged(self._all(sum_owned))

    def shared(self, function: Callable[..., Any], takes: int = 0) -> Callable[..., Any]:
        """`function` of dictionaries by weight name, such that each worker computes those it owns;
        not every dictionary needs to have every name.

        What `function` returns, a dictionary or several, is put together again. The first `takes`
        dictionaries are emptied, so that nobody else holds the memory of what they held. Arguments
        that are no dictionaries are every worker's.
        """
        compiled = [worker.compiled(function) if takes else function for worker in self._workers]

        def run(*arguments: Any) -> Any:
            if self._threads:
                mx.eval(arguments)

            def part(worker: Worker, number: int) -> Any:
                return worker.evaluated(
                    lambda: compiled[number](*self._own(number, arguments, takes))
                )

            found = self._all(part)
            if isinstance(found[0], dict):
                return self._merged(found)
            return tuple(self._merged(parts) for parts in zip(*found, strict=True))

        return run

    def close(self) -> None:
        """End the threads."""
        for thread in self._threads:
            thread.submit(mx.clear_streams).result()  # MLX aborts if a thread leaves streams behind
            thread.shutdown()

    def _own(self, number: int, arguments: tuple, takes: int) -> list[Any]:
        """The arguments of one worker: of dictionaries, what it owns."""
        own = []
        for place, argument in enumerate(arguments):
            if not isinstance(argument, dict):
                own.append(argument)
                continue
            get = argument.pop if place < takes else argument.__getitem__
            own.append({name: get(name) for name in self._owned[number] if name in argument})
        return own

    def _all(self, work: Callable[[Worker, int], Result]) -> list[Result]:
        """What each worker gives for `work`, done in its thread where there are any."""
        if not self._threads:
            return [work(self._workers[0], 0)]
        futures = [
            thread.submit(work, worker, number)
            for number, (thread, worker) in enumerate(
                zip(self._threads, self._workers, strict=True)
            )
        ]
        return [future.result() for future in futures]

    def _merged(self, parts: Iterable[Weights]) -> Weights:
        """The dictionaries in one, in the weights' order."""
        whole = {name: array for part in parts for name, array in part.items()}
        return {name: whole[name] for name in self._order if name in whole}


def _shared_out(weights: Weights, count: int) -> list[list[str]]:
    """The weights' names in `count` lists of about the same size in numbers."""
    shares: list[list[str]] = [[] for _ in range(count)]
    sizes = [0] * count
    for name in sorted(weights, key=lambda name: (-weights[name].size, name)):
        least = sizes.index(min(sizes))
        shares[least].append(name)
        sizes[least] += weights[name].size
    return shares


def _sum(arrays: Sequence[mx.array]) -> mx.array:
    total = arrays[0]
    for array in arrays[1:]:
        total = total + array
    return total
