"""Where stories come from: the bundled generator, TinyStories, or a file."""

import hashlib
import json
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from mlx_rev import files
from mlx_rev.data import bundled, tinystories
from mlx_rev.errors import DataError
from mlx_rev.text.tokenizer import check_encodable

SEPARATOR = "<|endoftext|>"
_SUFFIXES = (".txt", ".json", ".jsonl")

Stories = Callable[[], Iterator[str]]
"""Iterates the stories from the start, each time it is called."""


@dataclass(frozen=True)
class Corpus:
    """Stories to train on and stories held out."""

    name: str
    fingerprint: str
    """sha256 of what decides the stories and which of them are held out."""
    train: Stories
    valid: Stories


def open_corpus(
    data: str,
    *,
    valid: str | None,
    valid_share: float,
    cache: Path,
    progress: tinystories.Progress | None = None,
) -> Corpus:
    """The corpus called `data`: bundled, tinystories, or the path of a file of stories.

    Without `valid`, the path of held-out stories, a file's stories are held out by a hash of
    their text: a share of `valid_share`, the same whatever their order. Raises DataError.
    """
    if data == "bundled":
        corpus = Corpus("bundled", bundled.fingerprint(), _bundled("train"), _bundled("valid"))
    elif data == "tinystories":
        folder = tinystories.fetch(cache, progress)
        shards = tinystories.shards(folder)
        corpus = Corpus(
            "tinystories",
            _sha256("tinystories", *(f"{path.name} {path.stat().st_size}" for path in shards)),
            lambda: _chained(shards[1:]),
            lambda: _chained(shards[:1]),
        )
    else:
        corpus = _from_file(Path(data), valid_share)
    if valid is None:
        return corpus
    path = _checked(Path(valid))
    every = corpus.train if data in ("bundled", "tinystories") else lambda: read_stories(Path(data))
    return Corpus(
        corpus.name,
        _sha256(corpus.fingerprint, files.sha256_file(path)),
        every,
        lambda: read_stories(path),
    )


def read_stories(path: Path) -> Iterator[str]:
    """The stories of a .txt, .json or .jsonl file, stripped, the empty ones dropped.

    .txt: separated by lines `<|endoftext|>`, or, where there is none, by blank lines. .json: a
    list of texts or of objects with a "story" or "text"; .jsonl: one of these a line. Raises
    DataError, also halfway through, for what is none of these.
    """
    _checked(path)
    readers = {".txt": _read_text, ".json": _read_json, ".jsonl": _read_json_lines}
    try:
        for number, story in enumerate(readers[path.suffix.lower()](path), start=1):
            if stripped := story.strip():
                _check_encodable(stripped, f"{path}: story {number}")
                yield stripped
    except UnicodeDecodeError as error:
        raise DataError(
            f"{path}: not UTF-8 (byte {error.start} of a block); convert it with iconv"
        ) from error
    except OSError as error:
        raise DataError(f"{path}: cannot be read ({error.strerror})") from error


def _bundled(split: str) -> Stories:
    return lambda: (story.text for story in bundled.stories(split))


def _chained(paths: list[Path]) -> Iterator[str]:
    for path in paths:
        yield from read_stories(path)


def _from_file(path: Path, valid_share: float) -> Corpus:
    fingerprint = _sha256(files.sha256_file(_checked(path)), repr(valid_share))

    def held_out(story: str) -> bool:
        digest = hashlib.sha256(story.encode(errors="surrogatepass")).digest()
        return int.from_bytes(digest[:8]) < valid_share * 2**64

    return Corpus(
        path.name,
        fingerprint,
        lambda: (story for story in read_stories(path) if not held_out(story)),
        lambda: _not_empty(filter(held_out, read_stories(path)), path, valid_share),
    )


def _not_empty(stories: Iterator[str], path: Path, valid_share: float) -> Iterator[str]:
    none = True
    for story in stories:
        none = False
        yield story
    if none:
        raise DataError(
            f"{path}: no story of it falls into the held-out share of {valid_share}; give more "
            "text, a larger --valid-share, or --valid PATH"
        )


def _checked(path: Path) -> Path:
    if path.suffix.lower() not in _SUFFIXES:
        raise DataError(
            f"{path}: unknown kind of corpus; expected bundled, tinystories, or a path that ends "
            f"in {', '.join(_SUFFIXES)}"
        )
    if not path.is_file():
        raise DataError(f"{path}: no such file; expected bundled, tinystories, or a file")
    if path.stat().st_size == 0:
        raise DataError(f"{path}: the file is empty; expected stories")
    return path


def _read_text(path: Path) -> Iterator[str]:
    with open(path, encoding="utf-8") as file:
        marked = any(line.strip() == SEPARATOR for line in file)
    lines: list[str] = []
    with open(path, encoding="utf-8") as file:
        for line in file:
            if line.strip() == SEPARATOR if marked else not line.strip():
                yield "".join(lines)
                lines = []
            else:
                lines.append(line)
    yield "".join(lines)


def _read_json(path: Path) -> Iterator[str]:
    content = _parsed(path.read_text(encoding="utf-8"), str(path))
    if not isinstance(content, list):
        raise DataError(f"{path}: holds a {type(content).__name__}, expected a list of stories")
    for number, entry in enumerate(content, start=1):
        yield _story(entry, f"{path}: entry {number}")


def _read_json_lines(path: Path) -> Iterator[str]:
    with open(path, encoding="utf-8") as file:
        for number, line in enumerate(file, start=1):
            if line.strip():
                place = f"{path}: line {number}"
                yield _story(_parsed(line, place), place)


def _parsed(text: str, place: str) -> Any:
    try:
        return json.loads(text)
    except json.JSONDecodeError as error:
        where = f"line {error.lineno}: {error.msg}"
        raise DataError(f"{place}: not JSON ({where})") from error
    except (ValueError, RecursionError) as error:
        raise DataError(f"{place}: JSON that no story needs ({error})") from error


def _story(entry: Any, place: str) -> str:
    if isinstance(entry, dict):
        entry = entry.get("story", entry.get("text"))
    if not isinstance(entry, str):
        raise DataError(
            f'{place} has no story; expected a text or an object with "story" or "text"'
        )
    return entry


def _check_encodable(story: str, place: str) -> None:
    try:
        check_encodable(story)
    except DataError as error:
        raise DataError(f"{place}: {error}") from error


def _sha256(*parts: str) -> str:
    return hashlib.sha256("\0".join(parts).encode()).hexdigest()
