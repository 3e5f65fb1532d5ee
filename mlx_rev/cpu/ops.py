"""The operations of a Llama in forms that vectorise on a CPU, with their gradients.

There MLX expands mx.fast into primitives whose gradients keep much and recompute more, computes exp
one element at a time, and sums the last axis a number at a time but the others a row at a time. So
attention, SwiGLU and RMSNorm have gradients written out, and scores stand with their softmax axis
first.

Shapes: B rows, T positions, H query heads, K key/value heads, G = H / K, E = head size.
"""

from collections.abc import Callable
from functools import cache
from typing import TYPE_CHECKING, Any

import mlx.core as mx

from mlx_rev.config import ModelConfig
from mlx_rev.cpu.exp import exp_neg, sigmoid
from mlx_rev.cpu.loss import token_nats
from mlx_rev.model.cache import Cache
from mlx_rev.model.ops import Ops, rope_frequencies
from mlx_rev.model.scorer import Scorer

if TYPE_CHECKING:
    from mlx_rev.model.llama import Llama

_ATTENTION_BLOCK = 64
"""Query rows per block; each block is held against the keys up to its own end."""
_FEW_SCORES = 1 << 13
"""With a cache and fewer scores than this, MLX's one operation takes less time than several."""
_MASKED = -1e6
"""Added to scores that may not be seen; `exp_neg` makes 0 of it, also after logits of 1e4."""

with_gradient: Any = mx.custom_function  # its stub forgets what it returns


class CpuOps(Ops):
    """The forms that a CPU is fast at. For few scores MLX's own attention is faster."""

    def rms_norm(self, x: mx.array, weight: mx.array, eps: float) -> mx.array:
        """See `Ops`."""
        normalised: mx.array = _rms_norm(eps)(x, weight)[0]
        return normalised

    def swiglu(self, gate: mx.array, up: mx.array) -> mx.array:
        """See `Ops`."""
        product: mx.array = _swiglu(gate, up)
        return product

    def rope_tables(self, config: ModelConfig) -> tuple[mx.array, mx.array]:
        """cos and sin (1.5 context, E/2) of the angle of each pair at each position: a story that
        fills the context may have the padding of a prompt of half a context in front of it."""
        inverse = mx.reciprocal(rope_frequencies(config))
        angles = mx.arange(config.context + config.context // 2)[:, None] * inverse[None]
        return mx.cos(angles), mx.sin(angles)

    def rope_angles(
        self, tables: tuple[mx.array, mx.array], length: int, offset: mx.array | None
    ) -> tuple[mx.array, mx.array]:
        """The tables' rows (T, E/2) for these positions."""
        cos, sin = tables
        if offset is None:
            return cos[:length], sin[:length]
        positions = offset + mx.arange(length)
        return cos[positions], sin[positions]

    def rope(self, x: mx.array, angles: tuple[mx.array, mx.array]) -> mx.array:
        """See `Ops`."""
        first, second = mx.split(x, 2, axis=-1)
        cos, sin = (table.astype(x.dtype) for table in angles)
        return mx.concatenate([first * cos - second * sin, second * cos + first * sin], axis=-1)

    def attention_mask(
        self, length: int, segment_start: mx.array | None = None, cache: Cache | None = None
    ) -> Any:
        """See `Ops`; without a cache, what is added to the scores, made once for all layers."""
        if cache is not None:
            return super().attention_mask(length, segment_start, cache)
        return BlockBias(length, segment_start)

    def attention(self, q: mx.array, k: mx.array, v: mx.array, scale: float, mask: Any) -> mx.array:
        """See `Ops`."""
        batch, heads, length, width = q.shape
        kv_heads = k.shape[1]
        groups = heads // kv_heads
        if not isinstance(mask, BlockBias):
            # A single story takes MLX's form always, and so never waits for a compiler.
            if batch == 1 or batch * heads * length * k.shape[2] < _FEW_SCORES:
                return super().attention(q, k, v, scale, mask)
            rows = (q * scale).reshape(batch, kv_heads, groups * length, width)
            return _cached_attention(rows, k, v, mask).reshape(q.shape)
        grouped = (q * scale).reshape(batch, kv_heads, groups, length, width)
        v = mx.contiguous(v)  # else every product copies its part
        return _attention(grouped, k, v, *mask.of(groups))[0].reshape(batch, heads, length, width)

    def token_nats(self, hidden: mx.array, weight: mx.array, targets: mx.array) -> mx.array:
        """See `Ops`."""
        return token_nats(hidden, weight, targets)

    def scorer(self, model: "Llama") -> Scorer:
        """See `Ops`."""
        from mlx_rev.cpu.scorer import NumpyScorer  # which takes its angles from here

        return NumpyScorer(model)


class BlockBias:
    """What hides keys from queries: for each block of queries 0 or a large negative number,
    (B or 1, 1, keys, G · rows of the block)."""

    def __init__(self, length: int, segment_start: mx.array | None) -> None:
        keys = mx.arange(length)
        blocks = []
        for start, stop in _blocks(length):
            hidden = (keys[:stop, None] > keys[start:stop])[None]
            if segment_start is not None:
                starts = mx.minimum(segment_start, keys)  # so that each query sees itself
                hidden = hidden | (keys[:stop, None] < starts[:, None, start:stop])
            blocks.append(mx.where(hidden, _MASKED, 0.0)[:, None])
        self._tiled: dict[int, list[mx.array]] = {1: blocks}

    def of(self, groups: int) -> list[mx.array]:
        """The blocks' biases for `groups` query heads to a key head, made once."""
        if groups not in self._tiled:
            self._tiled[groups] = [mx.tile(bias, (1, 1, 1, groups)) for bias in self._tiled[1]]
        return self._tiled[groups]


def _cached_attention(q: mx.array, k: mx.array, v: mx.array, mask: mx.array) -> mx.array:
    """softmax(q kᵀ, masked) v for q (B, K, G · T, E), scaled already, without a gradient. mask is
    (B or 1, 1, T, S), true where a key is seen."""
    bias = (mask.astype(mx.float32) - 1) * -_MASKED
    bias = mx.tile(bias, (1, 1, q.shape[2] // mask.shape[2], 1))
    scores = q @ _transposed(k) + bias
    weights = _compiled_exp()(mx.max(scores, axis=-1, keepdims=True), scores)
    return (weights @ v) / (weights @ mx.ones((k.shape[2], 1)))


@cache
def _compiled_exp() -> Callable[..., Any]:
    """e^(scores - top) as one kernel for all shapes: a pass for each of its operations would take
    three times as long."""
    return mx.compile(lambda top, scores: exp_neg(top - scores), shapeless=True)


@cache
def _rms_norm(eps: float) -> Callable[..., Any]:
    # Sums over a row are products with a column: MLX adds a row's numbers one at a time.
    @with_gradient
    def forward(x: mx.array, weight: mx.array) -> tuple[mx.array, mx.array]:
        width = x.shape[-1]
        scale = mx.rsqrt((x * x) @ mx.full((width, 1), 1 / width) + eps)
        return x * scale * weight, scale

    @forward.vjp
    def backward(primals: Any, cotangents: Any, outputs: Any) -> tuple[mx.array, mx.array]:
        (x, weight), (cotangent, _), (_, scale) = primals, cotangents, outputs
        width, product = x.shape[-1], cotangent * x
        mean = product @ (weight[:, None] / width)
        by_weight = scale.reshape(1, -1) @ product.reshape(-1, width)
        return scale * (cotangent * weight - x * (mean * scale * scale)), by_weight[0]

    return forward


@with_gradient
def _swiglu(gate: mx.array, up: mx.array) -> mx.array:
    return gate * sigmoid(gate) * up


@_swiglu.vjp
def _swiglu_backward(primals: Any, cotangent: Any, output: Any) -> tuple[mx.array, mx.array]:
    gate, up = primals
    gate_sigmoid = sigmoid(gate)  # again: to keep it would take as much memory as the gate does
    silu = gate * gate_sigmoid
    return cotangent * up * (gate_sigmoid + silu * (1 - gate_sigmoid)), cotangent * silu


def _blocks(length: int) -> list[tuple[int, int]]:
    return [
        (start, min(start + _ATTENTION_BLOCK, length))
        for start in range(0, length, _ATTENTION_BLOCK)
    ]


@with_gradient
def _attention(q: mx.array, k: mx.array, v: mx.array, *bias: mx.array) -> tuple[mx.array, ...]:
    """The output for q (B, K, G, T, E), scaled already, then what the gradient needs: of each
    block the unnormalised probabilities (B, K, keys, G · rows), of each what normalises them."""
    batch, kv_heads, groups, length, width = q.shape
    outputs, unnormalised, normalisers = [], [], []
    for (start, stop), own_bias in zip(_blocks(length), bias, strict=True):
        rows = q[:, :, :, start:stop].reshape(batch, kv_heads, -1, width)
        scores = mx.addmm(own_bias, k[:, :, :stop], _transposed(rows))
        weights = exp_neg(mx.max(scores, axis=-2, keepdims=True) - scores)
        normaliser = 1 / mx.sum(weights, axis=-2, keepdims=True)
        output = (_transposed(weights) @ v[:, :, :stop]) * _transposed(normaliser)
        outputs.append(output.reshape(batch, kv_heads, groups, stop - start, width))
        unnormalised.append(weights)
        normalisers.append(normaliser)
    return mx.concatenate(outputs, axis=3), *unnormalised, *normalisers


@_attention.vjp
def _attention_backward(primals: Any, cotangents: Any, outputs: Any) -> tuple[mx.array, ...]:
    q, k, v, *bias = primals
    cotangent, result, kept = cotangents[0], outputs[0], outputs[1:]
    unnormalised, normalisers = kept[: len(bias)], kept[len(bias) :]
    batch, kv_heads, _, length, width = q.shape
    by_q, by_k, by_v = [], _PrefixSum(), _PrefixSum()
    blocks = list(zip(_blocks(length), unnormalised, normalisers, strict=True))
    for (start, stop), weights, normaliser in reversed(blocks):
        flat = (batch, kv_heads, -1, width)
        rows = q[:, :, :, start:stop].reshape(flat)
        own = cotangent[:, :, :, start:stop].reshape(flat) * _transposed(normaliser)
        written = result[:, :, :, start:stop].reshape(flat)
        mean = mx.sum(own * written, axis=-1)[:, :, None]
        by_scores = weights * (v[:, :, :stop] @ _transposed(own) - mean)
        by_rows = _transposed(by_scores) @ k[:, :, :stop]
        by_q.append(by_rows.reshape(q[:, :, :, start:stop].shape))
        by_k.add(by_scores @ rows, start)
        by_v.add(weights @ own, start)
    whole = mx.concatenate(by_q[::-1], axis=3), by_k.whole(), by_v.whole()
    return *whole, *map(mx.zeros_like, bias)


def _transposed(x: mx.array) -> mx.array:
    return x.swapaxes(-1, -2)


class _PrefixSum:
    """The sum of arrays (B, K, T, E) of ever fewer positions, each a part at the front of the one
    before: positions behind the next part are done, and are not added or copied again."""

    def __init__(self) -> None:
        self._open: mx.array | None = None
        self._done: list[mx.array] = []

    def add(self, part: mx.array, start: int) -> None:
        """Add the first `part.shape[2]` positions; the next part has `start` of them."""
        total = part if self._open is None else self._open + part
        self._open = total[:, :, :start]
        self._done.append(total[:, :, start:])

    def whole(self) -> mx.array:
        """All positions."""
        return mx.concatenate(self._done[::-1], axis=2)
