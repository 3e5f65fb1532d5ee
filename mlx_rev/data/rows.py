"""The rows that training reads, as the tokens of their segments."""

from bisect import bisect_right
from collections.abc import Callable, Iterable, Iterator, Sequence
from functools import lru_cache
from itertools import accumulate
from typing import Protocol

import numpy as np

from mlx_rev.data.row_plan import EpochPlan, RowPlan
from mlx_rev.data.shard_set import ShardSet
from mlx_rev.data.shards import Shard

More = Callable[[int], Sequence[ShardSet] | None]
"""Gives the shard of a number, from 0, in each direction; nothing where there are only so many
shards, and None while it is not known or not there. Raises DataError where it will not come."""


class Rows(Protocol):
    """The rows of an endless sequence of epochs."""

    @property
    def row_count(self) -> int:
        """Rows of an epoch, as far as its stories are there."""

    def has(self, number: int) -> bool:
        """Whether the stories of row `number`, from 0, are there. Raises DataError where they will
        not come."""

    def segments(self, number: int) -> Iterator[np.ndarray]:
        """The segments of a row that is there: all but the last token of each are inputs, all but
        the first are targets."""


class PlannedRows:
    """Rows of stories of which all are there, those of all directions together."""

    def __init__(self, directions: Sequence[ShardSet], plan: RowPlan) -> None:
        self._directions, self._plan = directions, plan
        self._first_story = list(accumulate((own.story_count for own in directions), initial=0))

    @property
    def row_count(self) -> int:
        """Rows of an epoch."""
        return self._plan.row_count

    def has(self, number: int) -> bool:
        """True."""
        return True

    def segments(self, number: int) -> Iterator[np.ndarray]:
        """The segments of a row."""
        for story, offset, length in zip(
            *map(np.ndarray.tolist, self._plan.row(number)), strict=True
        ):
            yield self._story(story)[offset : offset + length + 1]

    def _story(self, number: int) -> np.ndarray:
        direction = bisect_right(self._first_story, number) - 1
        return self._directions[direction].story(number - self._first_story[direction])


class ShardRows:
    """Rows that can be read from when the first shard is there, the same whenever the others come.

    The first epoch goes through the shards in turn. The rows of shard k are those of the k-th epoch
    of its stories alone, so those of a single shard are what they would be in any case. From the
    second epoch on, all stories are shuffled together.
    """

    def __init__(
        self, directions: Sequence[ShardSet], context: int, seed: int, more: More | None = None
    ) -> None:
        """For `directions` that have all shards or, with `more`, the first of them."""
        self._context, self._seed, self._more = context, seed, more
        self._shards: list[tuple[Shard, ...]] = []
        """Each shard, in each direction."""
        self._first_row = [0]
        self._of_shard = lru_cache(maxsize=2)(self._rows_of_shard)
        self._later: PlannedRows | None = None
        """The rows of epochs in which all stories are shuffled together, once they are needed."""
        for number in range(len(directions[0].shards)):
            self._add(ShardSet((own.shards[number],)) for own in directions)

    @property
    def row_count(self) -> int:
        """Rows of the first epoch, as far as its shards are there."""
        return self._first_row[-1]

    def has(self, number: int) -> bool:
        """Whether the shard of a row is there. Raises DataError where it will not come."""
        while self._more is not None and number >= self.row_count:
            found = self._more(len(self._shards))
            if found is None:
                return False
            if found:
                self._add(found)
            else:
                self._more = None
        return True

    def segments(self, number: int) -> Iterator[np.ndarray]:
        """The segments of a row that is there."""
        if number < self.row_count:
            shard = bisect_right(self._first_row, number) - 1
            rows = self._of_shard(shard)
            return rows.segments(shard * rows.row_count + number - self._first_row[shard])
        if self._more is not None:
            raise LookupError(f"the stories of row {number} are not there yet")
        if self._later is None:
            self._later = self._planned(map(ShardSet, zip(*self._shards, strict=True)))
        return self._later.segments(number - self.row_count + self._later.row_count)

    def _add(self, shard: Iterable[ShardSet]) -> None:
        self._shards.append(tuple(own.shards[0] for own in shard))
        rows = self._rows_of_shard(len(self._shards) - 1)
        self._first_row.append(self.row_count + rows.row_count)

    def _rows_of_shard(self, number: int) -> PlannedRows:
        return self._planned(ShardSet((own,)) for own in self._shards[number])

    def _planned(self, shard_sets: Iterable[ShardSet]) -> PlannedRows:
        directions = list(shard_sets)
        lengths = [own.lengths for own in directions]
        stories = lengths[0] if len(lengths) == 1 else np.concatenate(lengths)
        return PlannedRows(directions, EpochPlan(stories, self._context, self._seed))
