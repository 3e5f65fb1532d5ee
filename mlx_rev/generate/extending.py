"""A step of decoding, compiled in the background so that nobody waits for it."""

from collections.abc import Callable
from threading import Event, Thread
from typing import Any

import mlx.core as mx

from mlx_rev.cpu.kernels import compiled
from mlx_rev.model.llama import Cache, Llama


class Extension:
    """`Llama.extend`: as it is at first, and for one token of one story compiled as soon as that
    is ready. Both give the same bits."""

    def __init__(self, model: Llama) -> None:
        self._model = model
        self._thread: Thread | None = None
        self._compiled: Callable[..., Any] | None = None

    def __call__(
        self, tokens: mx.array, cache: Cache, slot: mx.array, padding: mx.array
    ) -> tuple[mx.array, Cache]:
        """The logits (B, vocabulary) after the last token, and the cache."""
        if tokens.size > 1 or self._compiled is None:
            return self._model.extend(tokens, cache, slot, padding)
        logits, after = self._compiled(tokens, cache, slot, padding)
        return logits, Cache(*after)

    def warm_up(self) -> None:
        """Start compiling, once; building the kernels takes seconds where none are kept yet."""
        if self._thread is None:
            # A thread cannot compute what another one's stream was to.
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
        try:
            function = compiled(
                lambda tokens, cache, *rest: model.extend(tokens, Cache(*cache), *rest)
            )
            cache = model.new_cache(1, model.config.context)
            token, zero = mx.zeros((1, 1), dtype=mx.int32), mx.zeros((1,), dtype=mx.int32)
            result = function(token, cache, zero, zero)
        finally:
            traced.set()
        mx.eval(result)
        mx.clear_streams()  # MLX aborts if a thread leaves streams behind
        self._compiled = function
