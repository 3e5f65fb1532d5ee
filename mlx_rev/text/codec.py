"""Stories to ids in model order and back: a reversal and a tokenizer together."""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property

from mlx_rev.text.order import Order, is_word_character
from mlx_rev.text.tokenizer import BOUNDARY, Tokenizer


@dataclass(frozen=True)
class Prompt:
    """What the model is given for an ending (or, for a forward model, an opening).

    `spellings` are the id sequences, boundary first, that spell the same text: the model chooses
    among them. Only a token-reversed model has two: its ending may have stood after a space or
    after a newline. `text` is what the person typed, white space included.
    """

    text: str
    spellings: tuple[tuple[int, ...], ...]


@dataclass(frozen=True)
class StoryCodec:
    """The one way from stories to ids in model order and back."""

    tokenizer: Tokenizer
    reversal: Order

    def encode(self, story: str) -> list[int]:
        """The ids of a whole story in model order, without boundaries."""
        return self.encode_batch([story])[0]

    def encode_batch(self, stories: Sequence[str]) -> list[list[int]]:
        """`encode` for many stories."""
        texts = [self.reversal.reverse(story) for story in stories]
        return [self.reversal.reverse_ids(ids) for ids in self.tokenizer.encode_batch(texts)]

    def decode(self, ids: Sequence[int]) -> str:
        """The story of ids in model order."""
        return self.reversal.restore(self.tokenizer.decode(self.reversal.restore_ids(ids)))

    def prompt(self, text: str) -> Prompt:
        """What to give the model for the ending `text`; outer white space is not fed to it."""
        fed = text.strip()
        if not fed:
            return Prompt(text, ((BOUNDARY,),))
        spellings = [self.encode(fed)]
        if self.reversal is Order.TOKEN and self.tokenizer.adds_space:
            spellings.append(self.reversal.reverse_ids(self.tokenizer.encode_inside(fed)))
        unique = dict.fromkeys((BOUNDARY, *ids) for ids in spellings)
        return Prompt(text, tuple(unique))

    def joins_prompt(self, prompt: Prompt, spelling: Sequence[int]) -> list[bool]:
        """For each id, whether as first generated it would change the ending's first word."""
        fed = prompt.text.strip()
        if not fed or not self.reversal.grows_leftwards or not is_word_character(fed[0]):
            return [False] * self.tokenizer.vocab_size
        if self.reversal is Order.WORD:
            return self._may_start_words
        if self.tokenizer.piece_bytes[spelling[-1]].startswith(b" "):
            return [False] * self.tokenizer.vocab_size
        return self._may_end_words

    @cached_property
    def _may_start_words(self) -> list[bool]:
        return [_may_start_word(piece) for piece in self.tokenizer.piece_bytes]

    @cached_property
    def _may_end_words(self) -> list[bool]:
        return [_may_end_word(piece) for piece in self.tokenizer.piece_bytes]


def _may_start_word(piece: bytes) -> bool:
    text = piece.decode(errors="ignore")
    return is_word_character(text[0]) if text else bool(piece)


def _may_end_word(piece: bytes) -> bool:
    text = piece.decode(errors="ignore")
    return is_word_character(text[-1]) if text else bool(piece)
