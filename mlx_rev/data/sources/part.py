"""The stories of one part of a corpus, in a fixed order, from the start or from a place noted."""

import hashlib
import math
import sys
from collections.abc import Iterator
from dataclasses import dataclass, field
from functools import cached_property
from typing import Protocol

import numpy as np

from mlx_rev.data.sources.chunk import Chunk, State
from mlx_rev.data.sources.problems import Problems
from mlx_rev.data.sources.refining import Refining
from mlx_rev.errors import DataError

Position = tuple[int, ...]
"""A place in a part of a corpus, good for as long as the corpus has the same fingerprint. What the
numbers mean is this module's own affair. () is the start."""

SOURCE_BIT = 40
"""A story's key is its number among those of its source, and its source's number from this bit."""
_DIGEST_PART = 8
"""Bytes of a story's sha256 by which it is held out, and as many by which it is repeated."""


class Readable(Protocol):
    """A file of stories, or what is like one."""

    @property
    def size(self) -> int:
        """Bytes, on disk for a file."""

    def chunks(self, start: State, problems: Problems) -> Iterator[Chunk]:
        """Its stories from a state on."""


@dataclass(frozen=True)
class PartBlock:
    """Some stories of a part, one after another; perhaps none."""

    stories: list[str]
    after: Position
    """`Part.at` goes on from here with what follows."""
    share: float
    """How much of the part was read up to here, 0 to 1."""


@dataclass(frozen=True, kw_only=True)
class Stream:
    """A source, as one part of a corpus reads it."""

    name: str
    files: tuple[Readable, ...]
    weight: float = 1.0
    """How often its stories are read."""
    share: float = 0.0
    """The share of its stories that is held out, by a hash of their text; 0 is none."""
    held_out: bool = False
    """Whether it is those that are read, or the others."""

    @property
    def rounds(self) -> int:
        """How often its files are read."""
        return math.ceil(self.weight)

    def chosen(self, stories: list[str], round_number: int) -> list[str]:
        """Those of a round, counted from 0, and of the wanted share."""
        times = min(1.0, self.weight - round_number)
        if not self.share and times == 1:
            return stories
        held, again = _threshold(self.share), _threshold(times)
        found = []
        for story in stories:
            digest = hashlib.sha256(story.encode()).digest()
            if (digest[:_DIGEST_PART] < held) is self.held_out and (
                times == 1 or digest[_DIGEST_PART : 2 * _DIGEST_PART] < again
            ):
                found.append(story)
        return found


def _threshold(share: float) -> bytes:
    """What the first bytes of so large a share of all digests are below."""
    return min(math.ceil(share * 2**64), 2**64 - 1).to_bytes(_DIGEST_PART)


@dataclass(frozen=True)
class _Step:
    """A file that is read in a round."""

    round_number: int
    stream: int
    file: Readable
    begins_source: bool
    before: int
    """Bytes of the files before it."""


@dataclass(frozen=True)
class Refined:
    """What was kept of a chunk, before any of it is held out or repeated."""

    stories: list[str]
    taken: int
    """Stories of the source before these."""
    read: int
    """Stories in the chunk, before some were dropped."""
    step: int
    stream: int
    round_number: int
    after: State
    share: float
    """How much of the part was read with it."""


@dataclass(frozen=True, eq=False)
class Part:
    """Stories to train on, or stories held out. Calling it gives them from the start, one by one;
    that raises DataError, possibly halfway through, and at the end where there were none."""

    data: str
    """How the corpus was named."""
    streams: tuple[Stream, ...]
    refining: Refining = field(default_factory=Refining)
    problems: Problems = field(default_factory=Problems)
    repeated: np.ndarray | None = None
    """The keys of stories that are left out because they were there before, ascending."""

    def __call__(self) -> Iterator[str]:
        for block in self.at():
            yield from block.stories

    def at(self, position: Position = ()) -> Iterator[PartBlock]:
        """The stories after a position, in blocks of about a megabyte. Raises DataError."""
        count = given = 0
        read = dict.fromkeys(range(len(self.streams)), 0)
        for each in self.refined(position):
            read[each.stream] += each.read
            fresh = self._not_repeated(each)
            chosen = self.streams[each.stream].chosen(fresh, each.round_number)
            count, given = count + len(fresh), given + len(chosen)
            after = (each.step, each.taken + len(each.stories), *each.after)
            yield PartBlock(chosen, after, each.share)
        if not position:
            self._check(read, count, given)

    def refined(self, position: Position = ()) -> Iterator[Refined]:
        """All chunks after a position, and what is kept of them."""
        total = max(sum(step.file.size for step in self._steps), 1)
        first, taken, *state = position or (0, 0)
        limit = self.refining.limit or sys.maxsize
        for number in range(first, len(self._steps)):
            step = self._steps[number]
            if number > first:
                state = []
                taken = 0 if step.begins_source else taken
            if taken >= limit:
                continue
            for chunk in step.file.chunks(tuple(state), self.problems):
                stories = self.refining(chunk.stories)[: limit - taken]
                yield Refined(
                    stories=stories,
                    taken=taken,
                    read=len(chunk.stories),
                    step=number,
                    stream=step.stream,
                    round_number=step.round_number,
                    after=chunk.after,
                    share=min(1.0, (step.before + chunk.consumed) / total),
                )
                taken += len(stories)
                if taken >= limit:
                    break

    @cached_property
    def _steps(self) -> tuple[_Step, ...]:
        found, before = [], 0
        for round_number in range(max(stream.rounds for stream in self.streams)):
            for number, stream in enumerate(self.streams):
                for each, file in enumerate(stream.files if round_number < stream.rounds else ()):
                    found.append(_Step(round_number, number, file, each == 0, before))
                    before += file.size
        return tuple(found)

    def _not_repeated(self, these: Refined) -> list[str]:
        stories = these.stories
        if self.repeated is None or not stories:
            return stories
        start = (these.stream << SOURCE_BIT) + these.taken
        bounds = np.array([start, start + len(stories)], np.uint64)
        low, high = np.searchsorted(self.repeated, bounds)
        out = {int(key) - start for key in self.repeated[low:high]}
        return [story for each, story in enumerate(stories) if each not in out] if out else stories

    def _check(self, read: dict[int, int], count: int, given: int) -> None:
        """Raise DataError where all stories were read and there were too few."""
        for number, stories in read.items():
            if not stories:
                name = self.streams[number].name
                raise DataError(f"{name}: there is no story in it; expected text")
        if not count:
            raise DataError(
                f"{self.data}: no story of it ({sum(read.values()):,} in all) has the length that "
                "--min-chars and --max-chars ask for"
            )
        shares = {stream.share for stream in self.streams}
        if count == 1 and shares != {0.0}:
            if options := self._that_leave_one(sum(read.values())):
                leave = "leave" if len(options) > 1 else "leaves"
                raise DataError(
                    f"{self.data}: one story is all that {' and '.join(options)} {leave} of it, so "
                    "none can be held out; allow for more, or give --valid PATH"
                )
            raise DataError(
                f"{self.data}: all of it is one story, so none can be held out; put a blank line "
                "or a line <|endoftext|> between stories, or give --valid PATH"
            )
        if not given:
            held_out = any(stream.held_out for stream in self.streams)
            share = max(shares) if held_out else 1 - max(shares)
            partly = any(stream.weight < 1 for stream in self.streams)
            raise DataError(
                f"{self.data}: none of its stories is in the "
                f"{'held-out' if held_out else 'training'} share of {share}; give more text, "
                f"{'a larger weight, ' if partly else ''}another --valid-share, or --valid PATH"
            )

    def _that_leave_one(self, read: int) -> list[str]:
        """The options for which a part of which so many stories were read may have one only."""
        refining = self.refining
        one_read = read == 1 and refining.limit != 1  # After a limit, nobody looked for more.
        given = {
            "--limit": refining.limit,
            "--min-chars": refining.min_chars,
            "--max-chars": refining.max_chars,
            "--deduplicate": self.repeated is not None,
        }
        return [] if one_read else [name for name, value in given.items() if value]
