"""The order in which the model reads a story; the only place that knows one."""

import re
from collections.abc import Sequence
from enum import StrEnum

_PARTS = re.compile(r"""([\w\d']+|\.|"|\?|\!|,)""")


class Order(StrEnum):
    """How a story is turned round before training and back after generation.

    WORD is the article's: words and punctuation marks change order, letters do not.
    TOKEN leaves the text alone and reverses the token ids between the boundaries.
    NONE is an ordinary, forward model.
    """

    WORD = "word"
    TOKEN = "token"
    NONE = "none"

    @property
    def grows_leftwards(self) -> bool:
        """Whether generation adds text in front of what is there."""
        return self is not Order.NONE

    def reverse(self, text: str) -> str:
        """`text` in the order in which the tokenizer is to see it."""
        return reverse_words(text) if self is Order.WORD else text

    def restore(self, text: str) -> str:
        """The exact inverse of `reverse`, on every string."""
        return self.reverse(text)

    def reverse_ids(self, ids: Sequence[int]) -> list[int]:
        """Token ids of `reverse(text)` in the order in which the model is to see them."""
        return list(ids[::-1]) if self is Order.TOKEN else list(ids)

    def restore_ids(self, ids: Sequence[int]) -> list[int]:
        """The exact inverse of `reverse_ids`."""
        return self.reverse_ids(ids)


def reverse_words(text: str) -> str:
    """Reverse the words, punctuation marks and what stands between them; its own inverse.

    The split is the article's ("The story told backwards", 2023). Two words never touch in its
    output that did not touch before, so splitting the output gives the same parts again.

    >>> reverse_words("This is a test.")
    '.test a is This'
    """
    return "".join(reversed(parts(text)))


def parts(text: str) -> list[str]:
    """The words, the marks and, between any two of them, what separates them (often nothing)."""
    return _PARTS.split(text)


def is_word_character(character: str) -> bool:
    """Whether `character` would join a word that it is put next to."""
    return character == "'" or re.match(r"\w", character) is not None
