"""The stories of one corpus in one direction, as the token shards that hold them in turn.

A folder of shards:

    00000.bin, 00001.bin, ...     token shards (data/shards.py), each whole or not at all
    done.json                     comes last: how many shards, stories and tokens there are, and
                                  the corpus they were made from
"""

import json
from bisect import bisect_right
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property
from itertools import accumulate
from pathlib import Path
from typing import Any

import numpy as np

from mlx_rev import files
from mlx_rev.data.shards import Shard, open_shard
from mlx_rev.errors import DataError

DONE = "done.json"
VERIFIED_AT_ONCE = 1 << 28
"""Bytes of shards whose checksums are verified whenever they are opened: a fraction of a second."""


@dataclass(frozen=True, eq=False)
class ShardSet:
    """Shards of one origin, read as one. Raises DataError where there is none, or they differ."""

    shards: tuple[Shard, ...]

    def __post_init__(self) -> None:
        if not self.shards:
            raise DataError("no token shard; run mlx-rev prepare")
        for what in ("order", "vocab_size", "tokenizer_fingerprint", "corpus_fingerprint"):
            found = {getattr(shard, what) for shard in self.shards}
            if len(found) > 1:
                listed = " and ".join(str(one)[:12] for one in sorted(found))
                raise DataError(
                    f"token shards of one folder differ in {what} ({listed}); remove the folder, "
                    "and they are made again"
                )

    @property
    def vocab_size(self) -> int:
        """Of the tokenizer."""
        return self.shards[0].vocab_size

    @property
    def order(self) -> str:
        """The name of the order that the stories are in."""
        return self.shards[0].order

    @property
    def tokenizer_fingerprint(self) -> str:
        """sha256 of the tokenizer."""
        return self.shards[0].tokenizer_fingerprint

    @property
    def corpus_fingerprint(self) -> str:
        """sha256 of the corpus."""
        return self.shards[0].corpus_fingerprint

    @property
    def story_count(self) -> int:
        """How many stories there are."""
        return self._first_story[-1]

    @property
    def token_count(self) -> int:
        """How many tokens there are, boundaries included."""
        return sum(len(shard.tokens) for shard in self.shards)

    @cached_property
    def _first_story(self) -> list[int]:
        """The number of each shard's first story, and how many stories there are."""
        return list(accumulate((shard.story_count for shard in self.shards), initial=0))

    @cached_property
    def lengths(self) -> np.ndarray:
        """(stories,) int32: targets of each story, which are its tokens and one boundary."""
        return np.concatenate([np.diff(shard.starts).astype(np.int32) for shard in self.shards])

    @cached_property
    def text_bytes(self) -> np.ndarray:
        """(stories,) uint32: UTF-8 bytes of each story's text."""
        if len(self.shards) == 1:
            return self.shards[0].text_bytes
        return np.concatenate([shard.text_bytes for shard in self.shards])

    @property
    def text_size(self) -> int:
        """UTF-8 bytes of all stories' text together."""
        return sum(int(shard.text_bytes.sum(dtype=np.int64)) for shard in self.shards)

    def story(self, index: int) -> np.ndarray:
        """A story's ids in model order, with the boundary at both ends."""
        part = bisect_right(self._first_story, index) - 1
        return self.shards[part].story(index - self._first_story[part])

    def stories(self) -> Iterator[np.ndarray]:
        """All stories in turn, as `story` gives them."""
        for shard in self.shards:
            yield from map(shard.story, range(shard.story_count))


def shard_path(folder: Path, number: int) -> Path:
    """Where shard `number`, from 0, of a folder is."""
    return folder / f"{number:05d}.bin"


def write_done(folder: Path, shards: ShardSet) -> None:
    """Note that all shards of `folder` are there."""
    files.write_text(folder / DONE, json.dumps(_noted(shards), indent=2) + "\n")


def is_done(folder: Path) -> bool:
    """Whether all shards of a folder were written."""
    return (folder / DONE).is_file()


def open_shards(folder: Path, *, verify: bool | None = None) -> ShardSet:
    """Map all shards of a finished folder into memory.

    Each one's header, size and story positions are checked at any rate, in milliseconds a shard;
    with `verify` its checksum and largest id as well, for which all of it is read. By default that
    is done for shards that are VERIFIED_AT_ONCE bytes together or less. Raises RevError, naming
    the file, for what is missing, damaged, or not what done.json says.
    """
    done = _read_done(folder / DONE)
    paths = [shard_path(folder, number) for number in range(done["shards"])]
    for path in paths:
        if not path.exists():
            raise DataError(f"{path}: missing; {DONE} says that it is there")
    if verify is None:
        verify = sum(path.stat().st_size for path in paths) <= VERIFIED_AT_ONCE
    shards = ShardSet(tuple(open_shard(path, verify=verify) for path in paths))
    for what, found in _noted(shards).items():
        if found != done[what]:
            raise DataError(
                f"{folder}: {DONE} says {what} {str(done[what])[:12]}, the shards have "
                f"{str(found)[:12]}; remove the folder, and it is made again"
            )
    return shards


def _noted(shards: ShardSet) -> dict[str, int | str]:
    """What done.json holds."""
    return {
        "shards": len(shards.shards),
        "stories": shards.story_count,
        "tokens": shards.token_count,
        "corpus": shards.corpus_fingerprint,
    }


def _read_done(path: Path) -> dict[str, Any]:
    try:
        done = json.loads(files.read_bytes(path))
    except (OSError, ValueError, RecursionError) as error:
        raise DataError(f"{path}: cannot be read ({error}); run mlx-rev prepare again") from error
    kinds = {"shards": int, "stories": int, "tokens": int, "corpus": str}
    if not isinstance(done, dict) or any(
        type(done.get(name)) is not kind for name, kind in kinds.items()
    ):
        raise DataError(f"{path}: damaged, expected {', '.join(kinds)}; run mlx-rev prepare again")
    if not 0 < done["shards"] <= 99_999:
        raise DataError(f"{path}: shards is {done['shards']}, expected 1 to 99999")
    return done
