"""The Llama of llama2.c, with the weight names of mlx-lm and transformers.

Shapes: B rows, T positions, D = dim, H query heads, K key/value heads, E = head size,
V = vocabulary.
"""

import math
from collections.abc import Iterator
from typing import Any

import mlx.core as mx
import mlx.nn as nn
from mlx.utils import tree_flatten, tree_unflatten

from mlx_rev.config import ModelConfig
from mlx_rev.errors import ConfigError
from mlx_rev.model.cache import Cache, LayerCache, advance
from mlx_rev.model.ops import Ops, dropout

Weights = dict[str, mx.array]
"""Arrays by their name in mlx-lm and transformers."""


class Norm(nn.Module):
    """RMSNorm with a learnt scale."""

    def __init__(self, config: ModelConfig, ops: Ops) -> None:
        super().__init__()
        self.weight = mx.ones((config.dim,))
        self.eps, self.ops = config.norm_eps, ops

    def __call__(self, x: mx.array) -> mx.array:
        return self.ops.rms_norm(x, self.weight, self.eps)


class Attention(nn.Module):
    """Grouped-query attention with rotary positions."""

    def __init__(self, config: ModelConfig, ops: Ops) -> None:
        super().__init__()
        self.n_heads, self.n_kv_heads = config.n_heads, config.n_kv_heads
        self.scale, self.ops = 1 / math.sqrt(config.head_dim), ops
        queries, keys = config.n_heads * config.head_dim, config.n_kv_heads * config.head_dim
        self.q_proj = nn.Linear(config.dim, queries, bias=False)
        self.k_proj = nn.Linear(config.dim, keys, bias=False)
        self.v_proj = nn.Linear(config.dim, keys, bias=False)
        self.o_proj = nn.Linear(queries, config.dim, bias=False)

    def __call__(
        self, x: mx.array, angles: Any, mask: Any, cache: LayerCache | None = None
    ) -> mx.array:
        batch, length, _ = x.shape

        def heads(projected: mx.array, count: int) -> mx.array:
            return projected.reshape(batch, length, count, -1).transpose(0, 2, 1, 3)

        q = self.ops.rope(heads(self.q_proj(x), self.n_heads), angles)
        k = self.ops.rope(heads(self.k_proj(x), self.n_kv_heads), angles)
        v = heads(self.v_proj(x), self.n_kv_heads)
        if cache is not None:
            k, v = cache.update(k, v)
        output = self.ops.attention(q, k, v, self.scale, mask)
        return self.o_proj(output.transpose(0, 2, 1, 3).reshape(batch, length, -1))


class FeedForward(nn.Module):
    """SwiGLU: down(silu(gate(x)) * up(x))."""

    def __init__(self, config: ModelConfig, ops: Ops) -> None:
        super().__init__()
        self.gate_proj = nn.Linear(config.dim, config.hidden_dim, bias=False)
        self.up_proj = nn.Linear(config.dim, config.hidden_dim, bias=False)
        self.down_proj = nn.Linear(config.hidden_dim, config.dim, bias=False)
        self.ops = ops

    def __call__(self, x: mx.array) -> mx.array:
        return self.down_proj(self.ops.swiglu(self.gate_proj(x), self.up_proj(x)))


class Block(nn.Module):
    """One transformer layer: attention and feed-forward, each on a residual branch."""

    def __init__(self, config: ModelConfig, ops: Ops) -> None:
        super().__init__()
        self.self_attn = Attention(config, ops)
        self.mlp = FeedForward(config, ops)
        self.input_layernorm = Norm(config, ops)
        self.post_attention_layernorm = Norm(config, ops)

    def __call__(
        self,
        x: mx.array,
        angles: Any,
        mask: Any,
        cache: LayerCache | None,
        drop: "Dropout",
    ) -> mx.array:
        x = x + drop(self.self_attn(self.input_layernorm(x), angles, mask, cache))
        return x + drop(self.mlp(self.post_attention_layernorm(x)))


class Decoder(nn.Module):
    """From tokens to what the output projection sees (`model.` in the weight names)."""

    def __init__(self, config: ModelConfig, ops: Ops) -> None:
        super().__init__()
        self.config, self.ops = config, ops
        self.embed_tokens = nn.Embedding(config.vocab_size, config.dim)
        self.layers = [Block(config, ops) for _ in range(config.n_layers)]
        self.norm = Norm(config, ops)
        self._tables = ops.rope_tables(config)
        mx.eval(self._tables)

    def __call__(
        self,
        tokens: mx.array,
        cache: Cache | None = None,
        segment_start: mx.array | None = None,
        key: mx.array | None = None,
    ) -> mx.array:
        """(B, T, D) for tokens (B, T); the arguments are those of `Llama`."""
        length, drop = tokens.shape[1], Dropout(self.config, key)
        angles = self.angles(length, None if cache is None else cache[0].offset)
        mask = self.ops.attention_mask(length, segment_start, cache)
        x = drop(self.embed_tokens(tokens))
        for index, block in enumerate(self.layers):
            x = block(x, angles, mask, None if cache is None else cache[index], drop)
        if cache is not None:
            advance(cache, length)
        return self.norm(x)

    def angles(self, length: int, offset: mx.array | None = None) -> Any:
        """What RoPE needs for `length` positions from `offset` on, for the blocks."""
        return self.ops.rope_angles(self._tables, length, offset)


class Llama(nn.Module):
    """A decoder-only transformer: training, scoring and generation all call it."""

    def __init__(self, config: ModelConfig, ops: Ops | None = None) -> None:
        super().__init__()
        self.config, self.ops = config, ops or Ops()
        self.model = Decoder(config, self.ops)
        if not config.tied:
            self.lm_head = nn.Linear(config.dim, config.vocab_size, bias=False)
        # Layers draw weights when they are made. Nobody evaluates these, and so the generator's
        # state would remember every draw: memory that grows with each model made.
        mx.eval(mx.random.state)

    def __call__(
        self,
        tokens: mx.array,
        cache: Cache | None = None,
        segment_start: mx.array | None = None,
        key: mx.array | None = None,
    ) -> mx.array:
        """The logits (B, T, V) after each of tokens (B, T).

        With a `cache` the tokens follow what it holds, and join it. With `segment_start`, (B, T)
        or (B, 1), no position sees what lies before its own segment's start: stories packed in one
        row, or the padding in front of one. With a random `key`, dropout falls on the embedding and
        both branches of every block.
        """
        return self.project(self.model(tokens, cache, segment_start, key))

    def next_logits(
        self, tokens: mx.array, cache: Cache, segment_start: mx.array | None = None
    ) -> mx.array:
        """The logits (B, V) after the last of tokens (B, T), which join the cache."""
        return self.project(self.model(tokens, cache, segment_start)[:, -1])

    def project(self, hidden: mx.array) -> mx.array:
        """Logits (..., V) of what the decoder gives (..., D)."""
        return hidden @ self.output_weight.T

    @property
    def output_weight(self) -> mx.array:
        """The output projection (V, D): the embedding itself where they are tied."""
        weight: mx.array = (
            self.model.embed_tokens.weight if self.config.tied else self.lm_head.weight
        )
        return weight


class Dropout:
    """Dropout at one place after another, each with a key of its own; without a key, none."""

    def __init__(self, config: ModelConfig, key: mx.array | None) -> None:
        self._rate = config.dropout
        self._keys: Iterator[mx.array] | None = None
        if key is not None and config.dropout:
            self._keys = iter(list(mx.random.split(key, 1 + 2 * config.n_layers)))

    def __call__(self, x: mx.array) -> mx.array:
        return x if self._keys is None else dropout(x, self._rate, next(self._keys))


def get_weights(model: Llama) -> Weights:
    """The model's weights by name."""
    return dict(tree_flatten(model.parameters()))


def set_weights(model: Llama, weights: Weights) -> None:
    """Give the model these weights; they may be traced ones."""
    model.update(tree_unflatten(list(weights.items())))


def check_weights(model: Llama, weights: Weights) -> None:
    """Raise ConfigError where names or shapes are not those that the model has."""
    expected = {name: array.shape for name, array in get_weights(model).items()}
    found = {name: array.shape for name, array in weights.items()}
    for name in sorted(expected | found):
        if expected.get(name) != found.get(name):
            raise ConfigError(
                f"{name} has shape {found.get(name)}, expected {expected.get(name)} "
                "by the options; leave the options of the model's shape out"
            )


def initialise(
    model: Llama, seed: int, init_std: float = 0.02, embedding_init_std: float = 0.02
) -> None:
    """Draw the weights as llama2.c does: normal, of standard deviation `init_std`; w3 and wo of
    each block scaled by 1 / sqrt(2 n_layers); norms are ones. The embedding has a standard
    deviation of its own."""
    key = mx.random.key(seed)
    residual = init_std / math.sqrt(2 * model.config.n_layers)
    weights = []
    for name, weight in get_weights(model).items():
        if weight.ndim < 2:
            continue
        key, own = mx.random.split(key)
        if name.endswith("embed_tokens.weight"):
            scale = embedding_init_std
        else:
            scale = residual if name.endswith(("o_proj.weight", "up_proj.weight")) else init_std
        weights.append((name, mx.random.normal(weight.shape, scale=scale, key=own)))
    set_weights(model, get_weights(model) | dict(weights))
