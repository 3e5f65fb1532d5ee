from pathlib import Path

import numpy as np
import pytest

from mlx_rev.config import Packing
from mlx_rev.data.batches import IGNORED, Batches
from mlx_rev.data.shard_set import ShardSet
from mlx_rev.data.shards import Shard, open_shard, write_shard
from mlx_rev.errors import DataError
from mlx_rev.text.tokenizer import BOUNDARY

both_ways = pytest.mark.parametrize("packing", ["epoch", "once"])


@pytest.fixture(scope="module")
def shards(tmp_path_factory: pytest.TempPathFactory) -> ShardSet:
    """Stories whose every token is a different number, 25 in one shard and 35 in another."""
    folder = tmp_path_factory.mktemp("shards")
    sizes, first, stories = np.random.default_rng(0).integers(3, 80, 60), 3, []
    for size in sizes.tolist():
        stories.append((list(range(first, first + size)), 1))
        first += size
    parts = (stories[:25], stories[25:])
    return ShardSet(
        tuple(written(folder / f"{n}.bin", part, first) for n, part in enumerate(parts))
    )


def targets_of(shards: ShardSet) -> list[int]:
    return sorted(token for story in shards.stories() for token in story[1:].tolist())


def written(path: Path, stories: list, vocab_size: int) -> Shard:
    sha = "00" * 32
    write_shard(
        path,
        stories,
        vocab_size=vocab_size,
        order="none",
        tokenizer_fingerprint=sha,
        corpus_fingerprint=sha,
    )
    return open_shard(path)


@both_ways
def test_every_token_is_a_target_once_an_epoch_and_follows_its_input(
    shards: ShardSet, packing: Packing
) -> None:
    batches = Batches([shards], context=32, packing=packing, batch_size=1, seed=5)
    for start in (0, batches.row_count):
        seen: list[int] = []
        for step in range(start, start + batches.row_count):
            batch = batches.batch_at(step)
            real = batch.targets != IGNORED
            assert batch.target_count == real.sum()
            seen += batch.targets[real].tolist()
            inner = real & (batch.inputs != BOUNDARY) & (batch.targets != BOUNDARY)
            assert (batch.targets[inner] == batch.inputs[inner] + 1).all()
        assert sorted(seen) == sorted(
            token for story in shards.stories() for token in story[1:].tolist()
        )


@both_ways
def test_a_segment_starts_where_a_position_s_own_story_does(
    shards: ShardSet, packing: Packing
) -> None:
    batches = Batches([shards], context=96, packing=packing, batch_size=1)
    begins_at_boundary = total = 0
    for step in range(batches.row_count):
        batch = batches.batch_at(step)
        inputs, targets = batch.inputs[0, 0], batch.targets[0, 0]
        for place in range(96):
            start = batch.segment_start[0, 0, place]
            if targets[place] == IGNORED:
                assert start == place
                continue
            seen = inputs[start : place + 1]
            assert (np.diff(seen[1:]) == 1).all()
            assert BOUNDARY not in seen[1:]
            if seen[0] != BOUNDARY:
                assert start == 0 or inputs[start] != inputs[start - 1] + 1
            begins_at_boundary += seen[0] == BOUNDARY
            total += 1
    assert total == shards.lengths.sum()
    assert begins_at_boundary > 0.9 * total


@both_ways
def test_batches_are_a_pure_function_of_the_step(shards: ShardSet, packing: Packing) -> None:
    one, other = (
        Batches([shards], context=32, packing=packing, batch_size=4, seed=3) for _ in range(2)
    )
    for step in (0, 40, 3, 40, 100, 0):
        assert (one.batch_at(step).inputs == other.batch_at(step).inputs).all()
    forward = [one.batch_at(step).targets for step in range(30)]
    backward = [other.batch_at(step).targets for step in reversed(range(30))][::-1]
    assert all((a == b).all() for a, b in zip(forward, backward, strict=True))


def test_packed_once_epochs_and_seeds_give_other_orders_of_the_same_rows(shards: ShardSet) -> None:
    one, other = (
        Batches([shards], context=32, batch_size=1, seed=seed, packing="once") for seed in (0, 1)
    )
    count = one.row_count
    orders = [
        [batches.batch_at(step).inputs.tobytes() for step in range(start, start + count)]
        for batches, start in ((one, 0), (one, count), (one, 2 * count), (other, 0))
    ]
    assert len({tuple(order) for order in orders}) == len(orders)
    assert len({tuple(sorted(order)) for order in orders}) == 1


def test_parts_are_the_rows_in_turn(shards: ShardSet) -> None:
    batch = Batches([shards], context=32, batch_size=5, accumulation=2).batch_at(0)
    parts = batch.parts(2)
    assert [part.inputs.shape for part in parts] == [(2, 3, 32), (2, 2, 32)]
    for name in ("inputs", "targets", "segment_start"):
        joined = np.concatenate([getattr(part, name) for part in parts], axis=1)
        assert (joined == getattr(batch, name)).all()
    assert {part.target_count for part in parts} == {batch.target_count}


def test_a_batch_that_the_stories_do_not_fill_is_refused(shards: ShardSet) -> None:
    with pytest.raises(DataError, match="a batch of 1000: the stories make"):
        Batches([shards], context=32, batch_size=1000)


def test_all_arrays_of_a_batch_have_its_shape(shards: ShardSet) -> None:
    batch = Batches([shards], context=32, batch_size=3, accumulation=2).batch_at(1)
    for array in (batch.inputs, batch.targets, batch.segment_start):
        assert (array.shape, array.dtype) == ((2, 3, 32), np.int32)


def test_steps_take_the_rows_in_turn_over_micro_batches_and_the_end_of_an_epoch(
    shards: ShardSet,
) -> None:
    whole = Batches([shards], context=32, batch_size=1, seed=4)
    count = whole.row_count
    parted = Batches([shards], context=32, batch_size=3, accumulation=2, seed=4)
    for step in (0, 1, count // 6):
        rows = parted.batch_at(step).inputs.reshape(6, 32)
        alone = [whole.batch_at(6 * step + row).inputs[0, 0] for row in range(6)]
        assert (rows == np.array(alone)).all()


@both_ways
def test_a_batch_may_take_all_rows(shards: ShardSet, packing: Packing) -> None:
    count = Batches([shards], context=32, packing=packing, batch_size=1).row_count
    assert (
        Batches([shards], context=32, packing=packing, batch_size=count).batch_at(0).inputs.shape[1]
        == count
    )
    with pytest.raises(DataError, match=f"a batch of {count + 1}: the stories make {count}"):
        Batches([shards], context=32, packing=packing, batch_size=count + 1)


def test_directions_are_read_together(shards: ShardSet) -> None:
    """Each story of each, and no story's rows depend on how many shards hold it."""
    alone = ShardSet(shards.shards[:1])
    batches = Batches([shards, alone], context=32, batch_size=1)
    seen: list[int] = []
    for step in range(batches.row_count):
        batch = batches.batch_at(step)
        seen += batch.targets[batch.targets != IGNORED].tolist()
    assert sorted(seen) == sorted(targets_of(shards) + targets_of(alone))


@both_ways
def test_batches_do_not_depend_on_how_stories_are_divided_into_shards(
    shards: ShardSet, tmp_path: Path, packing: Packing
) -> None:
    stories = [(story[1:-1].tolist(), 1) for story in shards.stories()]
    one = ShardSet((written(tmp_path / "one.bin", stories, shards.vocab_size),))
    parted, whole = (
        Batches([own], context=32, batch_size=4, seed=3, packing=packing) for own in (shards, one)
    )
    for step in (0, 9, 50):
        assert (parted.batch_at(step).inputs == whole.batch_at(step).inputs).all()
        assert (parted.batch_at(step).targets == whole.batch_at(step).targets).all()


def test_an_id_beyond_the_vocabulary_is_refused_when_it_is_read(tmp_path: Path) -> None:
    path = tmp_path / "s.bin"
    written(path, [([5, 6, 7], 1)] * 20, 300)
    content = bytearray(path.read_bytes())
    content[-4:-2] = (300).to_bytes(2, "little")
    path.write_bytes(content)
    damaged = ShardSet((open_shard(path, verify=False),))
    batches = Batches([damaged], context=8, batch_size=1)
    with pytest.raises(DataError, match="token 300 in a vocabulary of 300"):
        [batches.batch_at(step) for step in range(batches.row_count)]
