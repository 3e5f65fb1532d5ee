"""The Llama of llama2.c, with the weight names of mlx-lm and transformers.

Shapes: B rows, T positions, D = dim, H query heads, K key/value heads, E = head size.
"""

import math
from collections.abc import Iterator
from typing import NamedTuple

import mlx.core as mx
import mlx.nn as nn
from mlx.utils import tree_flatten, tree_unflatten

from mlx_rev.config import ModelConfig
from mlx_rev.errors import ConfigError
from mlx_rev.model import ops

Weights = dict[str, mx.array]
"""Arrays by their name in mlx-lm and transformers."""


class Cache(NamedTuple):
    """Keys and values of the positions read so far, in arrays of a fixed size."""

    keys: list[mx.array]
    """A layer each: (B, K, length, E)."""
    values: list[mx.array]
    """A layer each: (B, K, length, E)."""


class Attention(nn.Module):
    """Grouped-query attention with rotary positions."""

    def __init__(self, config: ModelConfig) -> None:
        super().__init__()
        self.n_heads, self.n_kv_heads = config.n_heads, config.n_kv_heads
        self.scale = 1 / math.sqrt(config.head_dim)
        queries, keys = config.n_heads * config.head_dim, config.n_kv_heads * config.head_dim
        self.q_proj = nn.Linear(config.dim, queries, bias=False)
        self.k_proj = nn.Linear(config.dim, keys, bias=False)
        self.v_proj = nn.Linear(config.dim, keys, bias=False)
        self.o_proj = nn.Linear(queries, config.dim, bias=False)

    def heads(self, x: mx.array, cos: mx.array, sin: mx.array) -> tuple[mx.array, ...]:
        """Turned queries (B, H, T, E) and keys, and values (B, K, T, E), of x (B, T, D)."""
        q = _split(self.q_proj(x), self.n_heads)
        k = _split(self.k_proj(x), self.n_kv_heads)
        v = _split(self.v_proj(x), self.n_kv_heads)
        return ops.rope(q, cos, sin), ops.rope(k, cos, sin), v

    def output(self, heads: mx.array) -> mx.array:
        """Put the heads (B, H, T, E) together and project them: (B, T, D)."""
        batch, _, length, _ = heads.shape
        return self.o_proj(heads.transpose(0, 2, 1, 3).reshape(batch, length, -1))

    def __call__(self, x: mx.array, cos: mx.array, sin: mx.array, mask: ops.Mask) -> mx.array:
        q, k, v = self.heads(x, cos, sin)
        return self.output(ops.attention(q, k, v, self.scale, mask))


class FeedForward(nn.Module):
    """SwiGLU: down(silu(gate(x)) * up(x))."""

    def __init__(self, config: ModelConfig) -> None:
        super().__init__()
        self.gate_proj = nn.Linear(config.dim, config.hidden_dim, bias=False)
        self.up_proj = nn.Linear(config.dim, config.hidden_dim, bias=False)
        self.down_proj = nn.Linear(config.hidden_dim, config.dim, bias=False)

    def __call__(self, x: mx.array) -> mx.array:
        return self.down_proj(ops.swiglu(self.gate_proj(x), self.up_proj(x)))


class Norm(nn.Module):
    """RMSNorm with a learnt scale."""

    def __init__(self, config: ModelConfig) -> None:
        super().__init__()
        self.weight = mx.ones((config.dim,))
        self.eps = config.norm_eps

    def __call__(self, x: mx.array) -> mx.array:
        return ops.rms_norm(x, self.weight, self.eps)


class Block(nn.Module):
    """One transformer layer: attention and feed-forward, each on a residual branch."""

    def __init__(self, config: ModelConfig) -> None:
        super().__init__()
        self.self_attn = Attention(config)
        self.mlp = FeedForward(config)
        self.input_layernorm = Norm(config)
        self.post_attention_layernorm = Norm(config)


class Decoder(nn.Module):
    """The blocks between the embedding and the final norm (`model.` in the weight names)."""

    def __init__(self, config: ModelConfig) -> None:
        super().__init__()
        self.embed_tokens = nn.Embedding(config.vocab_size, config.dim)
        self.layers = [Block(config) for _ in range(config.n_layers)]
        self.norm = Norm(config)


class Llama(nn.Module):
    """A decoder-only transformer; `hidden` for training, `logits` for a whole sequence,
    `prefill` and `decode` for generation."""

    def __init__(self, config: ModelConfig) -> None:
        super().__init__()
        self.config = config
        self.model = Decoder(config)
        if not config.tied:
            self.lm_head = nn.Linear(config.dim, config.vocab_size, bias=False)

    @property
    def output_weight(self) -> mx.array:
        """The output projection (vocabulary, D): the embedding itself where they are tied."""
        weight: mx.array = (
            self.model.embed_tokens.weight if self.config.tied else self.lm_head.weight
        )
        return weight

    def hidden(
        self,
        tokens: mx.array,
        dropout_key: mx.array | None = None,
        first: mx.array | None = None,
        stages: list[mx.array] | None = None,
    ) -> mx.array:
        """What the output projection sees: (B, T, D) for tokens (B, T).

        With a key and a dropout rate over 0, dropout falls on the embedding and both branches.
        With `first` (B, T), no position sees those before its `first`. The residual stream after
        each branch is added to `stages`.
        """
        stages = [] if stages is None else stages
        config, rate = self.config, self.config.dropout
        keys: Iterator[mx.array] | None = None
        if dropout_key is not None and rate:
            keys = (key for key in mx.random.split(dropout_key, 1 + 2 * config.n_layers))

        def drop(x: mx.array) -> mx.array:
            return x if keys is None else ops.dropout(x, rate, next(keys))

        length = tokens.shape[1]
        cos, sin = ops.rope_tables(length, config.head_dim, config.rope_theta)
        mask = ops.attention_mask(length, config.n_heads // config.n_kv_heads, first)
        x = drop(self.model.embed_tokens(tokens))
        for block in self.model.layers:
            x = x + drop(block.self_attn(block.input_layernorm(x), cos, sin, mask))
            stages.append(x)
            x = x + drop(block.mlp(block.post_attention_layernorm(x)))
            stages.append(x)
        return self.model.norm(x)

    def logits(self, tokens: mx.array) -> mx.array:
        """The logits (B, T, vocabulary) at every position of tokens (B, T)."""
        return self.hidden(tokens) @ self.output_weight.T

    def new_cache(self, batch: int, length: int) -> Cache:
        """An empty cache for `batch` rows of up to `length` positions."""
        shape = (batch, self.config.n_kv_heads, length, self.config.head_dim)
        layers = range(self.config.n_layers)
        return Cache([mx.zeros(shape) for _ in layers], [mx.zeros(shape) for _ in layers])

    def extend(
        self, tokens: mx.array, cache: Cache, slot: mx.array, padding: mx.array
    ) -> tuple[mx.array, Cache]:
        """Read T more tokens of each row; the logits (B, vocabulary) after the last, and the cache.

        Rows are aligned at their right: row b's first `padding[b]` slots (B,) are empty, `slot`
        (1,) is where the new tokens go, the same for all. So one shape serves stories of any
        length, and each row sees just what it would see alone.
        """
        length = tokens.shape[1]
        size = cache.keys[0].shape[2]
        slots = slot + mx.arange(length)
        positions = mx.maximum(slots[None] - padding[:, None], 0)
        cos, sin = ops.rope_tables(size, self.config.head_dim, self.config.rope_theta)
        cos, sin = cos[positions][:, None], sin[positions][:, None]
        mask = _visible(mx.arange(size)[None, None], slots[None, :, None], padding[:, None, None])
        x = self.model.embed_tokens(tokens)
        after = Cache([], [])
        for block, keys, values in zip(self.model.layers, *cache, strict=True):
            attention = block.self_attn
            q, k, v = attention.heads(block.input_layernorm(x), cos, sin)
            keys = mx.slice_update(keys, k, slot, axes=(2,))
            values = mx.slice_update(values, v, slot, axes=(2,))
            after.keys.append(keys)
            after.values.append(values)
            heads = mx.fast.scaled_dot_product_attention(
                q, keys, values, scale=attention.scale, mask=mask
            )
            x = x + attention.output(heads)
            x = x + block.mlp(block.post_attention_layernorm(x))
        return self.model.norm(x[:, -1]) @ self.output_weight.T, after


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
                f"{name} has shape {found.get(name)}, the options mean {expected.get(name)}; leave "
                "the model's shape as it is"
            )


def initialise(
    model: Llama, seed: int, deviation: float = 0.02, embedding_deviation: float = 0.02
) -> None:
    """Draw the weights as llama2.c does: normal, of this standard deviation; w3 and wo of each
    block by 1 / sqrt(2 n_layers) smaller; norms are ones. The embedding has a deviation of its
    own."""
    key = mx.random.key(seed)
    residual = deviation / math.sqrt(2 * model.config.n_layers)
    weights = []
    for name, weight in get_weights(model).items():
        if weight.ndim < 2:
            continue
        key, own = mx.random.split(key)
        if name.endswith("embed_tokens.weight"):
            scale = embedding_deviation
        else:
            scale = residual if name.endswith(("o_proj.weight", "up_proj.weight")) else deviation
        weights.append((name, mx.random.normal(weight.shape, scale=scale, key=own)))
    set_weights(model, get_weights(model) | dict(weights))


def _visible(keys: mx.array, queries: mx.array, padding: mx.array) -> mx.array:
    """Which key slots each query slot sees, (B, 1, T, size). A slot of padding sees itself, so
    that its softmax is a number."""
    return ((keys <= queries) & (keys >= padding) | (keys == queries))[:, None]


def _split(x: mx.array, heads: int) -> mx.array:
    batch, length, width = x.shape
    return x.reshape(batch, length, heads, width // heads).transpose(0, 2, 1, 3)
