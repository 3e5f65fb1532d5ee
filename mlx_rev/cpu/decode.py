"""A step of generation, compiled in the background so that nobody waits for it."""

from collections.abc import Callable
from threading import Event, Thread
from typing import Any

import mlx.core as mx

from mlx_rev.cpu import kernels
from mlx_rev.model.cache import Cache, LayerCache, new_cache
from mlx_rev.model.llama import Llama


class CompiledReader:
    """`Llama.next_logits`: as it is at first, and for one token of one story compiled as soon as
    that is ready. Both give the same bits."""

    def __init__(self, model: Llama) -> None:
        self._model = model
        self._thread: Thread | None = None
        self._compiled: Callable[..., Any] | None = None

    def __call__(self, tokens: mx.array, cache: Cache, segment_start: mx.array) -> mx.array:
        """The logits (B, V) after the last of tokens (B, T), which join the cache."""
        if tokens.size > 1 or self._compiled is None:
            return self._model.next_logits(tokens, cache, segment_start)
        logits, state = self._compiled(tokens, _state(cache), segment_start)
        cache[:] = _cache(*state)
        return logits

    def warm_up(self) -> None:
        """Start compiling, once; building the kernels takes seconds where none are kept yet."""
        if self._thread is None:
            # A thread cannot evaluate arrays that belong to another thread's stream.
            mx.eval(self._model.parameters())
            traced = Event()
            self._thread = Thread(target=self._compile, args=(traced, mx.default_device()))
            self._thread.start()
            # While one thread traces, no other may build a graph.
            traced.wait()

    def wait(self) -> None:
        """Wait until what `warm_up` started is done."""
        if self._thread is not None:
            self._thread.join()

    def _compile(self, traced: Event, device: Any) -> None:
        model = self._model
        mx.set_default_device(device)

        def read(tokens: mx.array, state: Any, segment_start: mx.array) -> tuple[mx.array, Any]:
            cache = _cache(*state)
            return model.next_logits(tokens, cache, segment_start), _state(cache)

        try:
            function = mx.compile(read)
            cache = new_cache(model.config, 1, model.config.context)
            zero = mx.zeros((1, 1), dtype=mx.int32)
            result = function(zero, _state(cache), zero)
        finally:
            traced.set()
        mx.eval(result)
        mx.clear_streams()  # MLX aborts if a thread leaves streams behind
        self._compiled = function
        kernels.exchange()


def _state(cache: Cache) -> tuple[list[mx.array], list[mx.array], mx.array]:
    """A cache as the arrays that it is."""
    return [layer.keys for layer in cache], [layer.values for layer in cache], cache[0].offset


def _cache(keys: list[mx.array], values: list[mx.array], offset: mx.array) -> Cache:
    return [LayerCache(*pair, offset) for pair in zip(keys, values, strict=True)]
