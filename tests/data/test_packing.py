from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from mlx_rev.data.packing import PackedRows, pack, packing_report, rows_for
from mlx_rev.text.order import WORD
from mlx_rev.text.sentencepiece import SentencePiece

sizes = st.lists(st.integers(1, 90), min_size=1, max_size=60)


def check_whole(rows: PackedRows, lengths: np.ndarray, context: int) -> None:
    """All stories are there once, in rows that hold them, of which none is empty."""
    order = np.lexsort((rows.offsets, rows.stories))
    stories, offsets, own = rows.stories[order], rows.offsets[order], rows.lengths[order]
    assert (own > 0).all()
    for story, length in enumerate(lengths):
        pieces = own[stories == story]
        assert pieces.sum() == length
        assert (offsets[stories == story] == np.cumsum(pieces) - pieces).all()
    held = np.diff(rows.first)
    assert (held > 0).all()
    assert (np.add.reduceat(rows.lengths, rows.first[:-1]) <= context).all()
    assert rows.first[-1] == len(rows.lengths)


@given(sizes, st.integers(2, 64), st.integers(0, 9))
def test_as_many_rows_as_asked_for_hold_all_stories(
    own: list[int], context: int, more: int
) -> None:
    lengths = np.array(own)
    least = -(-sum(own) // context)
    rows = min(least + more, sum(own))
    packed = pack(lengths, context, rows)
    assert packed.count == rows
    check_whole(packed, lengths, context)


@given(st.lists(st.integers(5, 10_000), min_size=1, max_size=50), st.integers(2, 600))
def test_each_part_of_a_sequence_has_room_in_the_rows_between(
    parts: list[int], context: int
) -> None:
    """With a row more for each part, as a plan gives them; and the padding stays small."""
    before = rows_for(np.cumsum([0, *parts]), context) + np.arange(len(parts) + 1)
    assert (np.diff(before) * context >= parts).all()
    assert (np.diff(before) <= parts).all()
    wasted = (before[-1] - len(parts)) * context - sum(parts)
    assert -context < wasted <= 0.015 * sum(parts)


@given(st.integers(8, 64), st.data())
def test_two_stories_that_make_a_row_are_put_in_one(context: int, data: st.DataObject) -> None:
    """Best fit: the shorter of each pair finds the gap that its like leaves, and no other."""
    short = data.draw(st.lists(st.integers(1, (context - 1) // 2), min_size=1, max_size=40))
    pairs = [*short, *(context - size for size in short)]
    lengths = np.array(data.draw(st.permutations(pairs)))
    report = packing_report(pack(lengths, context, len(short)), lengths, context)
    assert (report.padding, report.cut) == (0, 0)


def best_fit(own: list[int], context: int) -> int:
    """The rows that are needed, by the definition: the longest first, each where least is left."""
    gaps: list[int] = []
    for size in sorted(own, reverse=True):
        left = [(gap - size, row) for row, gap in enumerate(gaps) if gap >= size]
        if left:
            gaps[min(left)[1]] -= size
        else:
            gaps.append(context - size)
    return len(gaps)


@pytest.mark.parametrize("seed", range(4))
def test_stories_that_fit_are_packed_best_fit_decreasing(seed: int) -> None:
    lengths = np.random.default_rng(seed).integers(3, 40, 400)
    needed = best_fit(lengths.tolist(), 64)
    for rows in (needed, needed + 5):
        assert packing_report(pack(lengths, 64, rows), lengths, 64).cut == 0
    if (needed - 1) * 64 >= lengths.sum():
        assert packing_report(pack(lengths, 64, needed - 1), lengths, 64).cut > 0


def test_only_long_stories_are_cut_where_they_suffice() -> None:
    lengths = np.concatenate([np.random.default_rng(1).integers(20, 60, 900), np.full(200, 300)])
    report = packing_report(pack(lengths, 64, rows_for(lengths.sum(), 64) + 1), lengths, 64)
    assert (report.cut, report.fitting_cut) == (200, 0)
    assert report.padding <= 0.02


def test_long_stories_come_in_as_few_pieces_as_their_length_allows() -> None:
    """88 in rows of 64: a whole row each, and gaps of 24 for what remains."""
    lengths = np.array([64] * 20 + [40] * 30 + [88] * 30)
    report = packing_report(pack(lengths, 64, 20 + 30 + 30), lengths, 64)
    assert (report.cut, report.pieces, report.fitting_cut) == (30, 60, 0)


def test_all_long_stories_get_a_row_before_one_gets_two() -> None:
    """So that as many targets as possible see their boundary."""
    lengths = np.array([40] * 8 + [192, 128, 128])  # eight gaps of 24
    rows = pack(lengths, 64, 8 + 4)
    report = packing_report(rows, lengths, 64)
    assert report.padding < 0.01
    assert (rows.lengths[(rows.offsets == 0) & (rows.stories >= 8)] == 64).all()


def test_stories_that_fit_are_cut_where_nothing_else_fills_the_gaps() -> None:
    lengths = np.full(200, 40)
    report = packing_report(pack(lengths, 64, rows_for(8000, 64) + 1), lengths, 64)
    assert report.padding <= 0.02
    assert 0 < report.fitting_cut == report.cut < 100
    assert 0.8 < report.sighted_share < 1


def test_the_report_of_rows_packed_by_hand() -> None:
    """Stories of 4, 2, 6 and 3 targets in rows of 4: the third is cut, and too long to be whole."""
    lengths = np.array([4, 2, 6, 3])
    rows = PackedRows(
        *map(np.array, ([0, 1, 3, 4, 5], [0, 1, 2, 2, 3], [0, 0, 4, 0, 0], [4, 2, 2, 4, 3]))
    )
    report = packing_report(rows, lengths, 4)
    assert (report.rows, report.stories, report.cut, report.pieces_per_cut_story) == (4, 4, 1, 2)
    assert report.padding == pytest.approx(1 / 16)
    assert report.sighted_share == pytest.approx(13 / 15)
    assert report.fitting_cut == 0
    # The first in two rows.
    stories, offsets, own = [0, 0, 1, 2, 2, 3], [0, 1, 0, 0, 4, 0], [1, 3, 2, 4, 2, 3]
    rows = PackedRows(*map(np.array, (range(7), stories, offsets, own)))
    report = packing_report(rows, lengths, 4)
    assert (report.rows, report.cut, report.fitting_cut, report.pieces) == (6, 2, 1, 4)
    assert report.padding == pytest.approx(9 / 24)
    assert report.sighted_share == pytest.approx(10 / 15)
    twice = report + report
    assert (twice.rows, twice.pieces_per_cut_story, twice.padding) == (12, 2, report.padding)


@pytest.mark.parametrize("vocabulary", ["own", "llama"])
def test_real_stories_are_packed_well(shared: Path, vocabulary: str) -> None:
    with open(shared / "tinystories" / "train.txt", encoding="utf-8") as file:
        text = file.read(2_000_000)
    stories = [WORD.reverse(story.strip()) for story in text.split("<|endoftext|>")[:1500]]
    if vocabulary == "own":
        tokenizer, context = SentencePiece.train(stories[:500], 512), 512
    else:
        tokenizer, context = SentencePiece.load(shared / "llama2c" / "tokenizer.model"), 256
    lengths = np.array([len(ids) + 1 for ids in tokenizer.encode_batch(stories)])
    rows = rows_for(int(lengths.sum()), context) + 1
    report = packing_report(pack(lengths, context, rows), lengths, context)
    assert report.padding <= 0.02
    assert report.fitting_cut == 0
    assert report.pieces_per_cut_story < 5
