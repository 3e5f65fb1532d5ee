import json
import math
import re
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import cast

import mlx.core as mx
import pytest

from mlx_rev import run_folder
from mlx_rev.cli import train
from mlx_rev.config import DataConfig, RunConfig
from mlx_rev.config_file import to_toml
from mlx_rev.data.sources.names import short_name
from mlx_rev.errors import ConfigError
from mlx_rev.program import program
from mlx_rev.text.sentencepiece import SentencePiece
from mlx_rev.train.distributed import Nodes
from mlx_rev.train.events import Doing, Event, Saved, Stopped
from mlx_rev.train.watchdog import Parent

Run = Callable[..., subprocess.CompletedProcess[str]]

SMALL = ["--data", "small.txt", "--vocab-size", "300", "--valid", "small.txt"]
"""A corpus of two stories."""


def latest(run: Path) -> Path:
    return run / "checkpoints" / "latest"


def weights(run: Path) -> dict[str, mx.array]:
    return mx.load(str(latest(run) / "model.safetensors"))


def metrics(run: Path) -> list[dict]:
    entries = map(json.loads, (run / "metrics.jsonl").read_text().splitlines())
    clock = ("tokens_per_second", "peak_memory")
    return [{k: v for k, v in entry.items() if k not in clock} for entry in entries]


def assert_same_run(one: Path, other: Path) -> None:
    first, second = weights(one), weights(other)
    assert first.keys() == second.keys()
    assert all(bool((first[name] == second[name]).all()) for name in first)
    assert metrics(one) == metrics(other)
    assert (one / "samples.md").read_text() == (other / "samples.md").read_text()


def interrupt(
    environment: dict[str, str], arguments: list[str], folder: Path, how: signal.Signals
) -> subprocess.CompletedProcess[str]:
    """Start a training of 60 steps, send it a signal after its first checkpoint, and wait; again,
    where it was through before the signal came."""
    command = [sys.executable, "-m", "mlx_rev.train", *arguments, "--steps", "60", "--plain"]
    for _ in range(5):
        process = subprocess.Popen(
            [*command, "--out", str(folder)],
            env=environment,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        try:
            while not latest(folder).exists():
                assert process.poll() is None, process.communicate()
                time.sleep(0.002)
            process.send_signal(how)
            out, err = process.communicate(timeout=200)
        finally:
            process.kill()
        if latest(folder).resolve().name != "step-00000060":
            return subprocess.CompletedProcess(command, process.returncode, out, err)
        shutil.rmtree(folder)
    raise AssertionError("training is through before it can be interrupted")


def test_a_run_folder_holds_what_it_should(trained: Path) -> None:
    names = {path.name for path in trained.iterdir()}
    files = {"config.toml", "metrics.jsonl", "loss.png", "tokenizer.model", "samples.md"}
    assert files | {"checkpoints"} <= names
    assert (trained / "loss.png").read_bytes()[:4] == b"\x89PNG"
    assert {path.name for path in (trained / "checkpoints").iterdir()} >= {"latest", "best"}


def test_the_picture_is_drawn_a_minute_after_the_last_one_and_at_the_end(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    drawn: list[int] = []
    clock = iter((0, 59, 61, 61, 120, 122, 122, 123))
    monkeypatch.setattr(train, "loss_plot", lambda *paths: drawn.append(step))
    monkeypatch.setattr(train.time, "monotonic", lambda: next(clock))
    passed_on: list[Event] = []
    folder = train._RunFolder(tmp_path, RunConfig(), None, Parent(), passed_on.append)  # type: ignore[arg-type]
    for step in range(4):
        folder.report(Saved(step, tmp_path))
    folder.report(Stopped(4, tmp_path, finished=True))
    assert drawn == [1, 3, 3]
    assert len(passed_on) == 5


def test_the_parent_hears_of_what_takes_a_while(tmp_path: Path) -> None:
    heard: list[str] = []
    parent = cast(Parent, SimpleNamespace(doing=heard.append))
    folder = train._RunFolder(tmp_path, RunConfig(), None, parent, lambda event: None)  # type: ignore[arg-type]
    folder.report(Doing(1, "evaluating"))
    folder.report(Saved(1, tmp_path))
    assert heard == ["evaluating"]


def test_killed_and_resumed_is_the_same_to_the_bit(
    run: Run,
    trained: Path,
    command_environment: dict[str, str],
    tiny_flags: list[str],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """With its own vocabulary, where the cache has none."""
    folder = tmp_path / "killed"
    done = interrupt(command_environment, tiny_flags, folder, signal.SIGKILL)
    assert done.returncode == -signal.SIGKILL
    monkeypatch.setattr(SentencePiece, "train", None)
    resumed = run("train", "--resume", folder, "--plain", "--cache", tmp_path / "cache")
    assert resumed.returncode == 0, resumed.stderr
    assert_same_run(folder, trained)


@pytest.mark.parametrize(
    "how", [signal.SIGTERM, pytest.param(signal.SIGINT, marks=pytest.mark.slow)]
)
def test_asked_to_stop_it_saves_and_says_how_to_go_on(
    command_environment: dict[str, str],
    tiny_flags: list[str],
    tmp_path: Path,
    how: signal.Signals,
) -> None:
    """That nothing is lost by it is in tests/train/test_loop.py."""
    folder = tmp_path / "stopped"
    done = interrupt(command_environment, tiny_flags, folder, how)
    assert done.returncode == 0, done.stderr
    assert done.stderr == ""
    lines = done.stdout.splitlines()
    assert f"mlx-rev train --resume {folder}" in lines[-2]
    assert f"--model {folder}" in lines[-1]
    assert latest(folder).resolve().name > "step-00000000"


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--preset", "huge"], "preset 'huge': unknown, expected one of quick, 260k"),
        (["--data", "missing.txt"], "missing.txt: no such file"),
        (["--steps", "0", "--dim", "30"], "n_heads 8 does not divide dim 30; steps is 0"),
        (["--resume", "nowhere"], "--resume nowhere: no training run (it has no config.toml)"),
        (["--config", "bad.toml"], "unknown key train.stepps; train.seed is 'x', expected int"),
        (["TINY", "--dtype", "bfloat16"], "bfloat16 on CPU"),
        (SMALL, "too few"),
        (["--seed", str(1 << 70)], "expected under 2^63"),
        (["--learning-rate", "inf"], "learning_rate is inf, expected a finite number"),
        ([*SMALL, "--out", "small.txt/run"], "small.txt/run: Not a directory"),
        (["--data", "caf\udce9.txt"], "data is 'caf\\udce9.txt', which is not UTF-8"),
        (["--ending", "\udce9"], "ending is '\\udce9', which is not UTF-8"),
        (["--patience", "inf"], "patience is inf, expected more than 0 and under 1e+06 seconds"),
        (["--patience", "nan"], "patience is nan, expected more than 0"),
    ],
)
def test_what_is_wrong_is_said_in_one_line(
    run: Run, tmp_path: Path, tiny_flags: list[str], arguments: list[str], message: str
) -> None:
    if arguments[0] == "TINY":
        arguments = [*tiny_flags, *arguments[1:]]
    (tmp_path / "bad.toml").write_text('[train]\nstepps = 3\nseed = "x"\n')
    (tmp_path / "small.txt").write_text("One small story about a dog.\n\nAnd a cat.\n")
    done = run("train", *arguments, "--plain", cwd=tmp_path)
    assert done.returncode == 2
    assert message in done.stderr
    assert len(done.stderr.splitlines()) == 1
    assert not (tmp_path / "runs").exists()


def test_a_check_says_what_it_takes_and_trains_nothing(
    run: Run, tiny_flags: list[str], tmp_path: Path
) -> None:
    done = run("train", *tiny_flags, "--steps", 60, "--check", "--plain", cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    names = ["model", "data", "training", "work", "memory", "a step", "time"]
    lines = [line for line in done.stdout.splitlines() if line.startswith(tuple(names))]
    assert [line[:9].strip() for line in lines] == names
    assert "60 steps of 384 tokens: 23,040 tokens" in done.stdout
    assert not (tmp_path / "runs").exists()


def test_of_a_resumed_run_a_check_counts_what_is_left(run: Run, trained: Path) -> None:
    before = sorted(path.name for path in trained.rglob("*"))
    done = run("train", "--resume", trained, "--steps", 70, "--check", "--plain")
    assert done.returncode == 0, done.stderr
    assert "training 10 more steps of 384 tokens" in done.stdout
    assert sorted(path.name for path in trained.rglob("*")) == before


@pytest.mark.parametrize("how", ["--resume", "--init-from"])
def test_the_loss_of_a_check_is_that_of_the_weights_it_has(
    run: Run, trained: Path, tiny_flags: list[str], tmp_path: Path, how: str
) -> None:
    flags = ["--steps", "70"]
    if how == "--init-from":
        flags += [*tiny_flags, "--out", str(tmp_path / "run")]
    done = run("train", how, trained, *flags, "--check", "--plain")
    assert done.returncode == 0, done.stderr
    [loss] = re.findall(r"loss (\d+\.\d+)", done.stdout)
    last = [entry["loss"] for entry in metrics(trained) if entry["kind"] == "step"][-1]
    assert last < math.log(400) - 1  # which is what knowing nothing costs
    assert float(loss) == pytest.approx(last, abs=0.5)


def test_a_run_is_resumed_where_there_are_no_workers(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Such as on a GPU, by a CPU's config.toml; but not with those that are asked for."""
    (tmp_path / "config.toml").write_text("[train]\nworkers = 2\n")
    nodes = cast(Nodes, SimpleNamespace(count=1))
    flags = ["--resume", str(tmp_path)]
    assert train._config(train.parse_command(flags, "train"), nodes).train.workers == 2
    fewer = train.parse_command([*flags, "--batch-size", "1"], "train")
    with pytest.raises(
        ConfigError, match=r"workers is 2, expected 0 \(one per core\) to batch_size 1"
    ):
        train._config(fewer, nodes)
    monkeypatch.setenv("MLX_REV_CPU", "off")
    assert train._config(train.parse_command(flags, "train"), nodes).train.workers == 1
    asked = train.parse_command([*flags, "--workers", "2"], "train")
    with pytest.raises(ConfigError, match="--workers 2: only a CPU's step"):
        train._config(asked, nodes)


def test_stopped_at_once_it_still_says_how_to_resume(
    run: Run, trained: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def interrupted(*_: object, **__: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr("mlx_rev.cli.train.fit", interrupted)
    done = run("train", "--resume", trained, "--steps", 70, "--plain")
    assert done.returncode == 130
    assert done.stderr == (
        "stopped; resume from the last checkpoint, step-00000060: "
        f"{program()} train --resume {trained}\n"
    )


def test_a_refused_resume_changes_nothing(run: Run, trained: Path, tmp_path: Path) -> None:
    folder = tmp_path / "run"
    shutil.copytree(trained, folder, symlinks=True)
    names = ("config.toml", "tokenizer.model", "metrics.jsonl", "samples.md")
    before = [(folder / name).read_bytes() for name in names]
    for flags in (("--reversal", "none"), ("--vocab-size", 450), ("--dim", 64), ("--n-layers", 1)):
        done = run("train", "--resume", folder, *flags, "--steps", 70, "--plain")
        assert done.returncode == 2, done.stdout
        assert len(done.stderr.splitlines()) == 1
        assert [(folder / name).read_bytes() for name in names] == before


def test_a_finished_run_is_left_as_it_is(run: Run, trained: Path, tmp_path: Path) -> None:
    """But for what a kill at the very end left undone."""
    folder = tmp_path / "run"
    shutil.copytree(trained, folder, symlinks=True)
    (folder / "loss.png").unlink()
    (folder / ".mlx-rev-new-1.png").touch()
    (folder / "checkpoints" / ".mlx-rev-new-2").mkdir()
    shutil.copytree(latest(folder), folder / "checkpoints" / "step-00000001")
    for flags in ((), ("--steps", 60), ("--steps", 7, "--learning-rate", 0.5)):
        done = run("train", "--resume", folder, *flags, "--plain", draws=not flags)
        assert done.returncode == 2
        assert "already finished, at step 60" in done.stderr
        found, expected = (
            {
                path.relative_to(run): path.read_bytes() if path.is_file() else b""
                for path in run.rglob("*")
            }
            for run in (folder, trained)
        )
        assert found == expected


@pytest.mark.parametrize("name", ["link", "link/checkpoints/latest"])
def test_a_link_to_a_run_is_followed(run: Run, trained: Path, tmp_path: Path, name: str) -> None:
    folder, link = tmp_path / "run", tmp_path / "link"
    shutil.copytree(trained, folder, symlinks=True)
    link.symlink_to(folder)
    assert run("convert", tmp_path / name, tmp_path / "model.bin", "--plain").returncode == 0
    (folder / "config.toml").rename(tmp_path / "elsewhere.toml")
    (folder / "config.toml").symlink_to(tmp_path / "elsewhere.toml")
    before = (tmp_path / "elsewhere.toml").read_text()
    done = run("train", "--resume", link, "--steps", 61, "--plain")
    assert done.returncode == 0, done.stderr
    assert link.readlink() == folder
    assert latest(folder).resolve().name == "step-00000061"
    # A link to a file is replaced by what is written.
    assert not (folder / "config.toml").is_symlink()
    assert (tmp_path / "elsewhere.toml").read_text() == before


@pytest.mark.parametrize(
    ("data", "name"),
    [
        ("stories.txt", "stories"),
        ("bundled", "bundled"),
        ("texts/*.txt", "texts"),
        ("texts/more[0-9]/*/x.json", "texts"),
        ("*.txt", "here"),
        (".", "here"),
        ("a[1].txt", "a[1]"),
        ("/", "stories"),
    ],
)
def test_a_run_is_named_after_its_data(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, data: str, name: str
) -> None:
    (tmp_path / "here").mkdir()
    monkeypatch.chdir(tmp_path / "here")
    Path("a[1].txt").touch()
    assert short_name(data) == name


def test_a_run_is_not_overwritten(run: Run, trained: Path, tiny_flags: list[str]) -> None:
    done = run("train", *tiny_flags, "--out", trained, "--plain")
    assert done.returncode == 2
    assert f"--resume {trained}" in done.stderr


@pytest.mark.process
def test_options_of_a_toml_file_are_taken(run: Run, trained: Path, tmp_path: Path) -> None:
    text = (trained / "config.toml").read_text().replace("steps = 60", "steps = 3")
    (tmp_path / "recipe.toml").write_text(text)
    done = run(
        *("train", "--config", tmp_path / "recipe.toml", "--log-every", 1, "--plain"),
        cwd=tmp_path,
    )
    assert done.returncode == 0, done.stderr
    [folder] = (tmp_path / "runs").iterdir()
    assert [entry["step"] for entry in metrics(folder) if entry["kind"] == "step"] == [1, 2, 3]


@pytest.mark.parametrize("name", run_folder.TOKENIZERS)
@pytest.mark.parametrize(
    ("before", "now"), [(None, None), ("gone.model", None), ("gone.model", "given.model")]
)
def test_every_machine_of_a_resumed_run_has_the_runs_tokenizer(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    name: str,
    before: str | None,
    now: str | None,
) -> None:
    """Machines other than the first have no run folder, only their cache; what is given now counts,
    and is refused if it is another one."""
    config = RunConfig(data=DataConfig(tokenizer=before))
    (tmp_path / "config.toml").write_text(to_toml(config), encoding="utf-8")
    (tmp_path / name).touch()
    used: list[DataConfig] = []
    parent = Parent()

    def asked(data: DataConfig, *rest: object) -> None:
        used.append(data)
        assert rest[-1] == parent.preparing
        raise KeyboardInterrupt

    monkeypatch.setattr(train, "prepare_shown", asked)
    flags = ["--resume", str(tmp_path), "--plain", *(["--tokenizer", now] if now else [])]
    command = train.parse_command(flags, "train")
    other = cast(Nodes, SimpleNamespace(first=False, number=1, count=2))
    with pytest.raises(KeyboardInterrupt):
        train._train(command, train._config(command, other), tmp_path / "node-1", other, parent)
    assert used == [replace(command.data, tokenizer=now or str(tmp_path / name))]
