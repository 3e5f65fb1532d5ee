"""Whole texts in NumPy: how surprised a model is by them.

Where nothing is compiled, the forms of ops.py take a pass over memory for each of their operations,
some twenty for one exp. NumPy has an exp that vectorises, and does most of the rest in place.

Shapes: B rows, T positions, S positions of a context before them, D = dim, H query heads, K
key/value heads, G = H / K, E = head size, V = vocabulary.
"""

from collections.abc import Sequence
from typing import Any

import mlx.core as mx
import numpy as np

from mlx_rev.cpu import cores
from mlx_rev.cpu.ops import CpuOps
from mlx_rev.cpu.weights import NumpyLayer, fed_forward, normalised, product, rotated, weights_of
from mlx_rev.estimate import parameters
from mlx_rev.model.llama import Llama

_QUERIES = 64
"""Positions whose attention is computed together, each against what stands up to the last."""
_ROWS = 256
"""Positions that go through feed-forward and projection together, so that they fit a cache."""

Context = list[tuple[np.ndarray, np.ndarray]]
"""Of each layer the keys and values (K, S, E) of what was read."""


class NumpyScorer:
    """A `Scorer` with the weights that the model has whenever it is asked."""

    def __init__(self, model: Llama) -> None:
        self._model, self._config, self.context = model, model.config, model.config.context
        self._size = parameters(model.config)
        self._cos, self._sin = map(np.asarray, CpuOps().rope_tables(model.config))

    @np.errstate(over="ignore", invalid="ignore")  # the caller sees what is not finite
    def nats(self, inputs: mx.array, targets: mx.array, cache: Any = None) -> np.ndarray:
        """See `Scorer`."""
        with cores.threads_for(self._size):
            return self._nats(inputs, targets, cache)

    def _nats(self, inputs: mx.array, targets: mx.array, cache: Any) -> np.ndarray:
        hidden = self._hidden(np.asarray(inputs), cache)[0]
        wanted = np.asarray(targets).reshape(-1)
        projection = weights_of(self._model).projection
        nats = np.empty(len(wanted), np.float32)
        for start in range(0, len(wanted), _ROWS):
            part = slice(start, start + _ROWS)
            logits = product(hidden[part], projection)
            own = wanted[part].clip(0, logits.shape[-1] - 1)
            chosen = np.take_along_axis(logits, own[:, None], axis=-1)[:, 0]
            largest = logits.max(axis=-1)
            logits -= largest[:, None]
            np.exp(logits, out=logits)
            nats[part] = np.log(logits.sum(axis=-1)) + largest - chosen
        return nats.reshape(targets.shape)

    @np.errstate(over="ignore", invalid="ignore")  # the caller sees what is not finite
    def read(self, ids: Sequence[int], room: int) -> Context:
        """See `Scorer`: what comes after it is kept nowhere, and needs no room."""
        del room
        shape = self._config.n_kv_heads, 0, self._config.head_dim
        if not ids:
            return [(np.empty(shape, np.float32),) * 2] * self._config.n_layers
        with cores.threads_for(self._size):
            return self._hidden(np.array([ids]), None)[1]

    def shared(self, cache: Context, rows: int) -> Context:
        """See `Scorer`: all rows look at the same one."""
        del rows
        return cache

    def _hidden(self, inputs: np.ndarray, cache: Context | None) -> tuple[np.ndarray, Context]:
        """What the decoder gives for inputs (B, T), (B · T, D); the first row's keys and values."""
        weights, eps = weights_of(self._model), self._config.norm_eps
        x = weights.embedding[inputs.reshape(-1)]
        start = 0 if cache is None else cache[0][0].shape[1]
        places = slice(start, start + inputs.shape[1])
        angles = self._cos[places, None], self._sin[places, None]
        read: Context = []
        for place, layer in enumerate(weights.layers):
            context = None if cache is None or not start else cache[place]
            attended, own = self._attended(
                normalised(x, layer.norm, eps), layer, inputs.shape, angles, context
            )
            x += attended
            for first in range(0, len(x), _ROWS):
                rows = x[first : first + _ROWS]
                rows += fed_forward(normalised(rows, layer.second_norm, eps), layer)
            read.append(own)
        return normalised(x, weights.norm, eps), read

    def _attended(
        self,
        x: np.ndarray,
        layer: NumpyLayer,
        shape: tuple[int, ...],
        angles: tuple[np.ndarray, np.ndarray],
        context: tuple[np.ndarray, np.ndarray] | None,
    ) -> tuple[np.ndarray, tuple[np.ndarray, np.ndarray]]:
        """What attention adds to x (B · T, D), and the keys and values of the first row."""
        batch, length = shape
        heads, kv_heads = self._config.n_heads, self._config.n_kv_heads
        both, width = heads + kv_heads, self._config.head_dim
        projected = product(x, layer.qkv).reshape(batch, length, -1, width)
        turned = rotated(projected[:, :, :both], *angles)
        queries = turned[:, :, :heads] * np.float32(width**-0.5)
        queries = queries.reshape(batch, length, kv_heads, -1, width).transpose(0, 2, 3, 1, 4)
        keys = turned[:, :, heads:].transpose(0, 2, 1, 3)
        values = projected[:, :, both:].transpose(0, 2, 1, 3)
        output = np.empty((batch, length, heads, width), np.float32)
        grouped = output.reshape(batch, length, kv_heads, -1, width).transpose(0, 2, 3, 1, 4)
        for start in range(0, length, _QUERIES):
            stop = min(start + _QUERIES, length)
            grouped[:, :, :, start:stop] = _block(
                queries[:, :, :, start:stop], keys[:, :, :stop], values[:, :, :stop], context
            )
        added = product(output.reshape(batch * length, -1), layer.o)
        return added, (keys[0].copy(), values[0].copy())


def _block(
    queries: np.ndarray,
    keys: np.ndarray,
    values: np.ndarray,
    context: tuple[np.ndarray, np.ndarray] | None,
) -> np.ndarray:
    """The last queries (B, K, G, n, E) against their own row's keys (B, K, T, E) up to themselves,
    and against those of a context that all rows have: (B, K, G, n, E)."""
    count, length = queries.shape[3], keys.shape[2]
    scores = queries @ keys[:, :, None].swapaxes(-1, -2)
    scores[..., length - count :] += np.triu(np.full((count, count), -np.inf, np.float32), 1)
    largest = scores.max(axis=-1, keepdims=True)
    if context is None:
        scores -= largest
        np.exp(scores, out=scores)
        output: np.ndarray = scores @ values[:, :, None]
        output /= scores.sum(axis=-1, keepdims=True)
        return output
    # The part of the softmax that falls to the context, a few rows at a time for each key head.
    batch, kv_heads, groups, _, width = queries.shape
    outer = (kv_heads, batch, groups, count)
    flat = queries.transpose(1, 0, 2, 3, 4).reshape(kv_heads, -1, width)
    highest = largest.transpose(1, 0, 2, 3, 4).reshape(kv_heads, -1)
    total, read = np.empty_like(highest), np.empty_like(flat)
    for head, (keys_before, values_before) in enumerate(zip(*context, strict=True)):
        for start in range(0, flat.shape[1], _ROWS):
            rows = slice(start, start + _ROWS)
            before = flat[head, rows] @ keys_before.T
            np.maximum(highest[head, rows], before.max(axis=-1), out=highest[head, rows])
            before -= highest[head, rows, None]
            np.exp(before, out=before)
            before.sum(axis=-1, out=total[head, rows])
            np.matmul(before, values_before, out=read[head, rows])
    scores -= highest.reshape(outer).transpose(1, 0, 2, 3)[..., None]
    np.exp(scores, out=scores)
    output = scores @ values[:, :, None]
    output += read.reshape(*outer, width).transpose(1, 0, 2, 3, 4)
    normaliser = scores.sum(axis=-1, keepdims=True)
    normaliser += total.reshape(outer).transpose(1, 0, 2, 3)[..., None]
    output /= normaliser
    return output
