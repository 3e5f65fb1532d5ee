"""What a run begins with, which checkpoint is its best, and what stops it."""

import math
from dataclasses import replace
from pathlib import Path

import mlx.core as mx
import pytest

from mlx_rev.config import RunConfig
from mlx_rev.data.prepare import Prepared
from mlx_rev.errors import ConfigError, TrainingError
from mlx_rev.model.score import Score
from mlx_rev.train.events import Evaluated, Event
from mlx_rev.train.loop import beginning, fit
from mlx_rev.train.step import TrainingStep


class Recorder:
    def __init__(self) -> None:
        self.evaluated: list[Evaluated] = []

    def report(self, event: Event) -> None:
        if isinstance(event, Evaluated):
            self.evaluated.append(event)


def changed(config: RunConfig, **train: object) -> RunConfig:
    return replace(config, train=replace(config.train, **train))


def scoring(monkeypatch: pytest.MonkeyPatch, *bits: float) -> None:
    """Let evaluations find these bits per byte, one after another; a state is sound."""
    rest = iter(bits)

    def evaluate(model: object, shards: object, stories: int) -> Score:
        return Score(nats=1.0 if stories == 1 else next(rest) * math.log(2), tokens=1, text_bytes=1)

    monkeypatch.setattr("mlx_rev.train.loop.evaluate", evaluate)


def test_the_best_of_two_directions_has_the_lowest_mean(
    run_config: RunConfig, prepared: Prepared, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    scoring(monkeypatch, *(2.0, 4.0), *(1.0, 6.0), *(3.25, 3.0), *(2.5, 3.0))
    config, recorder = changed(run_config, steps=4, eval_every=1), Recorder()
    fit(tmp_path, config, replace(prepared, opposite=prepared), recorder)
    assert [event.best for event in recorder.evaluated] == [True, False, False, True]
    assert [event.forward_bits_per_byte for event in recorder.evaluated] == [4, 6, 3, 3]


@pytest.mark.parametrize("bits", [(float("nan"), 1.0), (1.0, float("nan")), (1.0, 1e31)])
def test_no_direction_may_have_a_validation_loss_that_is_no_number(
    run_config: RunConfig,
    prepared: Prepared,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    bits: tuple[float, float],
) -> None:
    scoring(monkeypatch, *bits)
    config, recorder = changed(run_config, steps=1), Recorder()
    with pytest.raises(TrainingError, match="the validation loss after step 1 is"):
        fit(tmp_path, config, replace(prepared, opposite=prepared), recorder)
    assert not recorder.evaluated


def test_a_run_begins_with_weights_of_its_seed_and_deviations(run_config: RunConfig) -> None:
    """Or with given ones, of its shape."""
    one, other = (
        beginning(changed(run_config, seed=seed, init_std=0.5, embedding_init_std=0.01)).weights
        for seed in (1, 2)
    )
    for name, deviation in (("embed_tokens", 0.01), ("layers.0.self_attn.q_proj", 0.5)):
        drawn = one[f"model.{name}.weight"]
        assert mx.std(drawn).item() == pytest.approx(deviation, rel=0.1)
        assert not mx.array_equal(drawn, other[f"model.{name}.weight"])
    with pytest.raises(ConfigError, match="has shape"):
        beginning(run_config, {"model.norm.weight": mx.ones((3,))})


def test_options_that_are_impossible_are_refused(
    run_config: RunConfig, prepared: Prepared, tmp_path: Path
) -> None:
    with pytest.raises(ConfigError, match="keep is 0, expected more than 0"):
        fit(tmp_path, changed(run_config, keep=0), prepared, Recorder())
    assert not any(tmp_path.iterdir())


def test_a_fault_on_one_machine_is_not_laid_on_another_and_the_workers_end(
    run_config: RunConfig, prepared: Prepared, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    closed: list[TrainingStep] = []
    monkeypatch.setattr(TrainingStep, "close", lambda step: closed.append(step))

    def fail() -> None:
        raise RuntimeError("out of memory")

    with pytest.raises(RuntimeError, match="out of memory"):
        fit(tmp_path, run_config, prepared, Recorder(), step_begins=fail)
    assert len(closed) == 1
