"""Which stories, or parts of them, make the rows that training reads, one after the other."""

from collections.abc import Sequence
from functools import lru_cache, reduce
from operator import add
from typing import Protocol

import numpy as np

from mlx_rev.config import Packing
from mlx_rev.data.packing import PackedRows, PackingReport, pack, packing_report, rows_for
from mlx_rev.data.packing_once import pack_once
from mlx_rev.data.permutation import Permutation
from mlx_rev.data.shard_set import ShardSet

_WINDOW = 4096
"""Stories that are packed together, which takes some milliseconds, or up to twice as many."""
_MOST_ROWS = 1 << 18
"""Of a window, where stories are so long that as many of them would take minutes."""
_FEWEST = 16
"""Stories of a window at any rate, so that none of its rows need be empty."""
_WINDOWS_KEPT = 4
_WINDOWS_AT_ONCE = 64
"""Windows whose targets are counted at a time."""
_WINDOWS_MEASURED = 16
_SURVEYED = 2_000_000
"""Stories of which all are looked at to say how well they are packed."""
_SHARDS_SURVEYED = 8
_STORIES, _ROWS = 0, 1
"""What the random numbers of an epoch are for."""


class RowPlan(Protocol):
    """The rows of an endless sequence of epochs, as a function of their number."""

    @property
    def row_count(self) -> int:
        """Rows of an epoch, the same in each."""

    def row(self, number: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """The segments of row `number`, from 0: stories, offsets and lengths (segments,) int64."""

    def report(self) -> PackingReport:
        """How well an epoch's stories are packed, or of many, some thousands of them."""


def plan_rows(
    directions: Sequence[np.ndarray], *, context: int, seed: int, packing: Packing
) -> RowPlan:
    """The rows of stories of these (stories,) targets, which are numbered through from one
    direction to the next."""
    if packing == "once":
        return OncePlan(directions, context, seed)
    lengths = directions[0] if len(directions) == 1 else np.concatenate(directions)
    return EpochPlan(lengths, context, seed)


def survey(
    directions: Sequence[ShardSet], *, context: int, seed: int, packing: Packing
) -> tuple[int, PackingReport]:
    """How many rows `plan_rows` makes of an epoch, and how well they are packed; of very many
    stories, some shards are packed, so that memory does not depend on how many there are."""
    stories = sum(own.story_count for own in directions)
    if packing == "once" or stories <= _SURVEYED:
        lengths = [own.lengths for own in directions]
        plan = plan_rows(lengths, context=context, seed=seed, packing=packing)
        return plan.row_count, plan.report()
    some = np.linspace(0, len(directions[0].shards) - 1, _SHARDS_SURVEYED).astype(int)
    reports = []
    for number in dict.fromkeys(some.tolist()):
        lengths = [ShardSet((own.shards[number],)).lengths for own in directions]
        reports.append(EpochPlan(np.concatenate(lengths), context, seed).report())
    targets = sum(own.token_count - len(own.shards) for own in directions)
    return sum(_rows_and_windows(targets, stories, context)), reduce(add, reports)


def _rows_and_windows(targets: int, stories: int, context: int) -> tuple[int, int]:
    """How many rows the targets of an epoch need, and into how many windows it is divided, of which
    each has one more."""
    rows = rows_for(targets, context)
    return rows, max(1, stories // _WINDOW, min(stories // _FEWEST, rows // _MOST_ROWS))


class EpochPlan:
    """Stories shuffled and packed anew each epoch, a window at a time.

    The shuffled stories of an epoch are divided into windows, and each is packed by itself when it
    is needed. Of an epoch nothing is kept but where the windows' rows begin: window k begins with
    row rows_for(targets of the windows before it) + k. As rows_for rounds down, the k makes sure
    that each has room for its own targets; and an epoch has the same number of rows whatever the
    shuffle.
    """

    def __init__(self, lengths: np.ndarray, context: int, seed: int) -> None:
        """For stories of `lengths` (stories,) targets."""
        self._lengths, self._context, self._seed = lengths, context, seed
        targets = int(lengths.sum(dtype=np.int64))
        rows, self._windows = _rows_and_windows(targets, len(lengths), context)
        self._row_count = rows + self._windows
        self._epoch = lru_cache(maxsize=2)(self._begun_epoch)
        self._window = lru_cache(maxsize=_WINDOWS_KEPT)(self._packed_window)

    @property
    def row_count(self) -> int:
        """Rows of an epoch, the same in each."""
        return self._row_count

    def row(self, number: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """The segments of row `number`, from 0: stories, offsets and lengths (segments,) int64."""
        epoch, number = divmod(number, self._row_count)
        window, number = self._epoch(epoch).window_of(number)
        rows, shuffled = self._window(epoch, window)
        return rows.of_row(int(shuffled[number]))

    def report(self) -> PackingReport:
        """How well an epoch's stories are packed, or of many, some thousands of them."""
        step = -(-self._windows // _WINDOWS_MEASURED)
        epoch, reports = self._epoch(0), []
        for window in range(0, self._windows, step):
            stories, count = epoch.window(window)
            lengths = self._lengths[stories]
            rows = pack(lengths, self._context, count)
            reports.append(packing_report(rows, lengths, self._context))
        return reduce(add, reports)

    def _begun_epoch(self, epoch: int) -> "_Epoch":
        permutation = Permutation(len(self._lengths), (self._seed, epoch, _STORIES))
        return _Epoch(self._lengths, self._context, self._windows, permutation)

    def _packed_window(self, epoch: int, window: int) -> tuple[PackedRows, np.ndarray]:
        """The rows of a window, and the order in which they are read."""
        stories, count = self._epoch(epoch).window(window)
        rows = pack(self._lengths[stories], self._context, count)
        random = np.random.PCG64(np.random.SeedSequence((self._seed, epoch, _ROWS, window)))
        order = np.argsort(random.random_raw(count), kind="stable")
        return PackedRows(rows.first, stories[rows.stories], rows.offsets, rows.lengths), order


class _Epoch:
    """Where the windows of an epoch begin, found as far as was asked for."""

    def __init__(
        self, lengths: np.ndarray, context: int, windows: int, permutation: Permutation
    ) -> None:
        self._lengths, self._context, self._permutation = lengths, context, permutation
        self._first_story = np.arange(windows + 1) * len(lengths) // windows
        self._first_row = np.zeros(1, np.int64)
        self._targets = 0

    def window_of(self, row: int) -> tuple[int, int]:
        """The window of a row of the epoch, and the row's place in it."""
        while row >= self._first_row[-1]:
            self._count_on()
        window = int(np.searchsorted(self._first_row, row, side="right")) - 1
        return window, row - int(self._first_row[window])

    def window(self, number: int) -> tuple[np.ndarray, int]:
        """The stories of a window, and how many rows it has."""
        while number + 1 >= len(self._first_row):
            self._count_on()
        places = np.arange(self._first_story[number], self._first_story[number + 1])
        rows = self._first_row[number + 1] - self._first_row[number]
        return self._permutation(places), int(rows)

    def _count_on(self) -> None:
        """Count the targets of the next windows."""
        done = len(self._first_row) - 1
        first = self._first_story[done : done + _WINDOWS_AT_ONCE + 1]
        lengths = self._lengths[self._permutation(np.arange(first[0], first[-1]))]
        counted = np.add.reduceat(lengths, first[:-1] - first[0], dtype=np.int64)
        targets = self._targets + np.cumsum(counted)
        numbers = np.arange(done + 1, done + len(first))
        self._targets = int(targets[-1])
        self._first_row = np.append(self._first_row, rows_for(targets, self._context) + numbers)


class OncePlan:
    """The same rows each epoch in another order, as in runs that an earlier version began; a row
    is of one direction."""

    def __init__(self, directions: Sequence[np.ndarray], context: int, seed: int) -> None:
        """For stories of these (stories,) targets, counted on from one direction to the next."""
        self._directions, self._context = directions, context
        self._rows = [pack_once(lengths, context) for lengths in directions]
        self._first_story = np.cumsum([0, *map(len, directions)])
        self._first_row = np.cumsum([0, *(rows.count for rows in self._rows)])
        self._seed = seed
        self._order = lru_cache(maxsize=2)(self._order_of_epoch)

    @property
    def row_count(self) -> int:
        """Rows of an epoch, the same in each."""
        return int(self._first_row[-1])

    def row(self, number: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """The segments of row `number`, from 0: stories, offsets and lengths (segments,) int64."""
        epoch, place = divmod(number, self.row_count)
        row = int(self._order(epoch)[place])
        direction = int(np.searchsorted(self._first_row, row, side="right")) - 1
        within = row - int(self._first_row[direction])
        stories, offsets, lengths = self._rows[direction].of_row(within)
        return stories + self._first_story[direction], offsets, lengths

    def report(self) -> PackingReport:
        """How well an epoch's stories are packed."""
        measured = zip(self._rows, self._directions, strict=True)
        return reduce(add, (packing_report(*own, self._context) for own in measured))

    def _order_of_epoch(self, epoch: int) -> np.ndarray:
        return np.random.default_rng([self._seed, epoch]).permutation(self.row_count)
