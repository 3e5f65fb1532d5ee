import hashlib
from pathlib import Path

import numpy as np
import pytest

from mlx_rev.config import Packing
from mlx_rev.data import row_plan
from mlx_rev.data.row_plan import EpochPlan, RowPlan, plan_rows, survey
from mlx_rev.data.shard_set import ShardSet
from mlx_rev.data.shards import divided, open_shard, write_shard

LENGTHS = np.random.default_rng(2).integers(1, 90, 500).astype(np.int32)


@pytest.fixture(autouse=True)
def _small_windows(monkeypatch: pytest.MonkeyPatch) -> None:
    """31 windows of 16 stories or 17, counted two at a time."""
    monkeypatch.setattr(row_plan, "_WINDOW", 16)
    monkeypatch.setattr(row_plan, "_WINDOWS_AT_ONCE", 2)


def segments(plan: RowPlan, number: int) -> list[tuple[int, ...]]:
    return [tuple(segment) for segment in np.transpose(plan.row(number)).tolist()]


def test_an_epoch_holds_every_target_once() -> None:
    plan = EpochPlan(LENGTHS, 64, seed=3)
    for epoch in (0, 1, 5):
        covered = [np.zeros(length, int) for length in LENGTHS]
        for number in range(epoch * plan.row_count, (epoch + 1) * plan.row_count):
            row = segments(plan, number)
            assert 0 < sum(length for _, _, length in row) <= 64
            for story, offset, length in row:
                covered[story][offset : offset + length] += 1
        assert all((story == 1).all() for story in covered)


def test_rows_are_packed_anew_each_epoch_and_for_each_seed() -> None:
    """So the same stories are hardly ever together again."""
    orders = []
    for seed, epoch in ((0, 0), (0, 1), (1, 0)):
        plan = EpochPlan(LENGTHS, 64, seed)
        rows = range(epoch * plan.row_count, (epoch + 1) * plan.row_count)
        orders.append({tuple(sorted(s for s, _, _ in segments(plan, row))) for row in rows})
    alone = {row for row in orders[0] if len(row) == 1}
    for other in orders[1:]:
        assert len((orders[0] - alone) & other) < 0.05 * len(orders[0])


def test_a_row_is_a_function_of_its_number_alone() -> None:
    plan = EpochPlan(LENGTHS, 64, seed=4)
    wanted = [0, 3 * plan.row_count + 7, 40, plan.row_count, 2, plan.row_count - 1, 40]
    found = [segments(plan, number) for number in wanted]
    assert found == [segments(EpochPlan(LENGTHS, 64, seed=4), number) for number in wanted]
    forward = EpochPlan(LENGTHS, 64, seed=4)
    in_turn = [segments(forward, number) for number in range(plan.row_count + 1)]
    assert [in_turn[number] for number in (0, 40, plan.row_count)] == [
        found[0],
        found[2],
        found[3],
    ]


def test_only_the_windows_that_are_read_are_packed(monkeypatch: pytest.MonkeyPatch) -> None:
    packed, pack = [], row_plan.pack

    def counted(lengths: np.ndarray, context: int, rows: int) -> object:
        packed.append(len(lengths))
        return pack(lengths, context, rows)

    monkeypatch.setattr(row_plan, "pack", counted)
    plan = EpochPlan(LENGTHS, 64, seed=5)
    plan.row(0)
    assert packed == [16]
    plan.row(1)
    assert packed == [16]


def test_short_and_long_stories_are_spread_over_an_epoch() -> None:
    sorted_lengths = np.sort(LENGTHS)
    plan = EpochPlan(sorted_lengths, 64, seed=6)
    first = {s for number in range(plan.row_count // 2) for s, _, _ in segments(plan, number)}
    assert 0.4 < np.mean(np.array(list(first)) < 250) < 0.6


def test_the_rows_are_the_same_in_every_version() -> None:
    """A run that was begun with them is resumed with them."""
    plan = EpochPlan(LENGTHS, 64, seed=1337)
    rows = [segments(plan, number) for number in range(0, 2 * plan.row_count, 7)]
    assert hashlib.sha256(repr(rows).encode()).hexdigest()[:16] == "97da3a89cc60b59d"


@pytest.mark.parametrize("packing", ["epoch", "once"])
def test_a_plan_reports_on_all_directions(
    packing: Packing, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(row_plan, "_WINDOWS_MEASURED", 99)
    plan = plan_rows([LENGTHS, LENGTHS[:100]], context=64, seed=7, packing=packing)
    report = plan.report()
    assert (report.rows, report.stories) == (plan.row_count, 600)
    assert report.targets == LENGTHS.sum() + LENGTHS[:100].sum()


def test_of_many_windows_some_are_measured(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(row_plan, "_WINDOWS_MEASURED", 4)
    report = EpochPlan(LENGTHS, 64, seed=7).report()
    assert 4 * 16 <= report.stories <= 4 * 17


def test_rows_of_a_window_are_read_in_no_order(monkeypatch: pytest.MonkeyPatch) -> None:
    """They are packed with the longest stories first."""
    monkeypatch.setattr(row_plan, "_WINDOW", 500)
    plan = EpochPlan(LENGTHS, 96, seed=8)
    longest = [max(plan.row(number)[2]) for number in range(plan.row_count)]
    correlation = np.corrcoef(np.arange(plan.row_count), longest)[0, 1]
    assert abs(correlation) < 4 / np.sqrt(plan.row_count)


def test_of_long_stories_fewer_are_packed_together(monkeypatch: pytest.MonkeyPatch) -> None:
    """But never so few that a row might stay empty."""
    monkeypatch.setattr(row_plan, "_WINDOW", 4096)
    monkeypatch.setattr(row_plan, "_MOST_ROWS", 100)
    monkeypatch.setattr(row_plan, "_WINDOWS_MEASURED", 1)
    for times, most in ((100, 100), (5000, 17)):
        lengths = np.where(np.arange(500) % 50, 1, LENGTHS * times)
        plan = EpochPlan(lengths, 64, seed=9)
        stories = plan.report().stories
        assert 16 <= stories <= most
        held = [len(plan.row(number)[0]) for number in range(0, plan.row_count, 7)]
        assert min(held) > 0


def test_many_stories_are_surveyed_by_some_of_their_shards(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The rows are counted; how well they are packed is much the same."""
    stories = [([5] * (length - 1), length) for length in LENGTHS.tolist()]
    prints = {"tokenizer_fingerprint": "ab" * 32, "corpus_fingerprint": "cd" * 32}
    write_shard(tmp_path / "s.bin", stories, vocab_size=300, order="word", **prints)
    shards = ShardSet(divided(open_shard(tmp_path / "s.bin"), 2000))
    assert len(shards.shards) > 9
    both = {"context": 64, "seed": 0, "packing": "epoch"}
    rows, report = survey([shards, shards], **both)
    assert rows == EpochPlan(np.concatenate([LENGTHS, LENGTHS]), 64, 0).row_count
    monkeypatch.setattr(row_plan, "_SURVEYED", 999)
    few_rows, of_few = survey([shards, shards], **both)
    assert few_rows == rows
    assert of_few != report
    assert of_few.sighted_share == pytest.approx(report.sighted_share, abs=0.1)
