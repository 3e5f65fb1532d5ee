"""What a session answers with; how it looks is the view's business."""

from dataclasses import dataclass

from mlx_rev.formats.convert import Conversion
from mlx_rev.generate.story import Story


@dataclass(frozen=True)
class Says:
    """Plain words."""

    text: str


@dataclass(frozen=True)
class Grows:
    """Stories have grown. They are the same records each time, and go on growing with the next
    reply."""

    stories: tuple[Story, ...]


@dataclass(frozen=True)
class Tells:
    """A story is done, or was stopped."""

    story: Story


@dataclass(frozen=True)
class Offers:
    """Several stories are done."""

    stories: tuple[Story, ...]
    titles: tuple[str, ...]
    pick: bool = False
    """Whether the next line may choose one by its number."""


@dataclass(frozen=True)
class Shades:
    """Words with their surprise in bits, None for the prompt."""

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
    """The person is leaving."""


Reply = Says | Grows | Tells | Offers | Shades | Pieces | Converted | Leaves
