"""A run that begins on the first shard is the run that waited for all of them."""

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import mlx.core as mx
import pytest

from mlx_rev.config import RunConfig
from mlx_rev.data import tokenising
from mlx_rev.data.prepare import Prepared, prepare
from mlx_rev.data.rows import More
from mlx_rev.data.shard_set import ShardSet
from mlx_rev.errors import DataError
from mlx_rev.train.events import Doing, Event
from mlx_rev.train.loop import fit


class Recorder:
    def __init__(self) -> None:
        self.events: list[Event] = []

    def report(self, event: Event) -> None:
        self.events.append(event)


@pytest.fixture
def config(run_config: RunConfig) -> RunConfig:
    """Of two epochs."""
    train = replace(run_config.train, packing="shards", steps=12, batch_size=12, compile=False)
    train = replace(train, eval_stories=1, eval_every=99, save_every=99, sample_every=99)
    return replace(run_config, data=replace(run_config.data, limit=40), train=train)


@pytest.fixture
def whole(config: RunConfig, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Prepared:
    monkeypatch.setattr(tokenising, "SHARD_BYTES", 6000)
    data = prepare(config.data, config.model.vocab_size, tmp_path / "cache")
    assert len(data.train.shards) > 2
    assert data.train.token_count < 120 * config.model.context
    return data


def first_of(data: Prepared) -> Prepared:
    return replace(data, train=ShardSet(data.train.shards[:1]), whole=False)


def arriving(data: Prepared, there: int = 99) -> More:
    """The shards below `there`, each the third time that it is asked for."""
    asked: list[int] = []

    def more(number: int) -> Sequence[ShardSet] | None:
        if asked.count(number) == 2:
            if number >= there:
                raise DataError("the disk is full")
            shards = data.train.shards
            return [ShardSet((shards[number],))] if number < len(shards) else []
        asked.append(number)
        return None

    return more


def weights_of(run: Path) -> dict[str, mx.array]:
    return mx.load(str(run / "checkpoints" / "latest" / "model.safetensors"))


def test_a_run_does_not_depend_on_when_its_shards_come(
    config: RunConfig, whole: Prepared, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("mlx_rev.train.loop._MOMENT", 0.0)
    expected = tmp_path / "expected"
    fit(expected, config, whole, Recorder())
    run, recorder = tmp_path / "run", Recorder()
    with pytest.raises(DataError, match=r"the disk is full; step \d+ is saved: put that right"):
        fit(run, config, first_of(whole), recorder, more=arriving(whole, there=2))
    waited = [event for event in recorder.events if isinstance(event, Doing)]
    assert [event.what for event in waited if "more stories" in event.what] == [
        "waiting for more stories"
    ] * 2
    [saved] = (run / "checkpoints").glob("step-*")
    begun: list[None] = []
    stopped = fit(
        run,
        config,
        first_of(whole),
        Recorder(),
        resume=True,
        more=arriving(whole),
        step_begins=lambda: begun.append(None),
    )
    assert stopped.finished
    assert len(begun) == config.train.steps - int(saved.name.removeprefix("step-"))
    one, other = weights_of(expected), weights_of(run)
    assert all(bool((one[name] == other[name]).all()) for name in one)
