"""Stories to ids in model order and back: an order and a tokenizer together."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cached_property

from mlx_rev.errors import DataError
from mlx_rev.text.order import FORWARD, Order
from mlx_rev.text.stream import BesideSpace, Growth
from mlx_rev.text.tokenizer import Tokenizer


@dataclass(frozen=True)
class Prompt:
    """What the model is given for an ending (or, for a forward model, an opening).

    `spellings` are the id sequences, boundary first, that spell the same text: the model chooses
    among them. `text` is what the person typed, white space included.
    """

    text: str
    spellings: tuple[tuple[int, ...], ...]


@dataclass(frozen=True)
class StoryCodec:
    """The one way from stories to ids in model order and back."""

    tokenizer: Tokenizer
    order: Order
    is_opposite: bool = False
    """Whether this is the forward half of a model that reads in both directions."""
    by_others: bool = False
    """Whether it belongs to a model that does not say its order, and so is not of this project."""

    @property
    def boundary(self) -> int:
        """The id before every story and, in a model of this project, after it."""
        known = self.tokenizer
        return known.forward_boundary if self.is_opposite else known.boundary

    @property
    def ends(self) -> frozenset[int]:
        """The ids with which a story may end."""
        if self.order.grows_leftwards or self.is_opposite:
            return frozenset({self.boundary})
        known = self.tokenizer
        eos = {known.forward_boundary} if self.by_others else set()
        return frozenset({self.boundary, known.end_of_text, *eos})

    @property
    def opposite(self) -> "StoryCodec | None":
        """How a model that also reads forwards does that; None for any other."""
        if not self.order.also_forward:
            return None
        return StoryCodec(self.tokenizer, FORWARD, is_opposite=True)

    @property
    def directions(self) -> "tuple[StoryCodec, ...]":
        """This and, for a model that also reads forwards, `opposite`."""
        return (self,) if self.opposite is None else (self, self.opposite)

    def encode(self, story: str) -> list[int]:
        """The ids of a whole story in model order, without boundaries."""
        return self.encode_batch([story])[0]

    def encode_batch(self, stories: Sequence[str]) -> list[list[int]]:
        """`encode` for many stories. Raises DataError for what cannot be encoded."""
        try:
            encoded = self.tokenizer.encode_batch([self.order.reverse(story) for story in stories])
        except DataError:
            # Name the place in the story, rather than in the text that the tokenizer sees.
            for story in stories:
                self.tokenizer.check(story)
            raise
        return [self.order.reverse_ids(ids) for ids in encoded]

    def enclosed(self, stories: Sequence[str]) -> list[list[int]]:
        """`encode_batch`, with the boundary in front of each story and after it the id that closes
        a text: what a model scores."""
        closing = self.tokenizer.end_of_text if self.by_others else self.boundary
        return [[self.boundary, *ids, closing] for ids in self.encode_batch(stories)]

    def decode(self, ids: Sequence[int]) -> str:
        """The story of ids in model order."""
        return self.order.restore(self.tokenizer.decode(self.order.restore_ids(ids)))

    def prompt(self, text: str) -> Prompt:
        """What to give the model for the ending `text`, without white space around it.

        Raises DataError for what cannot be encoded.
        """
        self.tokenizer.check(text)
        fed = text.strip()
        spellings = self.order.spellings(self.tokenizer, fed) if fed else [[]]
        return Prompt(text, tuple(dict.fromkeys((self.boundary, *ids) for ids in spellings)))

    def joins_prompt(self, prompt: str, spelling: Sequence[int]) -> list[bool]:
        """For each id, whether it would change the prompt's text if generated first: the first word
        of an ending, or white space that was typed next to what is generated."""
        ending, last_piece = prompt.strip(), self._last_piece(spelling)
        if not ending or last_piece is None:
            return [False] * self.tokenizer.vocab_size
        spaced = self._seam(prompt).isspace()
        order = self.order
        test = order.spaceless(last_piece) if spaced else order.joining(ending, last_piece)
        if test not in self._tested:
            self._tested[test] = [test(piece) for piece in self.tokenizer.piece_bytes]
        return self._tested[test]

    def growth(self, prompt: str, spelling: Sequence[int]) -> Growth:
        """The text that will grow from a prompt, given the spelling that was chosen."""
        growth = self.order.growth(self.tokenizer, self._last_piece(spelling))
        if not self._seam(prompt).isspace():
            return growth
        return BesideSpace(growth, leftwards=self.order.grows_leftwards)

    def _seam(self, prompt: str) -> str:
        """The character of a prompt that stands next to what is generated."""
        return prompt[:1] if self.order.grows_leftwards else prompt[-1:]

    def _last_piece(self, spelling: Sequence[int]) -> bytes | None:
        return self.tokenizer.piece_bytes[spelling[-1]] if len(spelling) > 1 else None

    @cached_property
    def _tested(self) -> dict[Callable[[bytes], bool], list[bool]]:
        """The results of each test of `joining`, for every piece."""
        return {}
