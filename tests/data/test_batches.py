from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from mlx_rev.data.batches import IGNORED, Batches
from mlx_rev.data.packing import Rows, pack, packing_report
from mlx_rev.data.shards import Shard, open_shard, write_shard
from mlx_rev.errors import DataError
from mlx_rev.text.order import WORD
from mlx_rev.text.sentencepiece import SentencePiece
from mlx_rev.text.tokenizer import BOUNDARY

lengths = st.lists(st.integers(1, 90), min_size=8, max_size=60)


def positions(sizes: list[int]) -> np.ndarray:
    """Story positions for stories of these many targets."""
    return np.concatenate([[0], np.cumsum(sizes)]).astype(np.uint64)


@pytest.fixture(scope="module")
def shard(tmp_path_factory: pytest.TempPathFactory) -> Shard:
    """Stories whose every token is a different number."""
    path = tmp_path_factory.mktemp("shard") / "s.bin"
    sizes, first, stories = np.random.default_rng(0).integers(3, 80, 60), 3, []
    for size in sizes.tolist():
        stories.append((list(range(first, first + size)), 1))
        first += size
    sha = "00" * 32
    write_shard(
        path,
        stories,
        vocab_size=first,
        order="none",
        tokenizer_fingerprint=sha,
        corpus_fingerprint=sha,
    )
    return open_shard(path)


@given(lengths, st.integers(4, 64))
def test_rows_cover_the_stream_once_and_hold_what_they_can(sizes: list[int], context: int) -> None:
    starts = positions(sizes)
    rows = pack(starts, context)
    covered = np.zeros(sum(sizes), int)
    for start, length in zip(rows.starts, rows.lengths, strict=True):
        covered[start : start + length] += 1
    assert (covered == 1).all()
    assert (np.add.reduceat(rows.lengths, rows.first[:-1]) <= context).all()
    assert (np.diff(rows.first) > 0).all()


@given(lengths, st.integers(4, 64))
def test_at_most_a_twentieth_of_fitting_targets_is_cut_from_its_boundary(
    sizes: list[int], context: int
) -> None:
    starts = positions(sizes)
    assert packing_report(pack(starts, context), starts, context).sighted >= 0.95


def test_only_long_stories_are_cut_where_they_suffice() -> None:
    sizes = np.random.default_rng(1).integers(20, 60, 900).tolist() + [300] * 200
    starts = positions(sizes)
    report = packing_report(pack(starts, 64), starts, 64)
    assert report.sighted == 1
    assert report.stories_cut == 200
    assert report.padding <= 0.02


def test_every_token_is_a_target_once_an_epoch_and_follows_its_input(shard: Shard) -> None:
    batches = Batches([shard], context=32, batch_size=1, seed=5)
    for start in (0, batches.row_count):
        seen: list[int] = []
        for step in range(start, start + batches.row_count):
            batch = batches.batch_at(step)
            real = batch.targets != IGNORED
            assert batch.target_count == real.sum()
            seen += batch.targets[real].tolist()
            inner = real & (batch.inputs != BOUNDARY) & (batch.targets != BOUNDARY)
            assert (batch.targets[inner] == batch.inputs[inner] + 1).all()
        assert sorted(seen) == sorted(shard.tokens[1:].tolist())


def test_a_segment_starts_where_a_position_s_own_story_does(shard: Shard) -> None:
    batches = Batches([shard], context=96, batch_size=1)
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
    assert total == len(shard.tokens) - 1
    assert begins_at_boundary > 0.9 * total


def test_batches_are_a_pure_function_of_the_step(shard: Shard) -> None:
    one, other = (Batches([shard], context=32, batch_size=4, seed=3) for _ in range(2))
    for step in (0, 40, 3, 40, 100, 0):
        assert (one.batch_at(step).inputs == other.batch_at(step).inputs).all()
    forward = [one.batch_at(step).targets for step in range(30)]
    backward = [other.batch_at(step).targets for step in reversed(range(30))][::-1]
    assert all((a == b).all() for a, b in zip(forward, backward, strict=True))


def test_epochs_and_seeds_give_other_orders_of_the_same_rows(shard: Shard) -> None:
    one, other = (Batches([shard], context=32, batch_size=1, seed=seed) for seed in (0, 1))
    count = one.row_count
    orders = [
        [batches.batch_at(step).inputs.tobytes() for step in range(start, start + count)]
        for batches, start in ((one, 0), (one, count), (one, 2 * count), (other, 0))
    ]
    assert len({tuple(order) for order in orders}) == len(orders)
    assert len({tuple(sorted(order)) for order in orders}) == 1


def test_parts_are_the_rows_in_turn(shard: Shard) -> None:
    batch = Batches([shard], context=32, batch_size=5, accumulation=2).batch_at(0)
    parts = batch.parts(2)
    assert [part.inputs.shape for part in parts] == [(2, 3, 32), (2, 2, 32)]
    for name in ("inputs", "targets", "segment_start"):
        joined = np.concatenate([getattr(part, name) for part in parts], axis=1)
        assert (joined == getattr(batch, name)).all()
    assert {part.target_count for part in parts} == {batch.target_count}


def test_a_batch_that_the_stories_do_not_fill_is_refused(shard: Shard) -> None:
    with pytest.raises(DataError, match="too few for a batch of 1000"):
        Batches([shard], context=32, batch_size=1000)


@pytest.mark.parametrize("vocabulary", ["own", "llama"])
def test_real_stories_are_packed_well(shared: Path, vocabulary: str) -> None:
    text = (shared / "tinystories" / "train.txt").read_text(encoding="utf-8")
    stories = [WORD.reverse(story.strip()) for story in text.split("<|endoftext|>")[:4000]]
    if vocabulary == "own":
        tokenizer, context = SentencePiece.train(stories[:3000], 512), 512
    else:
        tokenizer, context = SentencePiece.load(shared / "llama2c" / "tokenizer.model"), 256
    starts = positions([len(ids) + 1 for ids in tokenizer.encode_batch(stories)])
    report = packing_report(pack(starts, context), starts, context)
    assert report.sighted >= 0.95
    assert report.padding <= 0.02
    assert report.pieces_per_cut_story < 6


def test_the_report_of_rows_packed_by_hand() -> None:
    """Stories of 4, 2, 6 and 3 targets in rows of 4: the third is cut, and too long to be whole."""
    starts = positions([4, 2, 6, 3])
    rows = Rows(*map(np.array, ([0, 1, 3, 4, 5], [0, 4, 10, 6, 12], [4, 2, 2, 4, 3])))
    report = packing_report(rows, starts, 4)
    assert (report.rows, report.stories_cut, report.pieces_per_cut_story) == (4, 1, 2)
    assert report.padding == pytest.approx(1 / 16)
    assert report.sighted == 1
    # The first in two rows: of 9 targets that fit, 3 are without their boundary.
    rows = Rows(*map(np.array, ([0, 1, 2, 3, 4, 5, 6], [0, 1, 4, 6, 10, 12], [1, 3, 2, 4, 2, 3])))
    report = packing_report(rows, starts, 4)
    assert (report.rows, report.stories_cut, report.pieces_per_cut_story) == (6, 2, 2)
    assert report.padding == pytest.approx(9 / 24)
    assert report.sighted == pytest.approx(6 / 9)
    nothing_fits = packing_report(pack(positions([9, 9]), 4), positions([9, 9]), 4)
    assert nothing_fits.sighted == 1


@given(st.integers(8, 64), st.data())
def test_two_stories_that_make_a_row_are_put_in_one(context: int, data: st.DataObject) -> None:
    """Best fit: the shorter of each pair finds the gap that its like leaves, and no other."""
    short = data.draw(st.lists(st.integers(1, (context - 1) // 2), min_size=1, max_size=40))
    sizes = [*short, *(context - size for size in short)]
    starts = positions(data.draw(st.permutations(sizes)))
    report = packing_report(pack(starts, context), starts, context)
    assert (report.rows, report.padding, report.stories_cut) == (len(short), 0, 0)


def best_fit(sizes: list[int], context: int) -> int:
    """The rows that are needed, by the definition: the longest first, each where least is left."""
    gaps: list[int] = []
    for size in sorted(sizes, reverse=True):
        left = [(gap - size, row) for row, gap in enumerate(gaps) if gap >= size]
        if left:
            gaps[min(left)[1]] -= size
        else:
            gaps.append(context - size)
    return len(gaps)


@pytest.mark.parametrize("seed", range(4))
def test_stories_that_fit_are_packed_best_fit_decreasing(seed: int) -> None:
    sizes = np.random.default_rng(seed).integers(3, 40, 400).tolist()
    starts = positions(sizes)
    report = packing_report(pack(starts, 64), starts, 64)
    assert (report.rows, report.stories_cut) == (best_fit(sizes, 64), 0)
    assert report.padding <= 0.02


def test_long_stories_fill_the_gaps_before_they_take_rows_of_their_own() -> None:
    sizes = [48] * 100 + [160] * 10
    starts = positions(sizes)
    report = packing_report(pack(starts, 64), starts, 64)
    assert report.padding <= 0.02
    assert (report.stories_cut, report.sighted) == (10, 1)


def test_stories_that_fit_are_cut_where_nothing_else_fills_the_gaps() -> None:
    """But for no more than a twentieth of the targets."""
    starts = positions([40] * 200)
    report = packing_report(pack(starts, 64), starts, 64)
    assert report.rows < 190
    assert 0 < report.stories_cut < 40
    assert 0.95 <= report.sighted < 1


def test_all_arrays_of_a_batch_have_its_shape(shard: Shard) -> None:
    batch = Batches([shard], context=32, batch_size=3, accumulation=2).batch_at(1)
    for array in (batch.inputs, batch.targets, batch.segment_start):
        assert (array.shape, array.dtype) == ((2, 3, 32), np.int32)


def test_steps_take_the_rows_in_turn_over_micro_batches_and_the_end_of_an_epoch(
    shard: Shard,
) -> None:
    whole = Batches([shard], context=32, batch_size=1, seed=4)
    count = whole.row_count
    parted = Batches([shard], context=32, batch_size=3, accumulation=2, seed=4)
    for step in (0, 1, count // 6):
        rows = parted.batch_at(step).inputs.reshape(6, 32)
        alone = [whole.batch_at(6 * step + row).inputs[0, 0] for row in range(6)]
        assert (rows == np.array(alone)).all()


def test_a_batch_may_take_all_rows(shard: Shard) -> None:
    count = Batches([shard], context=32, batch_size=1).row_count
    assert Batches([shard], context=32, batch_size=count).batch_at(0).inputs.shape[1] == count
    with pytest.raises(DataError, match=f"too few for a batch of {count + 1}"):
        Batches([shard], context=32, batch_size=count + 1)
