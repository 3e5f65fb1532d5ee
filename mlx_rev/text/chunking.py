"""Where a text may be cut so that its parts, reversed and encoded alone, give the ids of the whole.

A text comes apart into chunks at single spaces, and at one or two newlines. A newline goes with one
of its chunks; a space with neither: it stands in front of the later chunk in the text that the
tokenizer sees. Such a joint is good for two reasons:

- Reversing the text reverses the chunks and their order. In the article's order that is so where
  nothing but the joint lies between two words or punctuation marks. Other text there stays where it
  is: "a: b" becomes "b: a".
- The tokenizer never joins what lies on both sides of it (Tokenizer.cuts).
"""

import re
from collections.abc import Container
from dataclasses import dataclass
from functools import cache

from mlx_rev.text.words import WordPattern

_NOTHING = re.compile(r"(?!)")


@dataclass(frozen=True)
class Chunking:
    """How the texts of an order are cut for a tokenizer."""

    begin: re.Pattern[str]
    """How what stands after a joint begins."""
    end: re.Pattern[str]
    """How what stands before a joint ends."""
    first: int
    """Which chunk the tokenizer sees first: 0 or -1."""
    newlines: tuple[tuple[str, str], ...] = ()
    """Replacements that put a space into a joint at newlines."""
    uncut: re.Pattern[str] = _NOTHING
    """The beginning of a text that has no joint."""

    def quickly(self, text: str) -> list[str]:
        """The chunks of a text, if `is_whole` is true of all that this gives."""
        for newline, spaced in self.newlines:
            text = text.replace(newline, spaced)
        return text.split(" ")

    def carefully(self, text: str, whole: Container[str]) -> list[str]:
        """The chunks of a text. `whole` are some of which `is_whole` is known to be true."""
        if self.uncut.match(text):
            return [text]
        chunks: list[str] = []
        before, ends = "", False
        for part in self.quickly(text):
            known = part in whole
            if chunks and not (ends and (known or self.begin.match(part))):
                chunks[-1] += self._between(before, part) + part
            else:
                chunks.append(part)
            before, ends = part, known or self.end.search(part) is not None
        return chunks

    def is_whole(self, chunk: str) -> bool:
        """Whether this is a chunk wherever it stands between spaces or newlines."""
        return self.begin.match(chunk) is not None and self.end.search(chunk) is not None

    def _between(self, before: str, after: str) -> str:
        """What was between two parts that `quickly` gives."""
        inserted = self.newlines and (
            after.startswith("\n") if self.first == 0 else before.endswith("\n")
        )
        return "" if inserted else " "


@cache
def as_written(cuts: str) -> Chunking:
    """For an order that leaves the text as it is; newlines go with the chunk after them. `cuts` is
    the tokenizer's."""
    end = re.compile(r"\S\Z")
    if "\n" not in cuts:
        return Chunking(re.compile(r"\S"), end, first=0)
    # Where a space stands beside a newline, there are two then.
    replacements = (("\n", " \n"), (" \n \n", " \n\n"))
    return Chunking(re.compile(r"\n?\n?\S"), end, first=0, newlines=replacements)


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
        newlines=(("\n", "\n "), ("\n \n ", "\n\n ")) if newlines else (),
        uncut=pattern.attached,
    )
