"""How the processor is divided: worker threads, and what each leaves to the BLAS."""

import os
import sys

import mlx.core as mx

from mlx_rev.cpu import blas


def cores() -> int:
    """Processor cores that this process may use."""
    allowed = len(os.sched_getaffinity(0)) if sys.platform == "linux" else os.cpu_count()
    return allowed or 1


def share_cores(workers: int) -> None:
    """Give the BLAS the threads that `workers` leave to each."""
    blas.set_threads(max(1, cores() // workers))


def keep_buffers() -> None:
    """Let MLX keep freed buffers, 32 MB by default: fresh pages for every large array cost a fifth
    of the step."""
    memory = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    mx.set_cache_limit(min(4 << 30, memory // 4))
