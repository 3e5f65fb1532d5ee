"""Where stories come from: the bundled generator, TinyStories, or files."""

import hashlib
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

from mlx_rev import files
from mlx_rev.data import bundled, tinystories
from mlx_rev.data.story_files import SEPARATOR, changed_reading, notices, read_stories, story_files
from mlx_rev.errors import DataError

Stories = Callable[[], Iterator[str]]
"""Iterates over the stories from the start, each time it is called."""


@dataclass(frozen=True)
class Corpus:
    """Stories to train on and stories held out."""

    name: str
    fingerprint: str
    """sha256 of what determines the stories and which of them are held out."""
    train: Stories
    valid: Stories
    notices: tuple[str, ...] = ()
    """What a person should know about how the stories were separated, a line each."""


def open_corpus(
    data: str,
    *,
    valid: str | None,
    valid_share: float,
    cache: Path,
    field: str | None = None,
    progress: tinystories.Progress | None = None,
) -> Corpus:
    """The corpus called `data`: bundled, tinystories, or a file, folder or glob of stories.

    `field` is the key of the text in the objects of JSON files. `valid` is the path of held-out
    stories; without it, a share `valid_share` of a file's stories is held out by a hash of their
    text, the same ones whatever their order. Raises DataError.
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
        corpus = _from_files(data, valid_share, field)
    if valid is None:
        return corpus
    own = data in ("bundled", "tinystories")
    return Corpus(
        corpus.name,
        _sha256(corpus.fingerprint, *_described(valid, field)),
        corpus.train if own else lambda: read_stories(data, field),
        lambda: read_stories(valid, field),
        (*corpus.notices, *notices(valid)),
    )


def _bundled(split: str) -> Stories:
    return lambda: (story.text for story in bundled.stories(split))


def _chained(paths: list[Path]) -> Iterator[str]:
    for path in paths:
        yield from read_stories(path)


def _from_files(data: str, valid_share: float, field: str | None) -> Corpus:
    def held_out(story: str) -> bool:
        digest = hashlib.sha256(story.encode(errors="surrogatepass")).digest()
        return int.from_bytes(digest[:8]) < valid_share * 2**64

    def part(of_valid: bool) -> Iterator[str]:
        count = chosen = 0
        for story in read_stories(data, field):
            count += 1
            if held_out(story) is of_valid:
                chosen += 1
                yield story
        if count == 1:
            raise DataError(
                f"{data}: all of it is one story, so none can be held out; put a blank line or a "
                f"line {SEPARATOR} between stories, or give --valid PATH"
            )
        if not chosen:
            raise DataError(
                f"{data}: none of its stories is in the {'held-out' if of_valid else 'training'} "
                f"share of {valid_share if of_valid else 1 - valid_share}; give more text, "
                "another --valid-share, or --valid PATH"
            )

    first, *others = _described(data, field)
    return Corpus(
        Path(data).name,
        _sha256(first, repr(valid_share), *others),
        lambda: part(False),
        lambda: part(True),
        tuple(notices(data)),
    )


def _described(data: str, field: str | None) -> list[str]:
    """What determines the stories of a file, folder or glob: first the sha256 of the first file."""
    paths = story_files(data)
    parts = [files.sha256_file(path) for path in paths]
    parts += [
        f"{number} {way}" for number, path in enumerate(paths) for way in changed_reading(path)
    ]
    return parts + ([f"field {field}"] if field is not None else [])


def _sha256(*parts: str) -> str:
    return hashlib.sha256("\0".join(parts).encode()).hexdigest()
