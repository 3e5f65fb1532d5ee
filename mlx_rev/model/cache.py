"""Keys and values of what a model has read, so that a new token costs only that token."""

import mlx.core as mx

from mlx_rev.config import ModelConfig


class LayerCache:
    """One layer's keys and values, in arrays of a fixed length: one shape serves every step."""

    def __init__(self, keys: mx.array, values: mx.array, offset: mx.array) -> None:
        self.keys, self.values = keys, values
        """Each (B, K, length, E)."""
        self.offset = offset
        """Positions read so far: a scalar int32 array, so that a new value retraces nothing."""

    def update(self, keys: mx.array, values: mx.array) -> tuple[mx.array, mx.array]:
        """Put those of T new positions (B, K, T, E) behind the others; all of them."""
        start = self.offset.reshape(1)
        self.keys = mx.slice_update(self.keys, keys, start, axes=(2,))
        self.values = mx.slice_update(self.values, values, start, axes=(2,))
        return self.keys, self.values


Cache = list[LayerCache]
"""One for each layer of the model."""


def new_cache(config: ModelConfig, batch: int, length: int) -> Cache:
    """An empty cache for `batch` rows of up to `length` positions."""
    shape = (batch, config.n_kv_heads, length, config.head_dim)
    offset = mx.array(0)
    return [LayerCache(mx.zeros(shape), mx.zeros(shape), offset) for _ in range(config.n_layers)]


def chosen_rows(cache: Cache, rows: list[int]) -> Cache:
    """A new cache of these rows of another; a row may be taken more than once."""
    places = mx.array(rows)
    return [LayerCache(layer.keys[places], layer.values[places], layer.offset) for layer in cache]


def advance(cache: Cache, length: int) -> None:
    """Count `length` more positions as read, in every layer."""
    offset = cache[0].offset + length
    for layer in cache:
        layer.offset = offset
