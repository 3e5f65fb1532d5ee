"""How the processor and its memory are divided."""

import os

import mlx.core as mx
import pytest

from mlx_rev.backend import CPU, PLAIN
from mlx_rev.cpu import blas, cores


def test_each_worker_leaves_the_blas_its_share(monkeypatch: pytest.MonkeyPatch) -> None:
    threads: list[int] = []
    monkeypatch.setattr(cores, "cores", lambda: 6)
    monkeypatch.setattr(blas, "set_threads", threads.append)
    for workers in (1, 2, 4, 9):
        CPU.prepare(workers)
    PLAIN.prepare(1)
    assert threads == [6, 3, 1, 1]


def test_freed_buffers_are_kept() -> None:
    before = mx.set_cache_limit(1 << 20)
    try:
        cores.keep_buffers()
    finally:
        kept = mx.set_cache_limit(before)
    memory = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    assert kept == min(4 << 30, memory // 4)
