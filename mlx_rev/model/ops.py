"""The operations of a Llama as MLX has them: what a GPU runs.

Shapes: B rows, T query positions, S key positions, H query heads, K key/value heads, E = head size.
"""

from typing import TYPE_CHECKING, Any

import mlx.core as mx
import mlx.nn as nn

from mlx_rev.config import ModelConfig
from mlx_rev.model.cache import Cache
from mlx_rev.model.scorer import PlainScorer, Scorer

if TYPE_CHECKING:
    from mlx_rev.model.llama import Llama

_LOGITS_AT_ONCE = 1 << 26
"""Logits that exist at once while stories are scored: 256 MB."""


class Ops:
    """The plain forms. A subclass may replace any of them by a form with the same results.

    What `rope_tables`, `rope_angles` and `attention_mask` return is for the form's own `rope` and
    `attention`; the model only hands it on.
    """

    def rms_norm(self, x: mx.array, weight: mx.array, eps: float) -> mx.array:
        """x / sqrt(mean(x²) + eps) · weight over the last axis (Zhang and Sennrich, 2019)."""
        return mx.fast.rms_norm(x, weight, eps)

    def swiglu(self, gate: mx.array, up: mx.array) -> mx.array:
        """silu(gate) · up (Shazeer, "GLU Variants Improve Transformer", 2020)."""
        return nn.silu(gate) * up

    def rope_tables(self, config: ModelConfig) -> Any:
        """What RoPE needs of a model's shape: made once."""
        return rope_frequencies(config)

    def rope_angles(self, tables: Any, length: int, offset: mx.array | None) -> Any:
        """What RoPE needs for `length` positions from `offset` (a scalar; None is 0) on."""
        return tables, 0 if offset is None else offset

    def rope(self, x: mx.array, angles: Any) -> mx.array:
        """Rotate the pairs (i, i + E/2) of x (B, H, T, E) by position · theta^(-2i/E).

        Su et al., "RoFormer" (2021), in the half-split layout of mlx-lm and transformers.
        """
        frequencies, offset = angles
        return mx.fast.rope(
            x, x.shape[-1], traditional=False, base=None, scale=1.0, offset=offset,
            freqs=frequencies,
        )  # fmt: skip

    def attention_mask(
        self, length: int, segment_start: mx.array | None = None, cache: Cache | None = None
    ) -> Any:
        """Which keys each of `length` queries sees: those up to itself, from its segment's start.

        segment_start is (B, T) or (B, 1), in positions of the row. With a cache the queries follow
        what it holds. A query always sees itself, so that padding has a softmax too.
        """
        if segment_start is None and cache is None:
            return "causal"
        keys = mx.arange(length if cache is None else cache[0].keys.shape[2])
        queries = (keys if cache is None else cache[0].offset + mx.arange(length))[:, None]
        visible = (keys <= queries)[None]
        if segment_start is not None:
            visible = visible & ((keys >= segment_start[..., None]) | (keys == queries))
        return visible[:, None]

    def attention(self, q: mx.array, k: mx.array, v: mx.array, scale: float, mask: Any) -> mx.array:
        """softmax(scale · q kᵀ, masked) v: (B, H, T, E). q is (B, H, T, E), k and v (B, K, S, E);
        K divides H."""
        return mx.fast.scaled_dot_product_attention(q, k, v, scale=scale, mask=mask)

    def token_nats(self, hidden: mx.array, weight: mx.array, targets: mx.array) -> mx.array:
        """The surprise (N,) of targets (N,) under softmax(hidden · weightᵀ), in nats, float32.

        hidden is (N, D), weight (vocabulary, D). An out-of-range target is clipped.
        """
        targets = mx.clip(targets, 0, len(weight) - 1)
        rows = max(1, _LOGITS_AT_ONCE // len(weight))
        parts = []
        for start in range(0, len(hidden), rows):
            logits = (hidden[start : start + rows] @ weight.T).astype(mx.float32)
            part = nn.losses.cross_entropy(logits, targets[start : start + rows])
            mx.eval(part)  # so that the next rows' logits take these ones' memory
            parts.append(part)
        return mx.concatenate(parts)

    def scorer(self, model: "Llama") -> Scorer:
        """How whole texts are read where no gradient is wanted."""
        return PlainScorer(model)


def rope_frequencies(config: ModelConfig) -> mx.array:
    """theta^(2i/E) for each pair i, (E/2,), times its slowdown if RoPE is scaled: a position
    divided by them is the angle."""
    pairs = mx.arange(0, config.head_dim, 2)
    frequencies = mx.power(config.rope_theta, pairs / config.head_dim)
    if config.rope_factor == 1:
        return frequencies
    return frequencies * mx.array([config.rope_slowdown(pair) for pair in range(pairs.size)])


def dropout(x: mx.array, rate: float, key: mx.array) -> mx.array:
    """Set a share `rate` of x to zero and scale the rest to keep the mean."""
    kept = mx.random.bernoulli(1 - rate, x.shape, key=key)
    return x * kept.astype(x.dtype) * (1 / (1 - rate))
