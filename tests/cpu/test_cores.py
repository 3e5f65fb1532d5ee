"""How the processor and its memory are divided."""

import os
from typing import Any

import mlx.core as mx
import pytest
from threadpoolctl import threadpool_info, threadpool_limits

from mlx_rev.backend import CPU, PLAIN
from mlx_rev.cpu import blas, cores, decode, scorer
from mlx_rev.cpu.weights import product
from mlx_rev.model.cache import new_cache
from tests.forms import random_llama, shape


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


def threads() -> set[int]:
    return {each["num_threads"] for each in threadpool_info() if each["user_api"] == "blas"}


def test_who_leaves_first_takes_no_thread_from_who_stays_nor_keeps_one() -> None:
    with threadpool_limits(2, "blas"):
        before, one, other = threads(), cores.threads_for(1), cores.threads_for(2)
        one.__enter__()
        other.__enter__()
        one.__exit__(None, None, None)
        assert threads() == {1}
        other.__exit__(None, None, None)
        assert threads() == before


def test_small_models_are_read_with_one_thread(monkeypatch: pytest.MonkeyPatch) -> None:
    model, seen = random_llama(shape(), CPU), list[set[int]]()

    def looked_at(*arguments: Any) -> Any:
        seen.append(threads())
        return product(*arguments)

    monkeypatch.setattr(decode, "product", looked_at)
    monkeypatch.setattr(scorer, "product", looked_at)
    with threadpool_limits(2, "blas"):
        before = threads()
        for small in (True, False):
            monkeypatch.setattr(cores, "_WORTH_SHARING", 1 << 23 if small else 0)
            reader, cache = decode.NumpyReader(model), new_cache(model.config, 1, 16)
            for _ in range(2):
                reader(mx.array([[1]]), cache, mx.zeros((1, 1)))
            row = mx.array([[1, 5]])
            scorer.NumpyScorer(model).nats(row, row)
            assert threads() == before
            assert seen
            assert all(found == ({1} if small else before) for found in seen)
            seen.clear()
