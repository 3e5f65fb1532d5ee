"""Stories from files: text with or without story marks, JSON, JSON lines, folders and globs."""

import glob
import io
import json
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from mmap import ACCESS_READ, mmap
from pathlib import Path
from typing import Any, Literal, TextIO

from mlx_rev import files
from mlx_rev.errors import DataError
from mlx_rev.text.sentencepiece import check_encodable
from mlx_rev.text.words import BYTE_ORDER_MARK

SEPARATOR = "<|endoftext|>"
"""Separates stories, on a line of its own or not."""
SUFFIXES = (".txt", ".json", ".jsonl")
TEXT_FIELDS = ("story", "text")
"""Keys of an object's text when no field is named; the first one present counts."""

_SENTENCE_ENDS = tuple(".!?…。！？।॥؟۔:;\"'”’»)")
_GLOB = frozenset("*?[")


@dataclass(frozen=True)
class Layout:
    """How the stories of a text file are separated."""

    kind: Literal["marks", "blank lines", "lines", "whole"]
    """Marks or blank lines separate stories, each line is one, or the whole file is."""
    marks_alone: bool
    """Whether every mark has a line to itself."""
    filled_lines: int
    """Lines that are not blank."""


def story_files(data: str) -> list[Path]:
    """The files that a path, a folder or a glob stands for, in order of their names.

    A folder stands for all .txt, .json and .jsonl files in it and in its subfolders, except hidden
    ones. Raises DataError if there is none, or for a path of an unknown kind.
    """
    path = Path(data)
    if path.is_dir():
        inside = (one for one in path.rglob("*") if _is_story_file(one.relative_to(path)))
        if files := sorted(one for one in inside if one.is_file()):
            return files
        raise DataError(f"{data}: no {', '.join(SUFFIXES)} file in this folder")
    if _GLOB & set(data) and not path.exists():
        matches = map(Path, glob.glob(data, recursive=True))  # noqa: PTH207, a path with a glob
        if files := sorted(one for one in matches if _is_story_file(one) and one.is_file()):
            return files
        raise DataError(f"{data}: no {', '.join(SUFFIXES)} file matches")
    return [checked(path)]


def checked(path: Path) -> Path:
    """`path`, if it is by its name a file of stories. Raises DataError."""
    if path.suffix.lower() not in SUFFIXES:
        raise DataError(
            f"{path}: unknown kind of corpus; expected bundled, tinystories, a folder, or a path "
            f"that ends in {', '.join(SUFFIXES)}"
        )
    if not path.exists():
        raise DataError(f"{path}: no such file; expected bundled, tinystories, a file or a folder")
    if not path.is_file():
        raise DataError(f"{path}: not a regular file; copy its content into one")
    return path


def read_stories(data: Path | str, field: str | None = None) -> Iterator[str]:
    """The stories of a file, a folder or a glob, stripped, the empty ones dropped.

    .txt: separated by `<|endoftext|>` or, if there is none, by blank lines; without either,
    see `layout`. .json and .jsonl: a list of entries, one entry a line, or a single entry; an
    entry is a text or an object with the text in `field`, by default "story" or "text". A
    byte-order mark is not text. Raises DataError, possibly halfway through, for anything else and
    if there is no story at all.
    """
    none = True
    for path in story_files(str(data)):
        for story in _stories_of(path, field):
            none = False
            yield story
    if none:
        raise DataError(f"{data}: there is no story in it; expected text")


def layout(path: Path) -> Layout:
    """How the stories of a text file are separated.

    If neither marks nor blank lines separate them, each line is a story if nearly all lines
    end as sentences do, and they are long or many; otherwise the file is one story. Raises
    DataError.
    """
    marks = misplaced = blank_inside = after_blank = False
    filled = ended = size = 0
    with _reading(path), _opened(path) as file:
        for line in file:
            text = line.strip()
            if SEPARATOR in line:
                marks, misplaced = True, misplaced or text != SEPARATOR
            if not text:
                after_blank = filled > 0
                continue
            blank_inside = blank_inside or after_blank
            filled, size = filled + 1, size + len(text)
            ended += text.endswith(_SENTENCE_ENDS)
    if marks or blank_inside:
        return Layout("marks" if marks else "blank lines", not misplaced, filled)
    story_a_line = filled > 1 and ended >= 0.9 * filled and (filled >= 100 or size >= 200 * filled)
    return Layout("lines" if story_a_line else "whole", True, filled)


def notices(data: str) -> list[str]:
    """What a person should know about how the stories of a file, folder or glob are separated."""
    said = []
    for path in story_files(data):
        found = layout(path) if path.suffix.lower() == ".txt" else None
        if found is None or found.filled_lines < 2 or found.kind not in ("lines", "whole"):
            continue
        taken = (
            f"each of its {found.filled_lines} lines is read as a story"
            if found.kind == "lines"
            else f"its {found.filled_lines} lines are read as one story"
        )
        said.append(f"{path}: neither {SEPARATOR} nor a blank line separates stories; {taken}")
    return said


def changed_reading(path: Path) -> list[str]:
    """In which ways a file is read differently from mlx-rev 0.1, whose token shards of it would not
    fit; empty for most files."""
    if path.stat().st_size == 0:
        return []
    with (
        _reading(path),
        files.open_regular(path) as file,
        mmap(file.fileno(), 0, access=ACCESS_READ) as content,
    ):
        marks = content.find(b"endoftext|") >= 0
        escaped = content.find(b"\\ufeff") >= 0
        byte_order_mark = content.find(BYTE_ORDER_MARK.encode()) >= 0
    if path.suffix.lower() != ".txt":
        json_ways = {"byte-order mark": byte_order_mark or escaped, "marks": marks}
        return [way for way, there in json_ways.items() if there]
    ways = ["byte-order mark"] if byte_order_mark else []
    found = layout(path)
    if found.kind == "lines" or (found.kind == "marks" and not found.marks_alone):
        ways.append(found.kind)
    return ways


def _is_story_file(path: Path) -> bool:
    hidden = any(part.startswith(".") and part not in (".", "..") for part in path.parts)
    return path.suffix.lower() in SUFFIXES and not hidden


@contextmanager
def _reading(path: Path) -> Iterator[None]:
    """Turns errors while `path` is read into a DataError."""
    try:
        yield
    except UnicodeDecodeError as error:
        raise DataError(
            f"{path}: not UTF-8 (byte {error.start} of a block); convert it with iconv"
        ) from error
    except OSError as error:
        raise DataError(f"{path}: cannot be read ({error.strerror})") from error


def _opened(path: Path) -> TextIO:
    return io.TextIOWrapper(files.open_regular(path), encoding="utf-8-sig")


def _stories_of(path: Path, field: str | None) -> Iterator[str]:
    with _reading(path):
        texts = _read_text(path) if path.suffix.lower() == ".txt" else _read_json(path, field)
        number = 0
        for text in texts:
            for part in text.split(SEPARATOR):
                if story := part.strip().strip(BYTE_ORDER_MARK).strip():
                    number += 1
                    _check_encodable(story, f"{path}: story {number}")
                    yield story


def _read_text(path: Path) -> Iterator[str]:
    kind = layout(path).kind
    lines: list[str] = []
    with _opened(path) as file:
        for line in file:
            if kind == "lines":
                yield line
            elif kind == "marks" and SEPARATOR in line:
                before, _, after = line.rpartition(SEPARATOR)
                yield "".join([*lines, before])
                lines = [after]
            elif kind == "blank lines" and not line.strip():
                yield "".join(lines)
                lines = []
            else:
                lines.append(line)
    yield "".join(lines)


def _read_json(path: Path, field: str | None) -> Iterator[str]:
    """One value per line, if the first line is JSON by itself; otherwise the file is one value."""
    with _opened(path) as file:
        first = True
        for number, line in enumerate(file, start=1):
            if not line.strip():
                continue
            place = f"{path}: line {number}"
            try:
                value = _parsed(line, place)
            except DataError:
                if not first:
                    raise
                break
            first = False
            yield from _texts(value, place, field)
        else:
            return
    with _opened(path) as file:
        whole = file.read()
    yield from _texts(_parsed(whole, str(path)), str(path), field)


def _parsed(text: str, place: str) -> Any:
    try:
        return json.loads(text.strip().strip(BYTE_ORDER_MARK))
    except json.JSONDecodeError as error:
        where = f"line {error.lineno}: {error.msg}"
        raise DataError(f"{place}: not JSON ({where})") from error
    except (ValueError, RecursionError) as error:
        raise DataError(f"{place}: JSON beyond what a story needs ({error})") from error


def _texts(value: Any, place: str, field: str | None) -> Iterator[str]:
    if isinstance(value, list):
        for number, entry in enumerate(value, start=1):
            yield _text(entry, f"{place}: entry {number}", field)
    else:
        yield _text(value, place, field)


def _text(entry: Any, place: str, field: str | None) -> str:
    if isinstance(entry, str):
        return entry
    names = TEXT_FIELDS if field is None else (field,)
    expected = " or ".join(f'"{name}"' for name in names)
    if not isinstance(entry, dict):
        raise DataError(f"{place} has no story; expected a string or an object with {expected}")
    for name in names:
        if name in entry:
            if isinstance(text := entry[name], str):
                return text
            raise DataError(f'{place} has no story; its "{name}" is not a string')
    others = ", ".join(repr(name)[:40] for name, text in entry.items() if isinstance(text, str))
    advice = f"; if it is in {others}, name that with --field" if others else ""
    raise DataError(f"{place} has no story; expected an object with {expected}{advice}")


def _check_encodable(story: str, place: str) -> None:
    try:
        check_encodable(story)
    except DataError as error:
        raise DataError(f"{place}: {error}") from error
