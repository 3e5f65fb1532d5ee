"""A step of generation in NumPy.

What MLX takes for one token of a small model is mostly the handing out of some three hundred
operations, each to another thread. NumPy does them where it stands, and attends only to the part of
the cache that is filled.

Shapes: B rows, D = dim, H query heads, K key/value heads, E = head size, V = vocabulary.
"""

from typing import NamedTuple

import mlx.core as mx
import numpy as np

from mlx_rev.cpu.ops import CpuOps
from mlx_rev.model.cache import Cache
from mlx_rev.model.llama import Block, Llama


class NumpyReader:
    """`Llama.next_logits`, where each row has one more token in NumPy: the same but for rounding.

    Prompts are read by the model itself; weights that it is given between stories count.
    """

    def __init__(self, model: Llama) -> None:
        self._model, self._config = model, model.config
        self._eps = np.float32(model.config.norm_eps)
        self._cos, self._sin = map(np.asarray, CpuOps().rope_tables(model.config))
        self._weights: _Weights | None = None

    def __call__(self, tokens: mx.array, cache: Cache, segment_start: mx.array) -> np.ndarray:
        """The logits (B, V) after the last of tokens (B, T), which join the cache."""
        place = int(cache[0].offset)
        if tokens.shape[1] > 1 or not place or self._weights is None:
            self._weights = _weights_of(self._model)
            return np.asarray(self._model.next_logits(tokens, cache, segment_start))
        weights = self._weights
        x = weights.embedding[np.asarray(tokens)[:, 0]]
        unseen = _unseen(np.asarray(segment_start), place)
        with np.errstate(over="ignore"):  # e^x may be infinite in x / (1 + e^-x), which is right
            for layer, own in zip(weights.layers, cache, strict=True):
                # Views: what is written into them is in the cache.
                kept = np.asarray(own.keys), np.asarray(own.values)
                x = x + self._attended(layer, self._norm(x, layer.norm), kept, place, unseen)
                x = x + _fed_forward(layer, self._norm(x, layer.second_norm))
        offset = mx.array(place + 1)
        for own in cache:
            own.offset = offset
        logits: np.ndarray = self._norm(x, weights.norm) @ weights.projection
        return logits

    def _norm(self, x: np.ndarray, weight: np.ndarray) -> np.ndarray:
        scale: np.ndarray = 1 / np.sqrt((x * x).mean(axis=-1, keepdims=True) + self._eps)
        return x * scale * weight

    def _attended(
        self,
        layer: "_Layer",
        x: np.ndarray,
        kept: tuple[np.ndarray, np.ndarray],
        place: int,
        unseen: np.ndarray | None,
    ) -> np.ndarray:
        """What attention adds to x (B, D) at a place, whose key and value join those kept, each
        (B, K, length, E)."""
        kv_heads, width = self._config.n_kv_heads, self._config.head_dim
        queries = self._rotated((x @ layer.q).reshape(len(x), -1, width), place)
        for array, new in (
            (kept[0], self._rotated((x @ layer.k).reshape(len(x), kv_heads, width), place)),
            (kept[1], (x @ layer.v).reshape(len(x), kv_heads, width)),
        ):
            array[:, :, place] = new
        keys, values = (array[:, :, : place + 1] for array in kept)
        queries = queries.reshape(len(x), kv_heads, -1, width) * np.float32(width**-0.5)
        scores = queries @ keys.swapaxes(-1, -2)
        if unseen is not None:
            scores[np.broadcast_to(unseen, scores.shape)] = -np.inf
        weights = np.exp(scores - scores.max(axis=-1, keepdims=True))
        output = (weights @ values) / weights.sum(axis=-1, keepdims=True)
        added: np.ndarray = output.reshape(len(x), -1) @ layer.o
        return added

    def _rotated(self, x: np.ndarray, place: int) -> np.ndarray:
        """RoPE of x (B, heads, E), in the half-split layout."""
        half = x.shape[-1] // 2
        first, second = x[..., :half], x[..., half:]
        cos, sin = self._cos[place], self._sin[place]
        rotated = np.empty_like(x)
        rotated[..., :half] = first * cos - second * sin
        rotated[..., half:] = second * cos + first * sin
        return rotated


class _Layer(NamedTuple):
    """The weights of a layer, the matrices transposed: (inputs, outputs)."""

    norm: np.ndarray
    q: np.ndarray
    k: np.ndarray
    v: np.ndarray
    o: np.ndarray
    second_norm: np.ndarray
    gate: np.ndarray
    up: np.ndarray
    down: np.ndarray


class _Weights(NamedTuple):
    """The weights of a model."""

    embedding: np.ndarray
    layers: list[_Layer]
    norm: np.ndarray
    projection: np.ndarray
    """(D, V)."""


def _array(weight: mx.array) -> np.ndarray:
    """A view of an array; a copy of one that is not float32, as NumPy has no bfloat16."""
    return np.asarray(weight if weight.dtype == mx.float32 else weight.astype(mx.float32))


def _weights_of(model: Llama) -> _Weights:
    decoder = model.model
    return _Weights(
        embedding=_array(decoder.embed_tokens.weight),
        layers=[_layer_of(block) for block in decoder.layers],
        norm=_array(decoder.norm.weight),
        projection=_array(model.output_weight).T,
    )


def _layer_of(block: Block) -> _Layer:
    """A block's weights."""
    attention, mlp = block.self_attn, block.mlp
    return _Layer(
        norm=_array(block.input_layernorm.weight),
        q=_array(attention.q_proj.weight).T,
        k=_array(attention.k_proj.weight).T,
        v=_array(attention.v_proj.weight).T,
        o=_array(attention.o_proj.weight).T,
        second_norm=_array(block.post_attention_layernorm.weight),
        gate=_array(mlp.gate_proj.weight).T,
        up=_array(mlp.up_proj.weight).T,
        down=_array(mlp.down_proj.weight).T,
    )


def _unseen(segment_start: np.ndarray, place: int) -> np.ndarray | None:
    """Which positions up to a place lie before a row's own start, (B, 1, 1, place + 1); None if
    none does. A start is (B, 1)."""
    if not segment_start.any():
        return None
    unseen: np.ndarray = np.arange(place + 1) < segment_start[:, :, None, None]
    return unseen


def _fed_forward(layer: _Layer, x: np.ndarray) -> np.ndarray:
    """What SwiGLU adds to x (B, D)."""
    gate = x @ layer.gate
    added: np.ndarray = ((gate / (1 + np.exp(-gate))) * (x @ layer.up)) @ layer.down
    return added
