"""A story's text while its tokens arrive: each costs only what it adds, not the whole story.

Safe in the middle of a UTF-8 character: one whose bytes have not all arrived is held back.
"""

import codecs
from abc import ABC, abstractmethod

from mlx_rev.text.words import WordPattern, is_word_character


class Growth(ABC):
    """The text generated so far, in reading order, without the prompt's."""

    @abstractmethod
    def push(self, piece: bytes) -> None:
        """Add what one generated token spells, in UTF-8."""

    @abstractmethod
    def finish(self) -> None:
        """The story's other end was reached: nothing more will come."""

    @property
    @abstractmethod
    def text(self) -> str:
        """The text so far, joined when it is asked for."""


class Rightwards(Growth):
    """Text that tokens extend at its end. `drops_space`: whether the tokenizer put a space in front
    of the first piece."""

    def __init__(self, *, drops_space: bool) -> None:
        self._drops_space = drops_space
        self._decoder = codecs.getincrementaldecoder("utf-8")(errors="replace")
        self._text = _Parts(leftwards=False)

    def push(self, piece: bytes) -> None:
        """Add at the end."""
        if self._drops_space and piece:
            piece = piece.removeprefix(b" ")
            self._drops_space = False
        self._add(self._decoder.decode(piece))

    def finish(self) -> None:
        """Show what is left of an incomplete character as U+FFFD."""
        self._add(self._decoder.decode(b"", final=True))

    @property
    def text(self) -> str:
        """The text so far."""
        return self._text.joined()

    def _add(self, text: str) -> None:
        self._text.add(text)


class WordByWord(Rightwards):
    """Text in which each new word or mark goes in front of the one before.

    Only the newest part, which the next token may continue, is open; the others are settled.
    `begins_text`: whether no prompt came before.
    """

    def __init__(self, pattern: WordPattern, *, drops_space: bool, begins_text: bool) -> None:
        super().__init__(drops_space=drops_space)
        self._pattern = pattern
        self._settled = _Parts(leftwards=True)
        self._open: list[str] = []
        self._open_kind = ""
        self._may_stay = begins_text

    @property
    def text(self) -> str:
        """The text so far."""
        self._open = ["".join(self._open)]
        if self._settled.leftwards:
            return self._open[0] + self._settled.joined()
        return self._settled.joined() + self._open[0]

    def _add(self, text: str) -> None:
        if not text:
            return
        if found := self._pattern.attached.match(text):
            if self._may_stay:
                # A text that begins with a mark is not reversed.
                self._settled = _Parts(leftwards=False)
            self._open_kind = self._open_kind or "between"
            self._open.append(found[0])
            text = text[found.end() :]
        self._may_stay = False
        for place, part in enumerate(self._pattern.parts(text)):
            if part:
                self._add_part(part, _kind(part) if place % 2 else "between")

    def _add_part(self, part: str, kind: str) -> None:
        if kind != self._open_kind or kind == "punctuation":
            self._settled.add("".join(self._open))
            self._open = []
        self._open.append(part)
        self._open_kind = kind


class Leftwards(Growth):
    """Text that tokens extend in front. `first` is what stands directly before the ending;
    `drops_space`: whether the tokenizer put a space in front of the whole story."""

    def __init__(self, first: bytes, *, drops_space: bool) -> None:
        self._drops_space = drops_space
        self._text = _Parts(leftwards=True)
        self._text.add(first.decode())
        self._half: list[bytes] = []
        """The later bytes of a character whose first byte has not arrived, the newest last."""

    def push(self, piece: bytes) -> None:
        """Add in front."""
        whole = piece.lstrip(_CONTINUATION_BYTES)
        if whole:
            self._text.add((whole + self._half_character()).decode(errors="replace"))
        if len(whole) < len(piece):
            self._half.append(piece[: len(piece) - len(whole)])

    def finish(self) -> None:
        """Show what is left of an incomplete character as U+FFFD."""
        self._text.add(self._half_character().decode(errors="replace"))
        if self._drops_space:
            self._text.drop_first_space()

    @property
    def text(self) -> str:
        """The text so far."""
        return self._text.joined()

    def _half_character(self) -> bytes:
        half = b"".join(self._half[::-1])
        self._half = []
        return half


class BesideSpace(Growth):
    """Text next to white space that was typed: its own there is left out."""

    def __init__(self, whole: Growth, *, leftwards: bool) -> None:
        self._whole, self._leftwards = whole, leftwards

    def push(self, piece: bytes) -> None:
        """Add to the whole."""
        self._whole.push(piece)

    def finish(self) -> None:
        """End the whole."""
        self._whole.finish()

    @property
    def text(self) -> str:
        """The text so far."""
        text = self._whole.text
        return text.rstrip() if self._leftwards else text.lstrip()


class _Parts:
    """Text to which parts are added on one side, joined when it is asked for."""

    def __init__(self, *, leftwards: bool) -> None:
        self.leftwards = leftwards
        self._parts: list[str] = []

    def add(self, part: str) -> None:
        if part:
            self._parts.append(part)

    def joined(self) -> str:
        if len(self._parts) > 1:
            self._parts = ["".join(self._parts[::-1] if self.leftwards else self._parts)]
        return self._parts[0] if self._parts else ""

    def drop_first_space(self) -> None:
        self._parts = [self.joined().removeprefix(" ")]


def _kind(part: str) -> str:
    return "word" if is_word_character(part[0]) else "punctuation"


_CONTINUATION_BYTES = bytes(range(0x80, 0xC0))
