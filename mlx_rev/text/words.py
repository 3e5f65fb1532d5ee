"""How a text is split into words, punctuation marks and what is between them.

The split is that of Don Mahurin's article (openright.org/reversed-llm-training, 2023). A pattern
that knows combining marks (Unicode's category M) keeps each with the character that it follows, be
that of a word, punctuation or a space; on text without marks it splits as the article does. Neither
knows the joiners of Persian and Hindi (U+200C, U+200D): a word with one in it has two parts. The
patterns stay as they are, since shards and models are made with them.
"""

import re
import unicodedata
from dataclasses import dataclass
from functools import cache
from itertools import chain

BYTE_ORDER_MARK = "\ufeff"
"""Some programs put it in front of a text; it is no part of it."""
_ARTICLE = re.compile(r"""([\w\d']+|\.|"|\?|\!|,)""")


@dataclass(frozen=True)
class WordPattern:
    """A way to split a text into parts: a gap, a word or punctuation mark, a gap, ..., a gap. Gaps
    are often empty."""

    split: re.Pattern[str]
    """One word or punctuation mark, in a group."""
    attached: re.Pattern[str]
    """What, at the start of a text, belongs to what came before it."""
    marks: str = ""
    """For a character class: what belongs to any word or punctuation mark that it follows."""

    def parts(self, text: str) -> list[str]:
        """The parts of a text, which join to it; those at odd indices are words and marks."""
        # On ASCII all patterns agree, and the article's is twice as fast.
        return (_ARTICLE if text.isascii() else self.split).split(text)

    def reverse(self, text: str) -> str:
        """Reverse the order of the parts; its own inverse.

        Two words never touch in its output that did not touch before, and what is attached to a
        part stays with it, so splitting the output gives the same parts again. Only a text that
        begins with a combining mark, which would attach to something else, is left as it is.

        >>> article().reverse("This is a test.")
        '.test a is This'
        """
        return text if self.attached.match(text) else "".join(self.parts(text)[::-1])


@cache
def article() -> WordPattern:
    """The article's own pattern, which treats a combining mark like a space."""
    return WordPattern(_ARTICLE, re.compile(r"(?!)"))


@cache
def with_marks() -> WordPattern:
    """The pattern that keeps combining marks with what they follow."""
    marks = _combining_marks()
    split = re.compile(rf"""([\w'][\w'{marks}]*|[."?!,][{marks}]*)""")
    return WordPattern(split, re.compile(f"[{marks}]+"), marks)


def is_word_character(character: str) -> bool:
    """Whether `character` would join a word that it is placed next to."""
    return character == "'" or re.match(r"\w", character) is not None


def _combining_marks() -> str:
    """The characters of category M as ranges for a character class.

    They are in the first two planes and among the variation selectors; looking through all of
    Unicode would take a third of a second.
    """
    ranges: list[list[int]] = []
    for code in chain(range(0x300, 0x20000), range(0xE0000, 0xE0200)):
        if unicodedata.category(chr(code))[0] != "M":
            continue
        if ranges and ranges[-1][1] == code - 1:
            ranges[-1][1] = code
        else:
            ranges.append([code, code])
    return "".join(f"{chr(first)}-{chr(last)}" for first, last in ranges)
