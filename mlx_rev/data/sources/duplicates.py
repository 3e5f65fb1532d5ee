"""Which stories of a corpus were there before, word for word: exactly, with hashes on disk.

A story is known by 16 bytes of its BLAKE2b hash; that two different ones have the same is as likely
as not only beyond 10^19 stories. Hashes and keys wait in memory, 24 bytes a story, until there are
MOST_IN_MEMORY; then they go to files on disk by the hash's first byte, each of which holds all
equals of what it holds, and is sorted by itself at the end.
"""

import hashlib
import shutil
from collections.abc import Iterator
from pathlib import Path

import numpy as np

from mlx_rev import files
from mlx_rev.data.progress import TellShare
from mlx_rev.data.sources.part import SOURCE_BIT, Part, Refined

MOST_IN_MEMORY = 1 << 21
"""Stories; sorting them takes about 200 MB."""
_ENTRY = np.dtype([("low", "<u8"), ("high", "<u8"), ("key", "<u8")])
_DIGEST = 16
_BUCKETS = 256


def repeated(part: Part, path: Path, progress: TellShare) -> np.ndarray:
    """The keys of the stories of `part` that were there before, ascending, as uint64; kept in the
    file `path`, and taken from it if it is there. Raises DataError."""
    if path.exists():
        try:
            kept: np.ndarray = np.load(path, mmap_mode="r")
            return kept
        except (ValueError, OSError, EOFError):
            path.unlink()
    path.parent.mkdir(parents=True, exist_ok=True)
    files.remove_leftovers(path.parent)
    folder = files.private_folder(path.parent)
    try:
        with files.naming(folder):
            found = [_repeated_in(entries) for entries in _buckets(part, folder, progress)]
    finally:
        shutil.rmtree(folder, ignore_errors=True)
    keys = np.sort(np.concatenate(found)) if found else np.zeros(0, np.uint64)
    with files.atomic_path(path) as temporary:
        np.save(temporary, keys)
    return keys


def _buckets(part: Part, folder: Path, progress: TellShare) -> Iterator[np.ndarray]:
    """All stories of a part, as entries; equal ones in the same bucket, in their order."""
    waiting: list[np.ndarray] = []
    count, spilled = 0, False
    for each in part.refined():
        waiting.append(_entries(each))
        count += len(each.stories)
        if count >= MOST_IN_MEMORY:
            _spill(np.concatenate(waiting), folder)
            waiting, count, spilled = [], 0, True
        progress(each.share)
    if not spilled:
        yield from (np.concatenate(waiting),) if waiting else ()
        return
    if waiting:
        _spill(np.concatenate(waiting), folder)
        waiting = []
    for path in sorted(folder.iterdir()):
        yield np.fromfile(path, _ENTRY)


def _entries(some: Refined) -> np.ndarray:
    """Stories as entries."""
    digests = b"".join(
        hashlib.blake2b(story.encode(), digest_size=_DIGEST).digest() for story in some.stories
    )
    halves = np.frombuffer(digests, "<u8").reshape(-1, 2)
    entries = np.empty(len(some.stories), _ENTRY)
    entries["low"], entries["high"] = halves[:, 0], halves[:, 1]
    first = (some.stream << SOURCE_BIT) + some.taken
    entries["key"] = np.arange(first, first + len(some.stories), dtype=np.uint64)
    return entries


def _spill(entries: np.ndarray, folder: Path) -> None:
    """Append entries to the files of their buckets, in their order."""
    bucket = (entries["low"] & np.uint64(_BUCKETS - 1)).astype(np.uint8)
    order = np.argsort(bucket, kind="stable")
    bounds = np.searchsorted(bucket[order], np.arange(_BUCKETS + 1))
    for number in range(_BUCKETS):
        some = entries[order[bounds[number] : bounds[number + 1]]]
        with open(folder / f"{number:03}", "ab") as file:
            file.write(some.tobytes())


def _repeated_in(entries: np.ndarray) -> np.ndarray:
    """The keys of entries whose hash is that of an entry before."""
    order = np.lexsort((entries["low"], entries["high"]))  # it keeps the order of equals
    low, high = entries["low"][order], entries["high"][order]
    same = (low[1:] == low[:-1]) & (high[1:] == high[:-1])
    keys: np.ndarray = entries["key"][order[1:][same]]
    return keys
