"""Files of stories: which there are, and the one way to read each kind."""

import glob
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from mlx_rev.data.sources.chunk import SEPARATOR, Chunk, State
from mlx_rev.data.sources.content import opened
from mlx_rev.data.sources.facts import Facts, facts_of
from mlx_rev.data.sources.json_values import read_json
from mlx_rev.data.sources.parquet import read_parquet
from mlx_rev.data.sources.problems import Problems
from mlx_rev.data.sources.text import read_text
from mlx_rev.errors import DataError
from mlx_rev.text.tokenizer import Tokenizer

PLAIN = (".txt", ".json", ".jsonl")
SUFFIXES = (*PLAIN, ".parquet", *(f"{kind}{end}" for kind in PLAIN for end in (".gz", ".zst")))
"""How names of files of stories end."""
EXPECTED = ".txt, .json, .jsonl (each also with .gz or .zst) or .parquet"

_GLOB = frozenset("*?[")


@dataclass(frozen=True)
class StoryFile:
    """A file of stories and what has to be known to read it."""

    path: Path
    facts: Facts | None = None
    """Needed of a text file only."""
    field: str | None = None
    """Key or column of the text in JSON or Parquet."""

    def chunks(self, start: State, problems: Problems) -> Iterator[Chunk]:
        """Its stories from a state on. Raises DataError, possibly halfway through."""
        if self.path.suffix.lower() == ".parquet":
            yield from read_parquet(self.path, self.field, start, problems)
            return
        with opened(self.path) as content:
            if self.facts is not None and self.facts.kind is not None:
                yield from read_text(content, self.facts.kind, start, problems)
            else:
                yield from read_json(content, self.field, start, problems)

    @property
    def size(self) -> int:
        """Bytes on disk."""
        return self.path.stat().st_size

    @property
    def notice(self) -> str:
        """What a person should know about how its stories are separated; "" for most files."""
        facts = self.facts
        if facts is None or facts.filled_lines < 2 or facts.kind not in ("lines", "whole"):
            return ""
        taken = (
            f"each of its {facts.filled_lines} lines is read as a story"
            if facts.kind == "lines"
            else f"its {facts.filled_lines} lines are read as one story"
        )
        return f"{self.path}: neither {SEPARATOR} nor a blank line separates stories; {taken}"


def story_files(data: str) -> list[Path]:
    """The files that a path, a folder or a glob stands for, in order of their names.

    A folder stands for all files of stories in it and in its subfolders, except hidden ones. Where
    plain .txt, .json and .jsonl files are among those of a folder or glob, they alone count: the
    others may be the same stories, packed. Raises DataError if there is none, or for a path of an
    unknown kind.
    """
    plain, packed = _all_files(data)
    return plain or packed


def packed_notice(data: str) -> list[str]:
    """That there are files of stories in a folder or glob that do not count beside plain ones."""
    plain, packed = _all_files(data)
    if not plain or not packed:
        return []
    return [
        f"{packed[0]}: not read, nor what else is packed beside plain files; name it to read it"
    ]


def _all_files(data: str) -> tuple[list[Path], list[Path]]:
    """The plain files and the others."""
    path = Path(data)
    if path.is_dir():
        found = (one for one in path.rglob("*") if _is_to_be_read(one, path))
        where = "in this folder"
    elif _GLOB & set(data) and not path.exists():
        # Its wildcards match nothing hidden; what is hidden and has been named is meant.
        matches = map(Path, glob.glob(data, recursive=True))  # noqa: PTH207, a path with a glob
        found = (one for one in matches if _has_stories(one))
        where = "matches"
    else:
        return [checked(path)], []
    files = sorted(one for one in found if one.is_file())
    if not files:
        raise DataError(f"{data}: no file {where} whose name ends in {EXPECTED}")
    plain = [one for one in files if one.suffix.lower() in PLAIN]
    return plain, [one for one in files if one.suffix.lower() not in PLAIN]


def checked(path: Path) -> Path:
    """`path`, if it is by its name a file of stories. Raises DataError."""
    if not _has_stories(path):
        raise DataError(
            f"{path}: unknown kind of corpus; expected bundled, tinystories, tinystories-v2, "
            f"hf:owner/name, -, a folder, or a path that ends in {EXPECTED}"
        )
    if not path.exists():
        raise DataError(f"{path}: no such file; expected bundled, tinystories, a file or a folder")
    if not path.is_file():
        raise DataError(f"{path}: not a regular file; copy its content into one")
    return path


def read_stories(
    data: Path | str, field: str | None = None, tokenizer: Tokenizer | None = None
) -> Iterator[str]:
    """The stories of a file, a folder or a glob, stripped, the empty ones dropped.

    .txt: separated by `<|endoftext|>` or, if there is none, by blank lines; without either, see
    `facts`. .json and .jsonl: a list of entries, or one entry after another; an entry is a text or
    an object with the text in `field`, by default "story", "text" or "content". .parquet: the
    column of that name. A byte-order mark is not text. Raises DataError, possibly halfway through,
    for anything else, for what `tokenizer` (by default one of SentencePiece's) cannot take, and if
    there is no story at all.
    """
    none, problems = True, Problems(tokenizer=tokenizer)
    for path in story_files(str(data)):
        for chunk in _story_file(path, field).chunks((), problems):
            none = none and not chunk.stories
            yield from chunk.stories
    if none:
        raise DataError(f"{data}: there is no story in it; expected text")


def notices(data: str) -> list[str]:
    """What a person should know about how the stories of a file, folder or glob are read."""
    said = [file.notice for file in map(_story_file, story_files(data))]
    return [notice for notice in said if notice] + packed_notice(data)


def _story_file(path: Path, field: str | None = None) -> StoryFile:
    return StoryFile(path, facts_of(path) if _is_text(path) else None, field)


def _is_text(path: Path) -> bool:
    return path.name.lower().endswith((".txt", ".txt.gz", ".txt.zst"))


def _has_stories(path: Path) -> bool:
    return path.name.lower().endswith(SUFFIXES)


def _is_to_be_read(path: Path, folder: Path) -> bool:
    """Whether a file was meant by the folder that it is in."""
    hidden = any(part.startswith(".") for part in path.relative_to(folder).parts)
    return _has_stories(path) and not hidden
