"""Stories in the lumps in which files are read, with the place where to go on."""

from dataclasses import dataclass
from functools import partial
from pathlib import Path

from mlx_rev.data.sources.problems import Problems
from mlx_rev.errors import DataError
from mlx_rev.text.words import BYTE_ORDER_MARK

SEPARATOR = "<|endoftext|>"
"""Separates stories, on a line of its own or not."""

State = tuple[int, ...]
"""Where to go on in a file; what the numbers mean is the reader's own affair. () is the start."""


@dataclass(frozen=True)
class Chunk:
    """Some stories of a file, one after another."""

    stories: list[str]
    """Stripped, and none empty."""
    after: State
    """Reading on from here gives the stories that follow."""
    consumed: int
    """Bytes of the file, on disk, that were read up to here."""


def stripped(text: str) -> str:
    """A story without the white space and byte-order marks around it."""
    return text.strip().strip(BYTE_ORDER_MARK).strip()


def parts(text: str) -> list[str]:
    """The stories in a text, which may have marks between them."""
    return [story for part in text.split(SEPARATOR) if (story := stripped(part))]


def encodable(stories: list[str], path: Path, number: int, problems: Problems) -> list[str]:
    """Those that the tokenizer can take, of the stories of a file from its `number`-th on; the rest
    are problems."""
    kept = []
    for each, story in enumerate(stories, start=number):
        try:
            problems.check(story)
        except DataError as error:
            said = f"{path}: story {each}: {error}"
            problems.meet(path, each, partial(DataError, said))
        else:
            kept.append(story)
    return kept
