"""The one switch between MLX as it is and what makes it fast on a CPU."""

import dataclasses
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Protocol

import mlx.core as mx
import numpy as np

from mlx_rev.config import Dtype, ModelConfig, TrainConfig
from mlx_rev.cpu import cores, kernels
from mlx_rev.cpu.decode import NumpyReader
from mlx_rev.cpu.ops import CpuOps
from mlx_rev.cpu.step import Workers
from mlx_rev.errors import ConfigError
from mlx_rev.model.cache import Cache
from mlx_rev.model.llama import Llama, Weights
from mlx_rev.model.ops import Ops
from mlx_rev.program import switched_off

VARIABLE = "MLX_REV_CPU"
"""Set to off, a CPU runs the plain forms too."""


class Reader(Protocol):
    """How generation reads tokens: `Llama.next_logits`, or something with the same results."""

    def __call__(self, tokens: mx.array, cache: Cache, segment_start: mx.array) -> np.ndarray:
        """The logits (B, V) after the last of tokens (B, T), which join the cache; the first call
        for a cache has the prompts."""


class PlainReader:
    """`Llama.next_logits`."""

    def __init__(self, model: Llama) -> None:
        self._model = model

    def __call__(self, tokens: mx.array, cache: Cache, segment_start: mx.array) -> np.ndarray:
        """See `Reader`."""
        return np.array(self._model.next_logits(tokens, cache, segment_start))


@dataclass(frozen=True)
class Backend:
    """What a device runs."""

    name: str
    ops: Ops = field(default_factory=Ops)
    workers: Callable[[ModelConfig, TrainConfig, Weights], Workers | None] = (
        lambda shape, config, weights: None
    )
    """What shares out a training step, if anything does."""
    reader: Callable[[Llama], Reader] = PlainReader

    def decided(self, config: TrainConfig, nodes: int = 1) -> TrainConfig:
        """`config` with the number of workers decided: 0 becomes one per core, but no more than
        there are rows for on each of `nodes` machines.

        With a worker on every core the elementwise work, which MLX does on one thread a stream, is
        shared as well as the matrix products. Raises ConfigError for what this backend cannot do.
        """
        if self.name != "cpu":
            if config.workers > 1:
                raise ConfigError(
                    f"--workers {config.workers}: only a CPU's step is shared among workers; "
                    "leave it out"
                )
            return dataclasses.replace(config, workers=1)
        if config.dtype != Dtype.FLOAT32:
            raise ConfigError(
                f"--dtype {config.dtype} on CPU: its matrix products run at a thirtieth of "
                "float32's speed here; use float32"
            )
        rows = max(1, config.batch_size // nodes)
        return dataclasses.replace(config, workers=config.workers or min(cores.cores(), rows))

    def carried_on(self, config: TrainConfig) -> TrainConfig:
        """`config`, as a run that may have begun on another backend has recorded it: where there
        are no workers, with one."""
        workers = config.workers if self.name == "cpu" else min(config.workers, 1)
        return dataclasses.replace(config, workers=workers)

    def prepare(self, workers: int) -> None:
        """Make the process ready to train with so many workers."""
        if self.name == "cpu":
            cores.share_cores(workers)


PLAIN = Backend("plain")
CPU = Backend("cpu", CpuOps(), Workers, NumpyReader)


def choose() -> Backend:
    """The backend for MLX's default device. Raises ConfigError where `VARIABLE` is not off."""
    kernels.use_private_folder()
    on_cpu = mx.default_device() == mx.Device(mx.cpu)
    if switched_off(VARIABLE) or not on_cpu:
        return PLAIN
    cores.keep_buffers()
    return CPU
