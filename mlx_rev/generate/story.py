"""The record of a story, while it grows and when it is done."""

from dataclasses import dataclass, field
from typing import Literal

from mlx_rev.config import SampleConfig
from mlx_rev.text.stream import Growth

StopReason = Literal["boundary", "length", "stopped"]
"""boundary: the story is complete; length: there was no more room; stopped: by a person,
or because others were better."""


@dataclass(eq=False, kw_only=True)
class Story:
    """A story, which grows by a token at a time, each at the cost of that token only.

    It is the same record from the first token to the last, and goes on changing: read what you
    need when you need it, such as `text`, which is joined when it is asked for.
    """

    prompt: str
    """As typed: the ending or, for a forward model, the opening."""
    beginning: str = ""
    """What `generated` begins with that was given too, where the story is one between a beginning
    and an ending."""
    spelling: tuple[int, ...] = field(repr=False)
    """The ids of the prompt that the model reads, in model order, the boundary first."""
    left_out: int = 0
    """How many tokens of a long prompt the model does not get to see."""
    leftwards: bool
    """Whether the story grows in front of its prompt."""
    growth: Growth = field(repr=False)
    index: int = 0
    """Which of the stories that are written together."""
    seed: int = 0
    model: str = ""
    """Who writes it, as a person would name it."""
    reversal: str = ""
    """What was said of its reversal where that was loaded; nothing where its file says it."""
    tokenizer: str = ""
    """Where its tokenizer is, likewise."""
    settings: SampleConfig | None = None
    """How its tokens are chosen, with its own seed, where its teller says so."""
    seconds: float = 0.0
    """Of writing, since it began: not what passed at each token before the next was asked for."""
    finished: StopReason | None = None
    """Why it stopped; None while it grows."""
    _tokens: list[int] = field(default_factory=list, repr=False)
    _surprises: list[float] = field(default_factory=list, repr=False)

    def grow(self, token: int, piece: bytes, surprise: float) -> None:
        """Add a token, which spells `piece` and surprised the model by `surprise` bits."""
        self._tokens.append(token)
        self._surprises.append(surprise)
        self.growth.push(piece)

    def stop(self, reason: StopReason) -> None:
        """No more tokens will come."""
        self.finished = reason
        if reason == "boundary":
            self.growth.finish()

    @property
    def generated(self) -> str:
        """The text without the prompt."""
        return self.growth.text

    @property
    def text(self) -> str:
        """In reading order; the prompt is in it byte for byte as it was given."""
        return self.generated + self.prompt if self.leftwards else self.prompt + self.generated

    @property
    def parts(self) -> tuple[tuple[str, bool], ...]:
        """The text in reading order, and whether it was given."""
        written = (self.beginning, True), (self.generated.removeprefix(self.beginning), False)
        given = self.prompt, True
        return (*written, given) if self.leftwards else (given, *written)

    @property
    def tokens(self) -> tuple[int, ...]:
        """What was generated, in model order, the boundary included if it was reached."""
        return tuple(self._tokens)

    @property
    def length(self) -> int:
        """How many tokens were generated."""
        return len(self._tokens)

    @property
    def surprises(self) -> tuple[float, ...]:
        """Of each token under the model, before temperature and masks, in bits."""
        return tuple(self._surprises)

    @property
    def mean_surprise(self) -> float:
        """Bits per token."""
        return sum(self._surprises) / len(self._surprises) if self._surprises else 0.0

    @property
    def tokens_per_second(self) -> float:
        """While it was written."""
        return len(self._tokens) / self.seconds if self.seconds else 0.0

    def __str__(self) -> str:
        return self.text
