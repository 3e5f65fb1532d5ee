"""What has to be known of a file before it is read: its sha256, and what separates stories."""

import codecs
import hashlib
import json
import re
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from pathlib import Path

from mlx_rev import files
from mlx_rev.data.progress import TellShare
from mlx_rev.data.sources.chunk import SEPARATOR
from mlx_rev.data.sources.content import (
    COMPRESSED,
    LARGEST_STORY,
    Content,
    opened,
    reading,
    size_of_next,
)
from mlx_rev.data.sources.problems import Problems
from mlx_rev.data.sources.text import Kind, not_utf8
from mlx_rev.errors import DataError
from mlx_rev.text.words import BYTE_ORDER_MARK

REMEMBERED = 64 << 20
"""Bytes from which on the facts of a file are kept. A smaller one is soon read again; it may also
change twice within a tick of the file system's clock."""

_LOOKED = 0.8
"""The share of the time that it takes to look at a file; hashing it takes the rest."""
_SENTENCE_ENDS = tuple(".!?…。！？।॥؟۔:;\"'”’»)")
_MARK = SEPARATOR.encode()
_BYTE_ORDER_MARK = BYTE_ORDER_MARK.encode()
_MARK_ALONE = b"\n" + _MARK + b"\n"


@dataclass(frozen=True, kw_only=True)
class Facts:
    """What a file of stories holds."""

    sha256: str
    """Of the bytes on disk."""
    kind: Kind | None
    """How the stories of a text file are separated; None for other files."""
    filled_lines: int
    """Lines that are not blank, where neither marks nor blank lines separate stories."""
    changed: tuple[str, ...]
    """In which ways it is read differently from mlx-rev 0.1, whose token shards of it would not
    fit; empty for most files."""


def facts_of(
    path: Path,
    problems: Problems | None = None,
    cache: Path | None = None,
    tell: TellShare = lambda share: None,
) -> Facts:
    """The facts of a file, from `cache` if it is large and has not changed since they were put
    there. `tell` is told how much of one was read that is large. Raises DataError for what is
    damaged, unless `problems` skips."""
    with reading(path):
        about = path.stat()
        place = None
        if cache is not None and about.st_size >= REMEMBERED:
            parts = (path.resolve(), about.st_size, about.st_mtime_ns, about.st_ctime_ns)
            name = hashlib.sha256(repr((*parts, about.st_ino)).encode()).hexdigest()[:32]
            place = cache / "facts" / f"{name}.json"
            if found := _remembered(place):
                return found
        told = tell if about.st_size >= REMEMBERED else lambda share: None
        found = _examined(path, problems or Problems(), told)
        if place is not None:
            files.write_text(place, json.dumps(asdict(found)))
        return found


def _remembered(path: Path) -> Facts | None:
    try:
        content = json.loads(files.read_bytes(path))
        return Facts(**{**content, "changed": tuple(content["changed"])})
    except (OSError, ValueError, TypeError, KeyError):
        return None


def _examined(path: Path, problems: Problems, tell: TellShare) -> Facts:
    compressed = path.suffix.lower() in COMPRESSED
    is_text = (path.with_suffix("") if compressed else path).suffix.lower() == ".txt"
    tell(0.0)
    layout = _layout(path, problems, tell) if is_text else _Layout()
    changed: tuple[str, ...] = ()
    if is_text and not compressed:
        changed = layout.changed
    elif path.suffix.lower() in (".json", ".jsonl"):
        changed = _changed_json(path, tell)
    return Facts(
        sha256=files.sha256_file(path),
        kind=layout.kind if is_text else None,
        filled_lines=layout.filled,
        changed=changed,
    )


class _Layout:
    """How stories are separated, as far as a file was read.

    If neither marks nor blank lines separate them, each line is a story if nearly all lines end as
    sentences do, and they are long or many; otherwise the file is one story.
    """

    def __init__(self) -> None:
        self._marks = self._blank_inside = self._after_blank = self._byte_order_mark = False
        self._marks_alone = True
        self.filled = 0
        self._ended = self._size = 0

    @property
    def kind(self) -> Kind:
        if self._marks or self._blank_inside:
            return "marks" if self._marks else "blank lines"
        long_or_many = self.filled >= 100 or self._size >= 200 * self.filled
        story_a_line = self.filled > 1 and self._ended >= 0.9 * self.filled and long_or_many
        return "lines" if story_a_line else "whole"

    @property
    def changed(self) -> tuple[str, ...]:
        """As in Facts."""
        ways = ("byte-order mark",) if self._byte_order_mark else ()
        if self.kind == "lines" or (self.kind == "marks" and not self._marks_alone):
            return (*ways, self.kind)
        return ways

    def add(self, block: bytes, *, at_start: bool) -> None:
        """Read on; a block ends with a line."""
        if 0xEF in block and _BYTE_ORDER_MARK in block:
            self._byte_order_mark = True
            if at_start:
                block = block.removeprefix(_BYTE_ORDER_MARK)
        if count := block.count(_MARK):
            self._marks = True
            self._marks_alone = self._marks_alone and _are_alone(block, count)
        if not self._marks and not self._blank_inside:
            self._look_at_lines(block.decode(errors="replace"))

    def _look_at_lines(self, text: str) -> None:
        if "\r" in text:
            text = text.replace("\r\n", "\n").replace("\r", "\n")
        for line in text.removesuffix("\n").split("\n") if text else ():
            if not (line := line.strip()):
                self._after_blank = self.filled > 0
                continue
            if self._after_blank:
                self._blank_inside = True
                return
            self.filled, self._size = self.filled + 1, self._size + len(line)
            self._ended += line.endswith(_SENTENCE_ENDS)


def _layout(path: Path, problems: Problems, tell: TellShare) -> _Layout:
    """Raises DataError for damage and what is not UTF-8, unless `problems` skips."""
    layout = _Layout()
    decoder = None if problems.skip else codecs.getincrementaldecoder("utf-8")()
    offset = 0
    with opened(path) as content:
        for block in _lines(content, problems):
            if decoder is not None:
                waiting = len(decoder.getstate()[0])
                try:
                    decoder.decode(block)
                except UnicodeDecodeError as error:
                    value = error.object[error.start]
                    raise not_utf8(path, offset - waiting + error.start, value) from error
            layout.add(block, at_start=offset == 0)
            tell(_LOOKED * content.consumed / content.size)
            offset += len(block)
    if decoder is not None and (cut := decoder.getstate()[0]):
        raise not_utf8(path, offset - len(cut), cut[0])
    return layout


def _lines(content: Content, problems: Problems) -> Iterator[bytes]:
    """A file in blocks that end with a line, but for one that is too long for a story."""
    rest = b""
    try:
        while new := content.read(size_of_next(len(rest), LARGEST_STORY)):
            block = rest + new
            cut = block.rfind(b"\n") + 1
            if not cut and len(block) > LARGEST_STORY:
                cut = len(block)
            rest = block[cut:]
            yield block[:cut]
    except DataError:
        if not problems.skip:
            raise
    yield rest


def _are_alone(block: bytes, count: int) -> bool:
    """Whether each of a block's `count` marks has a line to itself."""
    if (b"\n" + block).count(_MARK_ALONE) == count:
        return True
    text = (b"\n" + block + b"\n").replace(b"\r", b"\n")
    return all(
        text[text.rfind(b"\n", 0, at) : text.find(b"\n", at)].decode(errors="replace").strip()
        == SEPARATOR
        for at in (found.start() for found in re.finditer(re.escape(_MARK), text))
    )


def _changed_json(path: Path, tell: TellShare) -> tuple[str, ...]:
    looked_for = {
        _BYTE_ORDER_MARK: "byte-order mark",
        b"\\ufeff": "byte-order mark",
        b"endoftext|": "marks",
    }
    found: dict[str, None] = {}
    tail = b""
    with opened(path) as content:
        while block := content.read():
            block = tail + block
            for mark, way in looked_for.items():
                if way not in found and mark in block:
                    found[way] = None
            tell(_LOOKED * content.consumed / content.size)
            tail = block[-max(map(len, looked_for)) :]
    return tuple(way for way in ("byte-order mark", "marks") if way in found)
