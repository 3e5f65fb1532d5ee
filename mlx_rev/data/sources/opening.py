"""From the name of a source to its files, with what decides its stories."""

import hashlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from itertools import islice
from pathlib import Path
from typing import Literal

from mlx_rev.data import bundled, tinystories
from mlx_rev.data.progress import TellStage
from mlx_rev.data.sources import hub_files, names
from mlx_rev.data.sources.chunk import Chunk, State
from mlx_rev.data.sources.content import reading
from mlx_rev.data.sources.facts import facts_of
from mlx_rev.data.sources.names import Named
from mlx_rev.data.sources.part import Readable
from mlx_rev.data.sources.problems import Problems
from mlx_rev.data.sources.story_files import PLAIN, StoryFile, packed_notice, story_files
from mlx_rev.errors import DataError

_BUNDLED_AT_ONCE = 1000
_BUNDLED_BYTES = 300
"""A bundled story has about so many."""


@dataclass(frozen=True, kw_only=True)
class Source:
    """Where stories come from."""

    name: str
    weight: float
    train: tuple[Readable, ...]
    valid: tuple[Readable, ...] | None
    """Held-out stories of its own; None where a share of the others is to be held out."""
    described: tuple[str, ...]
    """What decides the stories, each in a string."""
    notices: tuple[str, ...] = ()

    def fingerprint(self, valid_share: float) -> str:
        """sha256 of what decides its stories and which of them are held out."""
        first, *others = self.described
        if self.valid is None:
            return sha256(first, repr(valid_share), *others)
        return sha256(first, *others) if others else first


def open_source(
    named: Named, field: str | None, cache: Path, problems: Problems, progress: TellStage
) -> Source:
    """The source of that name, downloaded if need be. Raises DataError."""
    name, weight = named.name, named.weight
    if name == names.BUNDLED:
        return Source(
            name=name,
            weight=weight,
            train=(_Bundled("train"),),
            valid=(_Bundled("valid"),),
            described=(bundled.fingerprint(),),
        )
    if name == names.TINYSTORIES:
        shards = tinystories.shards(tinystories.fetch(cache, progress))
        return Source(
            name=name,
            weight=weight,
            train=tuple(map(StoryFile, shards[1:])),
            valid=tuple(map(StoryFile, shards[:1])),
            described=(name, *(f"{path.name} {path.stat().st_size}" for path in shards)),
        )
    if name == names.STANDARD_INPUT:
        raise DataError("standard input is read by --data - of train, prepare and evaluate only")
    if name == names.TINYSTORIES_V2:
        train, valid = tinystories.fetch_version_2(progress)
        return _of_files(named, [train], [valid], None, cache, problems, progress)
    if name.startswith(names.HUB):
        found = hub_files.fetch(name, cache, progress)
        column = found.column or field
        source = _of_files(named, found.train, found.valid, column, cache, problems, progress)
        return replace(source, notices=(*found.notices, *source.notices))
    source = _of_files(named, story_files(name), [], field, cache, problems, progress)
    return replace(source, notices=(*source.notices, *packed_notice(name)))


def _of_files(
    named: Named,
    train: Sequence[Path],
    valid: Sequence[Path],
    field: str | None,
    cache: Path,
    problems: Problems,
    progress: TellStage,
) -> Source:
    """A source that is files, with or without held-out ones among them."""
    paths = (*train, *valid)
    sizes = []
    for path in paths:
        with reading(path):
            sizes.append(path.stat().st_size)
    before = 0

    def tell(share: float) -> None:
        read = before + share * sizes[len(files)]
        progress(f"looking through {Path(named.name).name}", read / sum(sizes))

    files: list[StoryFile] = []
    for path, size in zip(paths, sizes, strict=True):
        files.append(StoryFile(path, facts_of(path, problems, cache, tell), field))
        before += size
    facts = [file.facts for file in files if file.facts is not None]
    described = [each.sha256 for each in facts]
    described += [f"{number} {way}" for number, each in enumerate(facts) for way in each.changed]
    described += [
        f"{number} {suffix}"
        for number, file in enumerate(files)
        if (suffix := file.path.suffix.lower()) not in PLAIN
    ]
    if valid:
        described.append(f"valid {len(valid)}")
    if field is not None:
        described.append(f"field {field}")
    return Source(
        name=named.name,
        weight=named.weight,
        train=tuple(files[: len(train)]),
        valid=tuple(files[len(train) :]) if valid else None,
        described=tuple(described),
        notices=tuple(notice for file in files if (notice := file.notice)),
    )


@dataclass(frozen=True)
class _Bundled:
    """The stories that the program makes itself. A state is the number of stories before."""

    split: Literal["train", "valid"]

    @property
    def size(self) -> int:
        counts = {"train": bundled.TRAIN_COUNT, "valid": bundled.VALID_COUNT}
        return counts[self.split] * _BUNDLED_BYTES

    def chunks(self, start: State, problems: Problems) -> Iterator[Chunk]:
        count = start[0] if start else 0
        stories = islice(bundled.stories(self.split), count, None)
        while some := [story.text for story in islice(stories, _BUNDLED_AT_ONCE)]:
            count += len(some)
            yield Chunk(some, (count,), count * _BUNDLED_BYTES)


def sha256(*parts: str) -> str:
    """The sha256 of strings, as hex."""
    return hashlib.sha256("\0".join(parts).encode()).hexdigest()
