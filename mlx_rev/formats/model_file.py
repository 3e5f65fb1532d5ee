"""A model on disk, read a tensor at a time, so that a conversion never holds all of it."""

import math
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from functools import cached_property

import numpy as np

from mlx_rev.config import ModelConfig
from mlx_rev.errors import FormatError
from mlx_rev.fields import Fields
from mlx_rev.formats import names
from mlx_rev.formats.settings import Settings
from mlx_rev.text.order import ORDER_NAMES, Order, order_named
from mlx_rev.text.tokenizer import BOUNDARY, Tokenizer

PROVENANCE = ("corpus_sha256", "kept_layers", "kept_pieces")
"""What a file may say about where its model came from and what was left out of it."""


@dataclass(frozen=True)
class ModelFile:
    """What every reader returns and every writer takes."""

    source: str
    """Where it came from, for messages."""
    config: ModelConfig
    read: Callable[[str], np.ndarray] = field(repr=False)
    """A weight by its mlx-lm name, half-split, as float32 of the shape that the config implies."""
    tokenizer: Tokenizer | None = None
    order: Order | None = None
    """None if the file does not say."""
    provenance: Mapping[str, str] = field(default_factory=dict)
    settings: Settings = field(default_factory=dict)
    """How stories are best told with it, as far as the file says."""
    stated_end: int | None = None
    """The id that closes a text, as far as the file says."""

    @cached_property
    def shapes(self) -> dict[str, names.Shape]:
        """Names and shapes of the weights, in the order of the forward pass."""
        return names.shapes(self.config)

    @property
    def boundary(self) -> int:
        """The id that stands in front of a text."""
        return BOUNDARY if self.tokenizer is None else self.tokenizer.boundary

    @property
    def end_of_text(self) -> int:
        """The id that closes one: the boundary again, but for a model by others that says more."""
        if self.order is not None:
            return self.boundary
        if self.stated_end is not None:
            return self.stated_end
        return self.boundary if self.tokenizer is None else self.tokenizer.end_of_text

    @property
    def parameters(self) -> int:
        """How many parameters the weights have."""
        return sum(int(np.prod(shape)) for shape in self.shapes.values())

    def weight(self, name: str) -> np.ndarray:
        """Read a weight. Raises FormatError for a wrong shape, NaN or infinity."""
        array = self.read(name)
        if array.shape != self.shapes[name]:
            raise FormatError(
                f"{self.source}: {name} has shape {array.shape}, expected {self.shapes[name]}"
            )
        if not np.isfinite(array).all():
            raise FormatError(f"{self.source}: {name} has NaN or infinite values; it is damaged")
        return array

    def weights(self) -> Iterator[tuple[str, np.ndarray]]:
        """All weights, one at a time."""
        return ((name, self.weight(name)) for name in self.shapes)


def from_arrays(
    source: str,
    config: ModelConfig,
    arrays: Mapping[str, np.ndarray],
    tokenizer: Tokenizer | None = None,
    order: Order | None = None,
) -> ModelFile:
    """A ModelFile of weights that are in memory already."""
    return ModelFile(source, config, lambda name: arrays[name], tokenizer, order)


def checked_config(source: str, config: ModelConfig) -> ModelConfig:
    """`config`, if such a model is possible. Raises FormatError."""
    problems = config.problems()
    for name in ("rope_theta", "norm_eps"):
        if not math.isfinite(getattr(config, name)):
            problems.append(f"{name} is {getattr(config, name)}, expected a finite number")
    if problems:
        raise FormatError(f"{source}: {'; '.join(problems)}")
    return config


def provenance_in(described: Fields, prefix: str = "") -> dict[str, str]:
    """The PROVENANCE that a file states."""
    stated = {name: described.text(prefix + name, "") for name in PROVENANCE}
    return {name: value for name, value in stated.items() if value}


def order_in(described: Fields, name: str) -> Order | None:
    """The order that a field names, None if it is missing. Raises FormatError."""
    if not described.has(name):
        return None
    if (value := described.text(name)) not in ORDER_NAMES:
        raise described.error(name, " or ".join(ORDER_NAMES))
    return order_named(value)
