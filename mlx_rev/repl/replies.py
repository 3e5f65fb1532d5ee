"""What a session answers with; how it looks is the view's business."""

from dataclasses import dataclass

from mlx_rev.formats.convert import Conversion
from mlx_rev.generate.story import Story


@dataclass(frozen=True)
class Says:
    """Plain words."""

    text: str


@dataclass(frozen=True)
class Lists:
    """Rows of two columns, such as commands and what they do."""

    rows: tuple[tuple[str, str], ...]
    after: str = ""
    """What is said below them."""


@dataclass(frozen=True)
class Grows:
    """Stories have grown. They are the same records each time, and go on growing with the next
    reply."""

    stories: tuple[Story, ...]


@dataclass(frozen=True)
class Meets(Grows):
    """Two stories grow towards each other, one from a beginning, the other from an ending."""

    seam: str
    """What is said between them."""
    chosen: bool
    """Whether they are what was chosen, known already and shown as if it grew."""


@dataclass(frozen=True)
class Met:
    """A story between a beginning and an ending is chosen."""

    story: Story
    described: str
    good: bool


@dataclass(frozen=True)
class Tells:
    """A story is done, or was stopped."""

    story: Story


@dataclass(frozen=True)
class Edits:
    """The next line is to be this text, changed by hand."""

    text: str
    in_editor: bool = False
    """Whether in the person's own editor, rather than in the input line."""


@dataclass(frozen=True)
class Offers:
    """Several stories are done."""

    stories: tuple[Story, ...]
    titles: tuple[str, ...]
    pick: bool = False
    """Whether a line may choose one by its number."""
    best: int | None = None
    """The index of the one that was judged best, if they were judged."""


@dataclass(frozen=True)
class Alternatives:
    """What could stand in place of a word; a line may choose one by its number."""

    chosen: str
    """What stands there now."""
    words: tuple[tuple[str, float], ...]
    """Each with the probability of its first token; no text at all stands for the story's other
    end."""
    beside: str
    """The text that stays."""
    leftwards: bool


@dataclass(frozen=True)
class Shades:
    """Words with their surprise in bits, None for the prompt."""

    words: tuple[tuple[str, float | None], ...]


@dataclass(frozen=True)
class Pieces:
    """Tokens in model order, as (text, id); bytes that are no whole character as <0xE4>."""

    tokens: tuple[tuple[str, int], ...]


@dataclass(frozen=True)
class Converted:
    """A conversion is done."""

    conversion: Conversion


@dataclass(frozen=True)
class Leaves:
    """The person is leaving."""


Reply = (
    Says
    | Lists
    | Grows
    | Met
    | Tells
    | Edits
    | Offers
    | Alternatives
    | Shades
    | Pieces
    | Converted
    | Leaves
)
