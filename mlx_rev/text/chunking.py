"""Where a text may be cut so that its parts, reversed and encoded alone, give the ids of the whole.

A text comes apart into chunks at single spaces, and at one or two newlines. A newline goes with one
of its chunks; a space with neither: it stands in front of the later chunk in the text that the
tokenizer sees. Such a joint is good for two reasons:

- Reversing the text reverses the chunks and their order. In the article's order that is so where
  nothing but the joint lies between two words or punctuation marks. Other text there stays where it
  is: "a: b" becomes "b: a".
- The tokenizer never joins what lies on both sides of it (Tokenizer.cuts).

So a text is first cut at every space and newline. What is on both sides of a bad joint then belongs
together: see `Chunking.ends_of`.
"""

import re
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache, cached_property

from mlx_rev.text.words import WordPattern

_NOTHING = re.compile(r"(?!)")
JOINT, STORY_END = b"\xfe", b"\xff"
"""Bytes that are in no UTF-8: where a text is cut at a newline, and where it ends."""
BEGINS, ENDS, UNCUT = 1, 2, 4
"""Of a part between two cuts: whether the joint before it is good as far as it decides that, the
joint after it, and whether a text that begins with it has no joint."""
WHOLE = BEGINS | ENDS
"""Of a part that is a chunk."""


@dataclass(frozen=True)
class Chunking:
    """How the texts of an order are cut for a tokenizer."""

    begin: re.Pattern[str]
    """How what stands after a good joint begins."""
    end: re.Pattern[str]
    """How what stands before a good joint ends."""
    first: int
    """Which chunk the tokenizer sees first: 0 or -1."""
    newline: bytes = b"\n"
    """What a newline becomes, with a JOINT on the side where a text is cut."""
    uncut: re.Pattern[str] = _NOTHING
    """The beginning of a text that has no joint."""

    def marked(self, texts: Sequence[str]) -> bytes:
        """The texts one after another, each with STORY_END after it and a JOINT at newlines.

        Raises UnicodeEncodeError for a lone surrogate.
        """
        text = STORY_END.join([*(text.encode() for text in texts), b""])
        if self.newline == b"\n":
            return text
        return text.replace(b"\n", self.newline).replace(b"\n" + JOINT + b"\n", b"\n\n")

    def ends_of(self, part: str) -> int:
        """BEGINS, ENDS, both or neither for what is between two cuts, and perhaps UNCUT."""
        begin, end = self._sufficient
        found = ENDS if part[-1:] in end or self.end.search(part) else 0
        if part[:1] in begin or self.begin.match(part):
            return found | BEGINS
        return found | UNCUT if self.uncut.match(part) else found

    @cached_property
    def _sufficient(self) -> tuple[frozenset[str], frozenset[str]]:
        """The ASCII characters that are enough to begin and to end a part well: a look at one is
        faster than the pattern."""
        characters = list(map(chr, range(128)))
        return (
            frozenset(each for each in characters if self.begin.match(each)),
            frozenset(each for each in characters if self.end.search(each)),
        )

    def joined(self, chunks: Sequence[str]) -> str:
        """A text that the tokenizer sees as these chunks, in this order."""
        if self.first == 0:
            return " ".join(chunks).replace(" \n", "\n")
        return " ".join(chunks[::-1]).replace("\n ", "\n")


@cache
def as_written(cuts: str) -> Chunking:
    """For an order that leaves the text as it is; newlines go with the chunk after them. `cuts` is
    the tokenizer's."""
    end = re.compile(r"\S\Z")
    if "\n" not in cuts:
        return Chunking(re.compile(r"\S"), end, first=0)
    return Chunking(re.compile(r"\n?\n?\S"), end, first=0, newline=JOINT + b"\n")


@cache
def by_words(pattern: WordPattern, cuts: str) -> Chunking:
    """For an order that reverses the words of `pattern`: newlines go with the chunk before them,
    and come in front of it when it is reversed. `cuts` is the tokenizer's."""
    word, marks = r"""[\w'."?!,]""", f"[{pattern.marks}]*" if pattern.marks else ""
    newlines = r"\n?\n?" if "\n" in cuts else ""
    return Chunking(
        re.compile(word),
        re.compile(rf"{word}{marks}{newlines}\Z"),
        first=-1,
        newline=b"\n" + JOINT if newlines else b"\n",
        uncut=pattern.attached,
    )
