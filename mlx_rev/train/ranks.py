"""How many threads share a step, and how many each leaves to the BLAS."""

import os
import sys

from mlx_rev.config import TrainConfig
from mlx_rev.cpu import blas
from mlx_rev.model import ops


def cores() -> int:
    """Processor cores that this process may use."""
    allowed = len(os.sched_getaffinity(0)) if sys.platform == "linux" else os.cpu_count()
    return allowed or 1


def decide(config: TrainConfig) -> int:
    """The ranks asked for; where that is 0, one a core on the CPU and one on a GPU.

    With a rank on every core the elementwise work, which MLX does on one thread a stream, is
    shared as well as the matrix products.
    """
    if config.ranks:
        return config.ranks
    return min(cores(), config.batch_size) if ops.on_cpu() else 1


def share_cores(ranks: int) -> None:
    """Give the BLAS the threads that `ranks` leave to each."""
    blas.set_threads(max(1, cores() // ranks))
