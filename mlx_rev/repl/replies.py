"""What a session answers with; how it looks is the view's business."""

from dataclasses import dataclass, field
from typing import Literal

from mlx_rev.formats.convert import Conversion


@dataclass(frozen=True)
class Told:
    """A story, whole or still growing."""

    ending: str
    """As typed; what a forward model is given is an opening."""
    text: str
    """In reading order, the ending byte for byte in its place."""
    generated: str
    """The text without the ending."""
    tokens: tuple[int, ...] = field(repr=False)
    surprises: tuple[float, ...] = field(repr=False)
    """Bits, one a token."""
    seconds: float
    seed: int
    model: str
    leftwards: bool
    finished: Literal["boundary", "length", "stopped"] | None = None
    """None while it grows."""

    @property
    def mean_surprise(self) -> float:
        """Bits a token."""
        return sum(self.surprises) / len(self.surprises) if self.surprises else 0.0

    @property
    def tokens_per_second(self) -> float:
        """Since the ending was given."""
        return len(self.tokens) / self.seconds if self.seconds else 0.0


@dataclass(frozen=True)
class Says:
    """Plain words."""

    text: str


@dataclass(frozen=True)
class Grows:
    """Stories have grown; there are as many as panels to show."""

    stories: tuple[Told, ...]


@dataclass(frozen=True)
class Tells:
    """A story is done, or was stopped."""

    story: Told


@dataclass(frozen=True)
class Offers:
    """Several stories are done."""

    stories: tuple[Told, ...]
    titles: tuple[str, ...]
    pick: bool = False
    """Whether the next line may choose one by its number."""


@dataclass(frozen=True)
class Shades:
    """Words with their surprise in bits, None for what was given."""

    words: tuple[tuple[str, float | None], ...]


@dataclass(frozen=True)
class Pieces:
    """Tokens in model order, as (text, id)."""

    tokens: tuple[tuple[str, int], ...]


@dataclass(frozen=True)
class Converted:
    """A conversion is done."""

    conversion: Conversion


@dataclass(frozen=True)
class Leaves:
    """The person is going."""


Reply = Says | Grows | Tells | Offers | Shades | Pieces | Converted | Leaves
