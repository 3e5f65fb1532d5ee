"""A step of generation in NumPy.

What MLX takes for one token of a small model is mostly the handing out of some three hundred
operations, each to another thread. NumPy does them where it stands, and attends only to the part of
the cache that is filled.

Shapes: B rows, D = dim, H query heads, K key/value heads, E = head size, V = vocabulary.
"""

from weakref import WeakKeyDictionary

import mlx.core as mx
import numpy as np

from mlx_rev.cpu import cores
from mlx_rev.cpu.ops import CpuOps
from mlx_rev.cpu.weights import (
    NumpyLayer,
    NumpyWeights,
    fed_forward,
    normalised,
    product,
    rotated,
    weights_of,
)
from mlx_rev.estimate import parameters
from mlx_rev.model.cache import Cache, LayerCache
from mlx_rev.model.llama import Llama

_Kept = tuple[mx.array, np.ndarray, np.ndarray]
"""A layer's keys, and NumPy's views of them and of its values, each (B, K, length, E)."""


class NumpyReader:
    """`Llama.next_logits`, where each row has one more token in NumPy: the same but for rounding.

    Prompts are read by the model itself; weights that it is given between stories count.
    """

    def __init__(self, model: Llama) -> None:
        self._model, self._config, self._size = model, model.config, parameters(model.config)
        self._cos, self._sin = map(np.asarray, CpuOps().rope_tables(model.config))
        self._weights: NumpyWeights | None = None
        self._views: WeakKeyDictionary[LayerCache, _Kept] = WeakKeyDictionary()

    @np.errstate(over="ignore", invalid="ignore")  # the caller sees what is not finite
    def __call__(self, tokens: mx.array, cache: Cache, segment_start: mx.array) -> np.ndarray:
        """The logits (B, V) after the last of tokens (B, T), which join the cache."""
        with cores.threads_for(self._size):
            return self._read(tokens, cache, segment_start)

    def _read(self, tokens: mx.array, cache: Cache, segment_start: mx.array) -> np.ndarray:
        place = int(cache[0].offset)
        if tokens.shape[1] > 1 or not place or self._weights is None:
            self._weights = weights_of(self._model)
            return np.asarray(self._model.next_logits(tokens, cache, segment_start))
        weights, eps = self._weights, self._config.norm_eps
        x = weights.embedding[np.asarray(tokens)[:, 0]]
        unseen = _unseen(np.asarray(segment_start), place)
        for layer, own in zip(weights.layers, cache, strict=True):
            kept = self._views_of(own)
            x = x + self._attended(normalised(x, layer.norm, eps), layer, kept, place, unseen)
            x += fed_forward(normalised(x, layer.second_norm, eps), layer)
        offset = mx.array(place + 1)
        for own in cache:
            own.offset = offset
        return product(normalised(x, weights.norm, eps), weights.projection)

    def _views_of(self, layer: LayerCache) -> tuple[np.ndarray, np.ndarray]:
        """Views of a layer's keys and values: what is written into them is in the cache."""
        kept = self._views.get(layer)
        if kept is None or kept[0] is not layer.keys:
            kept = layer.keys, np.asarray(layer.keys), np.asarray(layer.values)
            self._views[layer] = kept
        return kept[1:]

    def _attended(
        self,
        x: np.ndarray,
        layer: NumpyLayer,
        kept: tuple[np.ndarray, np.ndarray],
        place: int,
        unseen: np.ndarray | None,
    ) -> np.ndarray:
        """What attention adds to x (B, D) at a place, whose key and value join those kept, each
        (B, K, length, E)."""
        shape = self._config
        heads, kv_heads, width = shape.n_heads, shape.n_kv_heads, shape.head_dim
        both = heads + kv_heads
        projected = product(x, layer.qkv).reshape(len(x), -1, width)
        turned = rotated(projected[:, :both], self._cos[place], self._sin[place])
        kept[0][:, :, place] = turned[:, heads:]
        kept[1][:, :, place] = projected[:, both:]
        keys, values = (array[:, :, : place + 1] for array in kept)
        queries = turned[:, :heads] * np.float32(width**-0.5)
        scores = queries.reshape(len(x), kv_heads, -1, width) @ keys.swapaxes(-1, -2)
        if unseen is not None:
            scores[np.broadcast_to(unseen, scores.shape)] = -np.inf
        scores -= scores.max(axis=-1, keepdims=True)
        np.exp(scores, out=scores)
        output = scores @ values
        output /= scores.sum(axis=-1, keepdims=True)
        return product(output.reshape(len(x), -1), layer.o)


def _unseen(segment_start: np.ndarray, place: int) -> np.ndarray | None:
    """Which positions before a place lie before a row's own start too, (B, 1, 1, place + 1); None
    if none does. A start is (B, 1)."""
    if not segment_start.any():
        return None
    starts = np.minimum(segment_start, place)[:, :, None, None]
    unseen: np.ndarray = np.arange(place + 1) < starts
    return unseen
