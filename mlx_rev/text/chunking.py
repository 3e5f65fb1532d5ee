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
from dataclasses import dataclass
from functools import cache

from mlx_rev.text.words import WordPattern

_NOTHING = re.compile(r"(?!)")
_MARKS_IN_A_ROW = 3
"""Combining marks after which a joint is still seen; with more, two chunks stay one."""


@dataclass(frozen=True)
class Chunking:
    """How the texts of an order are cut for a tokenizer."""

    joint: re.Pattern[str]
    """A joint: a space, or nothing beside newlines."""
    ascii_joint: re.Pattern[str]
    """The same for texts in ASCII."""
    whole: re.Pattern[str]
    """A text that is one chunk wherever it stands between spaces or newlines."""
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

    def carefully(self, text: str) -> list[str]:
        """The chunks of a text."""
        if self.uncut.match(text):
            return [text]
        return (self.ascii_joint if text.isascii() else self.joint).split(text)

    def is_whole(self, chunk: str) -> bool:
        """Whether this is a chunk wherever it stands between spaces or newlines."""
        return self.whole.fullmatch(chunk) is not None


@cache
def as_written(cuts: str) -> Chunking:
    """For an order that leaves the text as it is; newlines go with the chunk after them. `cuts` is
    the tokenizer's."""
    joint, newlines = r" (?<=\S )(?=\S)", r""
    replacements: tuple[tuple[str, str], ...] = ()
    if "\n" in cuts:
        joint, newlines = joint + r"|(?<=\S)(?=\n\n?\S)", r"\n?\n?"
        # Where a space stands beside a newline, there are two then.
        replacements = (("\n", " \n"), (" \n \n", " \n\n"))
    compiled = re.compile(joint)
    whole = re.compile(rf"{newlines}\S(?:.*\S)?", re.DOTALL)
    return Chunking(compiled, compiled, whole, first=0, newlines=replacements)


@cache
def by_words(pattern: WordPattern, cuts: str) -> Chunking:
    """For an order that reverses the words of `pattern`: newlines go with the chunk before them,
    and come in front of it when it is reversed. `cuts` is the tokenizer's."""
    word, marks = r"""[\w'."?!,]""", f"[{pattern.marks}]" if pattern.marks else ""
    newlines = ("", "\n", "\n\n") if "\n" in cuts else ("",)
    whole = rf"{word}(?:.*{word})?{marks and marks + '*'}\n{{0,{len(newlines) - 1}}}"
    return Chunking(
        _joint(word, [marks * count for count in range(_MARKS_IN_A_ROW + 1)], newlines),
        _joint(word, [""], newlines),
        re.compile(whole, re.DOTALL),
        first=-1,
        newlines=(("\n", "\n "), ("\n \n ", "\n\n ")) if "\n" in cuts else (),
        uncut=pattern.attached,
    )


def _joint(word: str, marks: list[str], newlines: tuple[str, ...]) -> re.Pattern[str]:
    """A joint behind a word, its marks and newlines, and in front of a word."""
    ways = []
    for newline in newlines:
        # A space comes first, because the search for a plain character is fast.
        space, behind = ("", newline) if newline else (" ", " ")
        before = "|".join(f"(?<={word}{some}{behind})" for some in dict.fromkeys(marks))
        ways.append(f"{space}(?:{before})(?={word})")
    return re.compile("|".join(ways))
