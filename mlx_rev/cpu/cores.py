"""How the processor is divided: worker threads, and what each leaves to the BLAS."""

import os
import sys
from contextlib import AbstractContextManager, nullcontext
from functools import cache
from threading import Lock
from typing import Any

import mlx.core as mx

from mlx_rev.cpu import blas

_WORTH_SHARING = 1 << 23
"""Parameters from which on a second thread makes stories faster."""


def cores() -> int:
    """Processor cores that this process may use."""
    allowed = len(os.sched_getaffinity(0)) if sys.platform == "linux" else os.cpu_count()
    return allowed or 1


def share_cores(workers: int) -> None:
    """Give the BLAS the threads that `workers` leave to each."""
    blas.set_threads(max(1, cores() // workers))


def threads_for(parameters: int) -> AbstractContextManager[object]:
    """Within it each BLAS, NumPy's too, has as many threads as pay where a model of this size reads
    or writes: one for a small model, where more gain nothing and wait for each other beside another
    busy process; otherwise all that it has."""
    if parameters >= _WORTH_SHARING:
        return nullcontext()
    return _one_thread()


class _OneThread:
    """Each BLAS has one thread while anyone is within, in whichever thread of the program."""

    def __init__(self) -> None:
        from threadpoolctl import ThreadpoolController  # late: not every command multiplies

        self._libraries, self._lock, self._within = ThreadpoolController(), Lock(), 0
        self._limited: Any = None

    def __enter__(self) -> None:
        with self._lock:
            if not self._within:
                self._limited = self._libraries.limit(limits=1, user_api="blas")
            self._within += 1

    def __exit__(self, *failure: object) -> None:
        with self._lock:
            self._within -= 1
            if not self._within:
                self._limited.restore_original_limits()


@cache
def _one_thread() -> _OneThread:
    return _OneThread()


def keep_buffers() -> None:
    """Let MLX keep freed buffers, 32 MB by default: fresh pages for every large array cost a fifth
    of the step."""
    memory = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    mx.set_cache_limit(min(4 << 30, memory // 4))
