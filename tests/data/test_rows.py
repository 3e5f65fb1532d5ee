"""Rows that are read while shards come, against rows of shards that are all there."""

from collections.abc import Sequence

import numpy as np
import pytest

from mlx_rev.data.batches import IGNORED, Batches
from mlx_rev.data.shard_set import ShardSet
from mlx_rev.data.shards import open_shard, write_shard
from mlx_rev.errors import DataError

SHA = "00" * 32
FIRST = 10_000
"""Tokens from here are those of the other direction."""


@pytest.fixture(scope="module")
def directions(tmp_path_factory: pytest.TempPathFactory) -> list[ShardSet]:
    """Stories whose every token is a different number, in four shards, in two directions."""
    folder = tmp_path_factory.mktemp("shards")
    sizes = np.random.default_rng(0).integers(3, 80, 90).tolist()
    found = []
    for direction in (0, 1):
        shards, first = [], 3 + direction * FIRST
        for number, some in enumerate((sizes[:40], sizes[40:70], sizes[70:89], sizes[89:])):
            stories = []
            for size in some:
                stories.append((list(range(first, first + size)), 1))
                first += size
            path = folder / f"{direction}-{number}.bin"
            write_shard(
                path,
                stories,
                vocab_size=2 * FIRST,
                order="none",
                tokenizer_fingerprint=SHA,
                corpus_fingerprint=SHA,
            )
            shards.append(open_shard(path))
        found.append(ShardSet(tuple(shards)))
    return found


def part(directions: Sequence[ShardSet], start: int, stop: int) -> list[ShardSet]:
    return [ShardSet(own.shards[start:stop]) for own in directions]


class Arriving:
    """Shards that come one after another, each after it was asked for a few times."""

    def __init__(self, directions: Sequence[ShardSet], patience: int) -> None:
        self._directions, self._patience = directions, patience
        self.asked = 0

    def __call__(self, number: int) -> list[ShardSet] | None:
        self.asked += 1
        if self.asked % self._patience:
            return None
        there = number < len(self._directions[0].shards)
        return part(self._directions, number, number + 1) if there else []


def targets(batches: Batches, steps: range) -> list[int]:
    found: list[int] = []
    for step in steps:
        batch = batches.batch_at(step)
        found += batch.targets[batch.targets != IGNORED].tolist()
    return found


def tokens(directions: Sequence[ShardSet]) -> list[int]:
    return sorted(t for own in directions for story in own.stories() for t in story[1:].tolist())


def test_the_first_epoch_goes_through_the_shards_and_later_ones_through_all(
    directions: list[ShardSet],
) -> None:
    batches = Batches(directions, context=32, batch_size=1, packing="shards", seed=3)
    count = batches.row_count
    start = 0
    for number in range(4):
        own = part(directions, number, number + 1)
        rows = Batches(own, context=32, batch_size=1, seed=3).row_count
        assert sorted(targets(batches, range(start, start + rows))) == tokens(own)
        start += rows
    assert start == count
    later = Batches(directions, context=32, batch_size=1, seed=3)
    for step in range(later.row_count):
        one, other = (
            each.batch_at(first + step)
            for each, first in ((batches, count), (later, later.row_count))
        )
        assert (one.targets == other.targets).all()


def test_a_single_shard_is_read_as_if_it_had_been_waited_for(directions: list[ShardSet]) -> None:
    own = part(directions, 0, 1)
    one, other = (
        Batches(own, context=32, batch_size=3, seed=5, packing=packing)
        for packing in ("shards", "epoch")
    )
    for step in (0, 1, one.row_count, 2 * one.row_count + 1):
        assert (one.batch_at(step).inputs == other.batch_at(step).inputs).all()


@pytest.mark.parametrize("patience", [1, 3])
@pytest.mark.parametrize("begun", [1, 3])
def test_rows_do_not_depend_on_when_shards_come(
    directions: list[ShardSet], begun: int, patience: int
) -> None:
    whole = Batches(directions, context=32, batch_size=5, packing="shards", seed=7)
    more = Arriving(directions, patience)
    batches = Batches(
        part(directions, 0, begun), context=32, batch_size=5, packing="shards", seed=7, more=more
    )
    steps = range(2 * whole.row_count // 5 + 2)
    for step in steps:
        while not batches.has(step):
            assert patience > 1
        assert (batches.batch_at(step).inputs == whole.batch_at(step).inputs).all()
    assert more.asked == (5 - begun) * patience
    late = Batches(
        part(directions, 0, 1), context=32, batch_size=5, packing="shards", seed=7,
        more=Arriving(directions, 1),
    )  # fmt: skip
    assert late.has(steps[-1])
    assert (late.batch_at(steps[-1]).inputs == whole.batch_at(steps[-1]).inputs).all()


def test_what_is_there_is_read_before_what_is_missing_is_an_error(
    directions: list[ShardSet],
) -> None:
    def fails(number: int) -> None:
        raise DataError(f"no shard {number}")

    first = part(directions, 0, 1)
    batches = Batches(first, context=32, batch_size=2, packing="shards", more=fails)
    last = batches.row_count // 2 - 1
    assert batches.has(last)
    batches.batch_at(last)
    with pytest.raises(DataError, match="no shard 1"):
        batches.has(last + 1)
