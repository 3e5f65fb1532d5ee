"""How surprised a model is by texts that are there already, all of their tokens at once."""

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, Protocol

import mlx.core as mx
import numpy as np

from mlx_rev.model.cache import chosen_rows, new_cache

if TYPE_CHECKING:
    from mlx_rev.model.llama import Llama


class Scorer(Protocol):
    """A model as those need it who say how likely a text is."""

    context: int
    """Most positions in a row."""

    def nats(self, inputs: mx.array, targets: mx.array, cache: Any = None) -> np.ndarray:
        """The surprise (B, T) of targets (B, T), each after inputs (B, T) up to its place and
        what the cache holds, in nats."""

    def read(self, ids: Sequence[int], room: int) -> Any:
        """A cache of one row that holds `ids`, with room for that many more."""

    def shared(self, cache: Any, rows: int) -> Any:
        """A new cache of so many rows, each of which holds what the row of `cache` does."""


class PlainScorer:
    """A `Scorer` in MLX."""

    def __init__(self, model: "Llama") -> None:
        self._model, self.context = model, model.config.context

    def nats(self, inputs: mx.array, targets: mx.array, cache: Any = None) -> np.ndarray:
        """See `Scorer`."""
        hidden = self._model.model(inputs, cache)
        flat = hidden.reshape(-1, hidden.shape[-1])
        weight = self._model.output_weight
        scored = self._model.ops.token_nats(flat, weight, targets.reshape(-1))
        return np.array(scored).reshape(targets.shape)

    def read(self, ids: Sequence[int], room: int) -> Any:
        """See `Scorer`."""
        cache = new_cache(self._model.config, 1, len(ids) + room)
        if ids:
            mx.eval(self._model.model(mx.array([ids]), cache))
        return cache

    def shared(self, cache: Any, rows: int) -> Any:
        """See `Scorer`."""
        return chosen_rows(cache, [0] * rows)
