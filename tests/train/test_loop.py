import json
from dataclasses import replace
from pathlib import Path

import mlx.core as mx
import numpy as np
import pytest

from mlx_rev import estimate
from mlx_rev.backend import choose
from mlx_rev.config import Dtype, RunConfig
from mlx_rev.data.prepare import Prepared
from mlx_rev.errors import CheckpointError, ConfigError, TrainingError
from mlx_rev.model.load import load_model
from mlx_rev.train import checkpoint
from mlx_rev.train.events import Doing, Evaluated, Event, Sampled, Saved, Started, Stepped, Stopped
from mlx_rev.train.loop import beginning, evaluate, fit
from mlx_rev.train.optimizer import learning_rate
from mlx_rev.train.rehearsal import rehearse
from mlx_rev.train.runlog import read_metrics
from mlx_rev.train.step import TrainingStep


class Recorder:
    def __init__(self) -> None:
        self.events: list[Event] = []

    def report(self, event: Event) -> None:
        self.events.append(event)

    def of(self, kind: type) -> list:
        return [event for event in self.events if isinstance(event, kind)]


def changed(config: RunConfig, **train: object) -> RunConfig:
    return replace(config, train=replace(config.train, **train))


def weights_of(run: Path) -> dict[str, mx.array]:
    return mx.load(str(run / "checkpoints" / "latest" / "model.safetensors"))


def same(one: dict[str, mx.array], other: dict[str, mx.array]) -> bool:
    return one.keys() == other.keys() and all(bool((one[n] == other[n]).all()) for n in one)


def logged(run: Path) -> list[dict]:
    """The metrics without what depends on the clock."""
    entries = read_metrics(run / "metrics.jsonl")
    return [
        {k: v for k, v in entry.items() if k not in ("tokens_per_second", "peak_memory")}
        for entry in entries
    ]


@pytest.fixture(scope="module")
def whole_run(
    run_config: RunConfig, prepared: Prepared, tmp_path_factory: pytest.TempPathFactory
) -> tuple[Path, Recorder]:
    run, recorder = tmp_path_factory.mktemp("run"), Recorder()
    fit(run, run_config, prepared, recorder, write_story=lambda model, step: f"story {step}")
    return run, recorder


def test_a_run_reports_and_keeps_what_it_should(
    run_config: RunConfig, whole_run: tuple[Path, Recorder]
) -> None:
    run, recorder = whole_run
    model, train = run_config.model, run_config.train
    tokens = train.batch_size * model.context
    assert recorder.events[0] == Started(run, 0, 12, estimate.parameters(model), tokens)
    assert recorder.events[-1] == Stopped(12, run, finished=True)
    assert [event.step for event in recorder.of(Stepped)] == [5, 10]
    assert [event.step for event in recorder.of(Evaluated)] == [6, 12]
    told = [Sampled(step, train.ending, f"story {step}") for step in (6, 12)]
    assert recorder.of(Sampled) == told
    assert [event.step for event in recorder.of(Saved)] == [4, 6, 8, 12]  # at 6 as the best
    kept = sorted(path.name for path in (run / "checkpoints").glob("step-*"))
    assert kept == ["step-00000008", "step-00000012"]
    assert (run / "checkpoints" / "best").resolve().name == "step-00000012"
    assert "story 6" in (run / "samples.md").read_text()
    assert [entry["kind"] for entry in logged(run)].count("step") == 2


def test_who_begins_a_run_holds_none_of_its_arrays_while_it_trains(
    run_config: RunConfig, prepared: Prepared, tmp_path: Path, whole_run: tuple[Path, Recorder]
) -> None:
    given = weights_of(whole_run[0])
    state = beginning(run_config, dict(given))
    fit(tmp_path, changed(run_config, steps=1), prepared, Recorder(), initial=given)
    assert not given
    rehearse(run_config, prepared, state, choose())
    assert not any((state.weights, *state.moments))


def test_tokens_per_second_are_tokens_over_time(
    run_config: RunConfig, prepared: Prepared, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """With a clock that moves by a quarter of a second from one look to the next. A line after a
    resume is of the steps since then."""
    ticks, steps = iter(range(10_000)), iter(range(7))
    monkeypatch.setattr("mlx_rev.train.loop.time.perf_counter", lambda: next(ticks) / 4)
    recorder, config = Recorder(), changed(run_config, batch_size=2, accumulation=2)
    fit(tmp_path, config, prepared, recorder, should_stop=lambda: next(steps, None) is None)
    fit(tmp_path, config, prepared, recorder, resume=True)
    tokens = 2 * 2 * run_config.model.context
    assert [event.tokens_per_step for event in recorder.of(Started)] == [tokens] * 2
    assert [event.tokens_per_second for event in recorder.of(Stepped)] == [4 * tokens] * 2


def test_the_logged_learning_rate_is_that_of_its_step(
    run_config: RunConfig, whole_run: tuple[Path, Recorder]
) -> None:
    found = [event.learning_rate for event in whole_run[1].of(Stepped)]
    assert found == [learning_rate(step - 1, run_config.train) for step in (5, 10)]


def test_a_line_has_the_mean_loss_since_the_last_one_and_its_own_steps_norm(
    run_config: RunConfig, prepared: Prepared, tmp_path: Path
) -> None:
    """And whatever the intervals are, the last step is evaluated, and a story told."""
    recorders = Recorder(), Recorder()
    for every, recorder in enumerate(recorders, start=1):
        config = changed(run_config, steps=4, log_every=every, eval_every=3, sample_every=3)
        fit(tmp_path / str(every), config, prepared, recorder, write_story=lambda model, step: "")
        assert [event.step for event in recorder.of(Evaluated)] == [3, 4]
        assert [event.step for event in recorder.of(Sampled)] == [3, 4]
    each, pairs = (recorder.of(Stepped) for recorder in recorders)
    losses, norms = ([getattr(line, name) for line in each] for name in ("loss", "gradient_norm"))
    assert len(set(losses)) == 4
    assert min(norms) > 0
    assert [line.loss for line in pairs] == [sum(losses[:2]) / 2, sum(losses[2:]) / 2]
    assert [line.gradient_norm for line in pairs] == norms[1::2]


def test_the_loss_falls(run_config: RunConfig, prepared: Prepared, tmp_path: Path) -> None:
    recorder = Recorder()
    config = changed(run_config, steps=60, log_every=20, eval_every=60, save_every=60)
    config = replace(config, model=replace(config.model, context=48))
    fit(tmp_path, config, prepared, recorder)
    losses = [event.loss for event in recorder.of(Stepped)]
    assert losses[0] > 4
    assert losses[-1] < losses[0] - 0.5


def test_stopping_and_going_on_changes_nothing(
    run_config: RunConfig, prepared: Prepared, whole_run: tuple[Path, Recorder], tmp_path: Path
) -> None:
    steps = iter(range(7))
    stopped = fit(
        tmp_path,
        run_config,
        prepared,
        Recorder(),
        write_story=lambda model, step: f"story {step}",
        should_stop=lambda: next(steps, None) is None,
    )
    assert (stopped.step, stopped.finished) == (7, False)
    fit(
        tmp_path,
        run_config,
        prepared,
        Recorder(),
        resume=True,
        write_story=lambda model, step: f"story {step}",
    )
    assert same(weights_of(tmp_path), weights_of(whole_run[0]))
    assert logged(tmp_path) == logged(whole_run[0])
    assert (tmp_path / "samples.md").read_text() == (whole_run[0] / "samples.md").read_text()


@pytest.mark.parametrize("workers", [1, 2])
def test_muon_learns_and_resumes_to_the_bit(
    run_config: RunConfig, prepared: Prepared, tmp_path: Path, workers: int
) -> None:
    config = changed(run_config, optimizer="muon", workers=workers, log_every=4, compile=True)
    whole = Recorder()
    fit(tmp_path / "whole", config, prepared, whole)
    losses = [event.loss for event in whole.of(Stepped)]
    assert losses[-1] < losses[0] - 0.3
    steps = iter(range(7))
    halves = tmp_path / "halves"
    stopped = fit(
        halves, config, prepared, Recorder(), should_stop=lambda: next(steps, None) is None
    )
    assert stopped.step == 7
    fit(halves, config, prepared, Recorder(), resume=True)
    assert same(weights_of(tmp_path / "whole"), weights_of(halves))


def test_a_run_of_adamw_may_go_on_with_muon_but_not_the_other_way(
    run_config: RunConfig, prepared: Prepared, tmp_path: Path
) -> None:
    muon = changed(run_config, optimizer="muon", steps=14)
    fit(tmp_path, run_config, prepared, Recorder())
    fit(tmp_path, muon, prepared, Recorder(), resume=True)
    with pytest.raises(CheckpointError, match=r"trained by Muon, .* leave out --optimizer"):
        fit(tmp_path, changed(run_config, steps=16), prepared, Recorder(), resume=True)


def test_what_was_logged_after_the_checkpoint_is_forgotten_on_resume(
    run_config: RunConfig, prepared: Prepared, whole_run: tuple[Path, Recorder], tmp_path: Path
) -> None:
    """As after kill -9: the log is ahead of the checkpoint, its last line cut."""
    steps = iter(range(4))
    fit(tmp_path, run_config, prepared, Recorder(), should_stop=lambda: next(steps, None) is None)
    with open(tmp_path / "metrics.jsonl", "a") as file:
        file.write(json.dumps({"kind": "step", "step": 5, "loss": 99.0}) + "\n")
        file.write('{"kind": "eval", "st')
    fit(tmp_path, run_config, prepared, Recorder(), resume=True)
    expected = [entry for entry in logged(whole_run[0]) if entry["kind"] != "sample"]
    assert logged(tmp_path) == expected


SHORT = {"steps": 6, "log_every": 3, "eval_every": 6, "save_every": 6}


def test_the_compiled_step_gives_the_same_losses_and_resumes_to_the_bit(
    run_config: RunConfig, prepared: Prepared, tmp_path: Path
) -> None:
    """With as much dropout as in the tests of the step, which have these kernels."""
    for name in ("eager", "compiled"):
        config = changed(run_config, compile=name == "compiled", **SHORT)
        fit(tmp_path / name, config, prepared, Recorder())
    steps, resumed = iter(range(3)), tmp_path / "resumed"
    fit(resumed, config, prepared, Recorder(), should_stop=lambda: next(steps, None) is None)
    fit(resumed, config, prepared, Recorder(), resume=True)
    assert same(weights_of(resumed), weights_of(tmp_path / "compiled"))
    eager, compiled = (
        [e["loss"] for e in logged(tmp_path / name) if e["kind"] == "step"]
        for name in ("eager", "compiled")
    )
    assert compiled == pytest.approx(eager, abs=1e-4)


def test_accumulated_micro_batches_are_one_batch(
    run_config: RunConfig, prepared: Prepared, tmp_path: Path
) -> None:
    plain = replace(run_config, model=replace(run_config.model, dropout=0.0))
    for name, sizes in (("one", (8, 1)), ("four", (2, 4))):
        config = changed(plain, batch_size=sizes[0], accumulation=sizes[1], **SHORT)
        fit(tmp_path / name, config, prepared, Recorder())
    one, four = (
        [e["loss"] for e in logged(tmp_path / name) if e["kind"] == "step"]
        for name in ("one", "four")
    )
    assert one == pytest.approx(four, abs=1e-4)


def test_a_loss_that_is_no_number_stops_the_run_and_keeps_the_checkpoint(
    run_config: RunConfig, prepared: Prepared, tmp_path: Path
) -> None:
    config = changed(run_config, gradient_clip=0.0, save_every=1, warmup=0)
    steps = iter(range(2))
    fit(tmp_path, config, prepared, Recorder(), should_stop=lambda: next(steps, None) is None)
    good = weights_of(tmp_path)
    wild = changed(config, learning_rate=1e30, min_learning_rate=1e30)
    with pytest.raises(TrainingError, match=r"loss of step \d+ is (nan|inf).*step 2 is kept"):
        fit(tmp_path, changed(wild, save_every=100), prepared, Recorder(), resume=True)
    assert same(weights_of(tmp_path), good)
    with pytest.raises(TrainingError, match="no checkpoint was saved before; start again"):
        fit(tmp_path / "new", changed(wild, save_every=100), prepared, Recorder())


WILD = {"learning_rate": 1e30, "min_learning_rate": 1e30, "gradient_clip": 0.0}


@pytest.mark.parametrize("due", ["save_every", "eval_every", "sample_every"])
@pytest.mark.parametrize("harm", ["weights", "mean", "square", "overflow"])
def test_a_state_that_is_no_good_is_not_saved_evaluated_or_sampled(
    run_config: RunConfig,
    prepared: Prepared,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    due: str,
    harm: str,
) -> None:
    """Broken by the update of a step whose own loss is still good."""
    rare = {"save_every": 100, "eval_every": 100, "sample_every": 100}
    config = changed(run_config, **rare)
    steps = iter(range(2))
    fit(tmp_path, config, prepared, Recorder(), should_stop=lambda: next(steps, None) is None)
    good = weights_of(tmp_path)
    whole_step = TrainingStep.__call__

    def broken(self: TrainingStep, *given: object) -> object:
        loss = whole_step(self, *given)  # type: ignore[arg-type]
        arrays = {"mean": self.moments.mean, "square": self.moments.square}.get(harm, self.weights)
        name = "model.norm.weight"
        arrays[name] = mx.full(arrays[name].shape, 1e38 if harm == "overflow" else float("nan"))
        return loss

    monkeypatch.setattr(TrainingStep, "__call__", broken)
    recorder = Recorder()
    said = "the loss after step 3 is" if harm == "overflow" else "step 3 left weights or moments"
    with pytest.raises(TrainingError, match=rf"{said}.*; the checkpoint of step 2 is kept"):
        fit(
            tmp_path,
            changed(config, **{due: 3}),
            prepared,
            recorder,
            resume=True,
            write_story=lambda model, step: "never",
        )
    assert {type(event) for event in recorder.events} <= {Started, Doing}
    assert (tmp_path / "checkpoints" / "latest").resolve().name == "step-00000002"
    assert same(weights_of(tmp_path), good)


def test_with_every_step_saved_evaluated_and_sampled_the_one_kept_is_good(
    run_config: RunConfig, prepared: Prepared, tmp_path: Path
) -> None:
    steps = iter(range(2))
    fit(tmp_path, run_config, prepared, Recorder(), should_stop=lambda: next(steps, None) is None)
    wild = changed(run_config, **WILD, save_every=1, eval_every=1, sample_every=1, log_every=1)
    recorder = Recorder()
    with pytest.raises(TrainingError) as error:
        fit(tmp_path, wild, prepared, recorder, resume=True, write_story=lambda model, step: "")
    last = recorder.of(Saved)[-1].step if recorder.of(Saved) else 2
    assert f"the checkpoint of step {last} is kept" in str(error.value)
    state = checkpoint.load(tmp_path, run_config, corpus_fingerprint=prepared.corpus_fingerprint)
    assert state.progress.step == last
    arrays = [state.weights, *state.moments]
    assert all(mx.isfinite(array).all().item() for kind in arrays for array in kind.values())
    assert all(entry["step"] <= last + 1 for entry in logged(tmp_path))


def test_what_a_start_left_that_came_to_no_checkpoint_is_replaced(
    run_config: RunConfig, prepared: Prepared, whole_run: tuple[Path, Recorder], tmp_path: Path
) -> None:
    (tmp_path / "metrics.jsonl").write_text('{"kind": "step", "step": 5, "loss": 99.0}\n')
    (tmp_path / "samples.md").write_text("old")
    (tmp_path / "checkpoints" / ".step-00000005-left").mkdir(parents=True)
    fit(tmp_path, run_config, prepared, Recorder())
    expected = [entry for entry in logged(whole_run[0]) if entry["kind"] != "sample"]
    assert logged(tmp_path) == expected
    assert not (tmp_path / "samples.md").exists()
    with pytest.raises(CheckpointError, match="has a run already; resume it with --resume"):
        fit(tmp_path, run_config, prepared, Recorder())
    assert logged(tmp_path) == expected


def test_evaluation_is_of_the_saved_model(
    whole_run: tuple[Path, Recorder], prepared: Prepared
) -> None:
    run, recorder = whole_run
    score = evaluate(load_model(run).model, prepared.valid, 10)
    reported = recorder.of(Evaluated)[-1]
    assert score.bits_per_byte == pytest.approx(reported.bits_per_byte, abs=1e-6)
    assert score.nats_per_token == pytest.approx(reported.loss, abs=1e-6)
    assert np.isfinite(score.nats)


def test_bfloat16_is_refused_on_the_cpu(
    run_config: RunConfig, prepared: Prepared, tmp_path: Path
) -> None:
    if mx.default_device() != mx.Device(mx.cpu):
        pytest.skip("needs a machine without a GPU")
    with pytest.raises(ConfigError, match="bfloat16 on CPU"):
        fit(tmp_path, changed(run_config, dtype=Dtype.BFLOAT16), prepared, Recorder())


def test_resume_needs_a_checkpoint_of_the_same_corpus(
    run_config: RunConfig, prepared: Prepared, whole_run: tuple[Path, Recorder], tmp_path: Path
) -> None:
    with pytest.raises(CheckpointError, match="no checkpoint to resume from"):
        fit(tmp_path, run_config, prepared, Recorder(), resume=True)
    other = replace(prepared, corpus_fingerprint="0" * 64)
    with pytest.raises(CheckpointError, match="trained on a corpus with sha256"):
        fit(whole_run[0], run_config, other, Recorder(), resume=True)
