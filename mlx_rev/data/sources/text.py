"""Stories in a text file, separated by marks, blank lines or ends of lines.

The file is cut up as bytes, a block at a time: that is several times as fast as line by line, and
says where in the file each story is.
"""

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Literal

from mlx_rev.data.sources.chunk import SEPARATOR, Chunk, State, encodable, stripped
from mlx_rev.data.sources.content import LARGEST_STORY, Content, line_of, size_of_next
from mlx_rev.data.sources.problems import SKIP_ADVICE, Problems
from mlx_rev.errors import DataError
from mlx_rev.text.words import BYTE_ORDER_MARK

Kind = Literal["marks", "blank lines", "lines", "whole"]
"""Marks or blank lines separate stories, each line is one, or the whole file is."""

_MARK = SEPARATOR.encode()
_SPACES = (
    rb"(?:[ \t\v\f\x1c-\x1f]|\xc2[\x85\xa0]|\xe1\x9a\x80|\xe2\x80[\x80-\x8a\xa8\xa9\xaf]"
    rb"|\xe2\x81\x9f|\xe3\x80\x80)*+"
)
"""What str.strip() removes, as UTF-8, but for ends of lines."""
_END = rb"(?>\r\n|\n|\r)"
_BLANK_LINE = re.compile(_END + _SPACES + _END)
_SEPARATORS = {
    "marks": re.compile(re.escape(_MARK)),
    "blank lines": _BLANK_LINE,
    "lines": re.compile(_END),
    "whole": re.compile(rb"(?!)"),
}
_BLANK_LINE_OF_UNIX = re.compile(rb"\n" + _SPACES + rb"\n")
_UNUSUAL = ((0x0D, b"\r"), (0xEF, BYTE_ORDER_MARK.encode()))
"""In a block without these and what the tokenizer refuses, stories only have to be decoded and
stripped. Before each, a byte of it that is rare and soon looked for."""
_LONGEST_SEPARATOR = 4096
"""Bytes of what is kept of a story that is too long, so that the end of it is found."""


def read_text(content: Content, kind: Kind, start: State, problems: Problems) -> Iterator[Chunk]:
    """The stories of a text file, from `start` on. A state is the offset in bytes of the next story
    and the number of stories before it. Raises DataError."""
    offset, number = start or (0, 0)
    content.seek(offset)
    reader = _Reader(content, kind, problems, offset, number)
    while (stories := reader.read_on()) is not None:
        yield Chunk(stories, (reader.offset, reader.number), content.consumed)


class _Reader:
    """Cuts a file up, a block at a time, and keeps what is not whole yet."""

    def __init__(
        self, content: Content, kind: Kind, problems: Problems, offset: int, number: int
    ) -> None:
        self._content = content
        self._kind = kind
        self._problems = problems
        self.offset = offset
        """Of what was not given yet, in bytes."""
        self.number = number
        """Stories up to there."""
        refused = problems.refused
        self._all_unusual = refused is None
        marks = [character.encode() for character in refused or ""]
        self._unusual = [*_UNUSUAL, *((mark[len(mark) // 2], mark) for mark in marks)]
        self._rest = b""
        self._dropping = False
        """Whether the rest is of a story that is left out."""
        self._ended = False

    def read_on(self) -> list[str] | None:
        """The stories that end in the next block; None after the last one. Raises DataError."""
        if self._ended:
            return None
        try:
            new = self._content.read(size_of_next(len(self._rest), LARGEST_STORY))
            self._ended = not new
        except DataError as error:
            damage = error  # An except clause's own name ends with it.
            self._problems.meet_end(self._content.path, self.number, lambda: damage)
            self._ended = True
            return []
        block = self._rest + new
        pieces = _split(block, self._kind)
        self._rest = b"" if self._ended else pieces.pop()
        whole = len(block) - len(self._rest)
        if self._dropping and pieces:
            self._dropping = False
            stories = self._one_by_one(block, whole, skipped=1)
        elif len(block) > LARGEST_STORY and any(len(piece) > LARGEST_STORY for piece in pieces):
            stories = self._one_by_one(block, whole)
        else:
            stories = self._all(block, pieces, whole)
        self.offset += whole
        if len(self._rest) > LARGEST_STORY or self._dropping:
            self._drop()
        return stories

    def _all(self, block: bytes, pieces: list[bytes], whole: int) -> list[str]:
        """The stories of `pieces`, which is what the first `whole` bytes of `block` hold."""
        try:
            if self._all_unusual or any(
                rare in block and mark in block for rare, mark in self._unusual
            ):
                return self._one_by_one(block, whole)
            stories = [story for piece in pieces if (story := piece.decode().strip())]
        except UnicodeDecodeError:
            return self._one_by_one(block, whole)
        self.number += len(stories)
        return stories

    def _one_by_one(self, block: bytes, whole: int, skipped: int = 0) -> list[str]:
        """The same with a look at each piece, after `skipped` ones."""
        stories: list[str] = []
        for each, (start, stop) in enumerate(_spans(block, whole, self._kind, self._ended)):
            if each < skipped:
                continue
            piece = block[start:stop]
            if len(piece) > LARGEST_STORY:
                self._too_long(self.offset + start)
                continue
            try:
                text = piece.decode()
            except UnicodeDecodeError as error:
                self.number += 1
                self._not_utf8(self.offset + start + error.start, piece[error.start])
                continue
            if start == self.offset == 0:
                text = text.removeprefix(BYTE_ORDER_MARK)
            if story := stripped(text.replace("\r\n", "\n").replace("\r", "\n")):
                self.number += 1
                path = self._content.path
                stories += encodable([story], path, self.number, self._problems)
        return stories

    def _drop(self) -> None:
        """Leave out the story that the rest begins, up to the separator that ends it."""
        if not self._dropping:
            self._too_long(self.offset)
            self._dropping = True
        kept = self._rest[-_LONGEST_SEPARATOR:]
        self.offset += len(self._rest) - len(kept)
        self._rest = kept

    def _too_long(self, offset: int) -> None:
        path = self._content.path
        self.number += 1
        self._problems.meet(
            path,
            self.number,
            lambda: DataError(
                f"{path}: line {line_of(path, offset):,}, byte {offset:,}: no story ends within "
                f"{LARGEST_STORY >> 20} MiB; put a blank line or a line {SEPARATOR} between "
                f"stories, {SKIP_ADVICE}"
            ),
        )

    def _not_utf8(self, offset: int, value: int) -> None:
        path = self._content.path
        self._problems.meet(path, self.number, lambda: not_utf8(path, offset, value))


def not_utf8(path: Path, offset: int, value: int) -> DataError:
    """What to say of a byte that is not UTF-8, at an offset of a file's content."""
    return DataError(
        f"{path}: line {line_of(path, offset):,}, byte {offset:,} is not UTF-8 (0x{value:02X}); "
        f"convert the file with iconv, or leave out the story with --on-error skip"
    )


def _split(block: bytes, kind: Kind) -> list[bytes]:
    """What is between the separators in a block."""
    if kind == "marks":
        return block.split(_MARK)
    if kind == "lines" and b"\r" not in block:
        return block.split(b"\n")
    if kind == "blank lines" and b"\r" not in block:
        return _BLANK_LINE_OF_UNIX.split(block)
    return _SEPARATORS[kind].split(block)


def _spans(block: bytes, whole: int, kind: Kind, ended: bool) -> Iterator[tuple[int, int]]:
    """Where the same pieces begin and end."""
    start = 0
    for found in _SEPARATORS[kind].finditer(block):
        if found.end() > whole:
            return
        yield start, found.start()
        start = found.end()
    if ended:
        yield start, whole
