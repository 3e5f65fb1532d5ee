"""The operations of a Llama: MLX's own on the GPU, forms that vectorise on the CPU.

On the CPU MLX computes exp an element at a time and expands mx.fast into primitives whose
gradients keep much and recompute more. So there, exp is plain arithmetic, and attention,
cross-entropy, SwiGLU and RMSNorm have gradients written out. MLX reduces the last axis a number at
a time and the others a row at a time, so scores and logits stand with their softmax axis first.

Shapes: B rows, T positions, H query heads, K key/value heads, E = head size, D = width.
"""

import math
from collections.abc import Callable
from functools import cache
from typing import Any, NamedTuple

import mlx.core as mx

_ATTENTION_BLOCK = 64
"""Query rows that are weighed at once, each block against the keys up to its end."""
_LOGITS_AT_ONCE = 4_000_000
"""Logits that exist at once in the loss, unless 256 rows have more."""
_MASKED = -1e6
"""Added to scores that may not be seen; `decay` makes 0 of it, also after logits of 1e4."""


_TINY = 1e-30
"""Keeps a division by 0 from being one."""
_TAYLOR_OF_EIGHTH = [8.0**-power / math.factorial(power) for power in range(8)]

Mask = list[mx.array] | mx.array | str
"""What hides keys from queries: a block's bias each on CPU, what mx.fast takes elsewhere."""

_with_gradient: Any = mx.custom_function  # its stub forgets what it returns


def on_cpu() -> bool:
    """Whether the default device is the CPU; decides which forms are used."""
    return bool(mx.default_device() == mx.Device(mx.cpu))


def decay(z: mx.array) -> mx.array:
    """e^-z of z >= 0, with an absolute error under 2e-6; exactly 0 for large z.

    1 / (e^(z/8))^8, e^(z/8) by its Taylor polynomial: no calls, no branches and nothing done with
    bits, so that MLX makes one kernel of it and the compiler vectorises that. Where the polynomial
    is wrong, beyond 20, the result is almost 0.
    """
    if not on_cpu():
        return mx.exp(-z)
    c = _TAYLOR_OF_EIGHTH
    z2 = z * z
    low = (c[0] + c[1] * z) + z2 * (c[2] + c[3] * z)
    high = (c[4] + c[5] * z) + z2 * (c[6] + c[7] * z)
    root = low + (z2 * z2) * high
    square = root * root
    fourth = square * square
    return 1 / (fourth * fourth)


def sigmoid(x: mx.array) -> mx.array:
    """1 / (1 + e^-x), with an absolute error under 5e-7."""
    if not on_cpu():
        return mx.sigmoid(x)
    size = mx.abs(x)
    odds = decay(size)
    # (1 + tanh(x / 2)) / 2, and tanh(x / 2) is (1 - odds) / (1 + odds) with the sign of x.
    return 0.5 + 0.5 * x * ((1 - odds) / ((1 + odds) * (size + _TINY)))


def rms_norm(x: mx.array, weight: mx.array, eps: float) -> mx.array:
    """x / sqrt(mean(x²) + eps) · weight over the last axis (Zhang and Sennrich, 2019)."""
    if not on_cpu():
        return mx.fast.rms_norm(x, weight, eps)
    normalised: mx.array = _rms_norm(eps)(x, weight)[0]
    return normalised


@cache
def _rms_norm(eps: float) -> Callable[..., Any]:
    # Sums over a row are products with a column: MLX adds a row's numbers one at a time.
    @_with_gradient
    def forward(x: mx.array, weight: mx.array) -> tuple[mx.array, mx.array]:
        width = x.shape[-1]
        scale = mx.rsqrt((x * x) @ mx.full((width, 1), 1 / width) + eps)
        return x * scale * weight, scale

    @forward.vjp
    def backward(primals: Any, cotangents: Any, outputs: Any) -> tuple[mx.array, mx.array]:
        (x, weight), (slope, _), (_, scale) = primals, cotangents, outputs
        width, product = x.shape[-1], slope * x
        mean = product @ (weight[:, None] / width)
        by_weight = scale.reshape(1, -1) @ product.reshape(-1, width)
        return scale * (slope * weight - x * (mean * scale * scale)), by_weight[0]

    return forward


def rope_tables(length: int, head_dim: int, theta: float) -> tuple[mx.array, mx.array]:
    """cos and sin (length, head_dim / 2) of the angle of each pair at each position.

    Su et al., "RoFormer" (2021): position · theta^(-2i / head_dim) for pair i.
    """
    frequencies = mx.power(theta, -mx.arange(0, head_dim, 2) / head_dim)
    angles = mx.arange(length)[:, None] * frequencies[None]
    return mx.cos(angles), mx.sin(angles)


def rope(x: mx.array, cos: mx.array, sin: mx.array) -> mx.array:
    """Turn the pairs (i, i + E/2) of x (B, H, T, E) by the angles of cos and sin (T, E/2).

    The half-split layout of mlx-lm and transformers.
    """
    first, second = mx.split(x, 2, axis=-1)
    cos, sin = cos.astype(x.dtype), sin.astype(x.dtype)
    return mx.concatenate([first * cos - second * sin, second * cos + first * sin], axis=-1)


def attention_mask(length: int, groups: int, first: mx.array | None = None) -> Mask:
    """What `attention` adds so that each position sees itself and those before it.

    With `first` (B, T) a position sees nothing before that one: its own story. `groups` is the
    number of query heads to a key head. To be made once and used by every layer.
    """
    keys = mx.arange(length)
    if not on_cpu():
        if first is None:
            return "causal"
        return ((keys[None] <= keys[:, None]) & (keys >= first[..., None]))[:, None]
    bias = []
    for start, stop in _blocks(length):
        hidden = (keys[:stop, None] > keys[start:stop])[None]
        if first is not None:
            hidden = hidden | (keys[:stop, None] < first[:, None, start:stop])
        bias.append(mx.tile(mx.where(hidden, _MASKED, 0.0)[:, None], (1, 1, 1, groups)))
    return bias


def attention(q: mx.array, k: mx.array, v: mx.array, scale: float, mask: Mask) -> mx.array:
    """softmax(scale · q kᵀ + mask) v: (B, H, T, E). q is (B, H, T, E), k and v are (B, K, T, E);
    K divides H; `mask` comes from `attention_mask`."""
    if not isinstance(mask, list):
        return mx.fast.scaled_dot_product_attention(q, k, v, scale=scale, mask=mask)
    batch, heads, length, width = q.shape
    kv_heads = k.shape[1]
    grouped = (q * scale).reshape(batch, kv_heads, heads // kv_heads, length, width)
    return _attention(grouped, k, v, *mask)[0].reshape(batch, heads, length, width)


def _blocks(length: int) -> list[tuple[int, int]]:
    return [
        (start, min(start + _ATTENTION_BLOCK, length))
        for start in range(0, length, _ATTENTION_BLOCK)
    ]


@_with_gradient
def _attention(q: mx.array, k: mx.array, v: mx.array, *bias: mx.array) -> tuple[mx.array, ...]:
    """The output for q (B, K, G, T, E), scaled already, then what the gradient needs: of each
    block the odds (B, K, keys, G · rows), and of each the factors that make them probabilities."""
    batch, kv_heads, groups, length, width = q.shape
    outputs, kept, factors = [], [], []
    for (start, stop), own_bias in zip(_blocks(length), bias, strict=True):
        rows = q[:, :, :, start:stop].reshape(batch, kv_heads, -1, width)
        scores = mx.addmm(own_bias, k[:, :, :stop], _turned(rows))
        odds = decay(mx.max(scores, axis=-2, keepdims=True) - scores)
        factor = 1 / mx.sum(odds, axis=-2, keepdims=True)
        output = (_turned(odds) @ v[:, :, :stop]) * _turned(factor)
        outputs.append(output.reshape(batch, kv_heads, groups, stop - start, width))
        kept.append(odds)
        factors.append(factor)
    return mx.concatenate(outputs, axis=3), *kept, *factors


@_attention.vjp
def _attention_backward(primals: Any, cotangents: Any, outputs: Any) -> tuple[mx.array, ...]:
    q, k, v, *bias = primals
    slope, result, kept = cotangents[0], outputs[0], outputs[1:]
    odds, factors = kept[: len(bias)], kept[len(bias) :]
    batch, kv_heads, _, length, width = q.shape
    by_q, by_k, by_v = [], mx.zeros_like(k), mx.zeros_like(v)
    blocks = list(zip(_blocks(length), odds, factors, strict=True))
    for (start, stop), own_odds, factor in reversed(blocks):
        flat = (batch, kv_heads, -1, width)
        rows = q[:, :, :, start:stop].reshape(flat)
        own = slope[:, :, :, start:stop].reshape(flat) * _turned(factor)
        written = result[:, :, :, start:stop].reshape(flat)
        mean = mx.sum(own * written, axis=-1)[:, :, None]
        by_scores = own_odds * (v[:, :, :stop] @ _turned(own) - mean)
        by_rows = _turned(by_scores) @ k[:, :, :stop]
        by_q.append(by_rows.reshape(q[:, :, :, start:stop].shape))
        by_k = _add_prefix(by_k, by_scores @ rows)
        by_v = _add_prefix(by_v, own_odds @ own)
    return mx.concatenate(by_q[::-1], axis=3), by_k, by_v, *map(mx.zeros_like, bias)


def _turned(x: mx.array) -> mx.array:
    return x.swapaxes(-1, -2)


def _add_prefix(whole: mx.array, prefix: mx.array) -> mx.array:
    """Add `prefix` to the first positions of `whole` (B, K, T, E)."""
    length = prefix.shape[2]
    return mx.concatenate([whole[:, :, :length] + prefix, whole[:, :, length:]], axis=2)


def swiglu(gate: mx.array, up: mx.array) -> mx.array:
    """silu(gate) · up (Shazeer, "GLU Variants Improve Transformer", 2020)."""
    if not on_cpu():
        return gate * sigmoid(gate) * up
    product: mx.array = _swiglu(gate, up)
    return product


@_with_gradient
def _swiglu(gate: mx.array, up: mx.array) -> mx.array:
    return gate * sigmoid(gate) * up


@_swiglu.vjp
def _swiglu_backward(primals: Any, slope: Any, output: Any) -> tuple[mx.array, mx.array]:
    gate, up = primals
    opened = sigmoid(gate)  # again: to keep it would take as much memory as the gate does
    silu = gate * opened
    return slope * up * (opened + silu * (1 - opened)), slope * silu


def dropout(x: mx.array, rate: float, key: mx.array) -> mx.array:
    """Set a share `rate` of x to zero and scale the rest so that the mean stays."""
    kept = mx.random.bernoulli(1 - rate, x.shape, key=key)
    return x * kept.astype(x.dtype) * (1 / (1 - rate))


def token_nats(hidden: mx.array, weight: mx.array, targets: mx.array) -> mx.array:
    """The surprise (N,) of targets (N,) under softmax(hidden · weightᵀ), in nats, float32.

    hidden is (N, D), weight (vocabulary, D). No gradients are kept. A target that is no id
    counts as the nearest one.
    """
    targets = mx.clip(targets, 0, len(weight) - 1)
    parts = []
    for start, stop in _chunks(len(hidden), len(weight)):
        logits, top, total = _normalised(hidden[start:stop], weight)[:3]
        parts.append(mx.log(total) + top - _own(logits, targets[start:stop]))
    return mx.concatenate(parts)


class LinearLoss(NamedTuple):
    """A loss with its gradients, and the arrays on the way to these, a chunk of rows each."""

    loss: mx.array
    by_hidden: mx.array
    by_weight: mx.array
    chunks: list[list[mx.array]]


def linear_cross_entropy(
    hidden: mx.array, weight: mx.array, targets: mx.array, weights: mx.array
) -> LinearLoss:
    """The float32 scalar sum(weights · nats), nats as in `token_nats`, and its gradients.

    Rows of weight 0 are ignored, whatever their target. The projection is part of it, so that
    the logits exist a chunk of rows at a time; the gradients by hidden and weight are taken while
    they do, so that nothing is kept or computed twice. Who computes `chunks` one after another
    has only one of them in memory.
    """
    hidden, weight = mx.stop_gradient(hidden), mx.stop_gradient(weight)
    targets = mx.where(weights == 0, 0, targets)
    each, chosen = weights[:, None].astype(hidden.dtype), weight[targets]
    loss = -mx.sum(weights * mx.sum((hidden * chosen).astype(mx.float32), axis=-1))
    by_weight = mx.zeros(weight.shape, weight.dtype).at[targets].add(-each * hidden)
    by_hidden: list[mx.array] = []
    chunks: list[list[mx.array]] = []
    for start, stop in _chunks(len(hidden), len(weight)):
        rows = hidden[start:stop]
        top, total, odds = _normalised(rows, weight)[1:]
        loss = loss + mx.sum(weights[start:stop] * (mx.log(total) + top))
        # The odds' factors go to the few numbers of a row: no second array of the logits' size.
        share = (weights[start:stop] / total)[:, None].astype(hidden.dtype)
        odds = odds.astype(hidden.dtype)
        by_hidden.append((odds.T @ weight) * share)
        by_weight = mx.addmm(by_weight, odds, rows * share)
        chunks.append([loss, by_hidden[-1], by_weight])
    return LinearLoss(loss, mx.concatenate(by_hidden) - each * chosen, by_weight, chunks)


def _chunks(rows: int, vocabulary: int) -> list[tuple[int, int]]:
    size = max(256, _LOGITS_AT_ONCE // vocabulary)
    count = max(1, math.ceil(rows / size))
    size = math.ceil(rows / count)
    return [(start, min(start + size, rows)) for start in range(0, rows, size)]


def _normalised(rows: mx.array, weight: mx.array) -> tuple[mx.array, ...]:
    """logits (vocabulary, n), their maxima and the sums of the odds (n,), odds like the logits."""
    logits = (weight @ rows.T).astype(mx.float32)
    top = mx.max(logits, axis=0)
    odds = decay(top - logits)
    return logits, top, mx.sum(odds, axis=0), odds


def _own(logits: mx.array, targets: mx.array) -> mx.array:
    """The logits (n,) of the targets (n,)."""
    return mx.take_along_axis(logits, targets[None], axis=0)[0]
