"""How a training ends before its time: asked to, killed, or with its terminal."""

import os
import shutil
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path

import pexpect
import pytest

from mlx_rev.cli.stopping import stop_on_signal
from mlx_rev.program import program
from tests.conftest import training_of


def latest(run: Path) -> Path:
    return run / "checkpoints" / "latest"


def wait_for(path: Path) -> None:
    """Return when the file is there."""
    for _ in range(20000):
        if path.exists():
            return
        time.sleep(0.01)
    raise AssertionError(f"{path} never came")


def test_a_killed_training_is_explained_with_its_checkpoint(
    command_environment: dict[str, str], tiny_flags: list[str], tmp_path: Path
) -> None:
    folder = tmp_path / "killed"
    process = subprocess.Popen(
        [sys.executable, "-m", "mlx_rev", "train", *tiny_flags, "--plain", "--out", str(folder)],
        env=command_environment,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        text=True,
    )
    wait_for(latest(folder))
    os.kill(training_of(process), signal.SIGKILL)
    _, error = process.communicate(timeout=200)
    assert process.returncode == 2
    assert error.startswith("mlx-rev train: the training was killed (SIGKILL) by the system or by")
    [line] = error.splitlines()
    name = latest(folder).resolve().name
    assert line.endswith(
        f"; resume from the last checkpoint, {name}: {program()} train --resume {folder}"
    )


def test_in_a_terminal_that_is_closed_it_saves_first(
    command_environment: dict[str, str], tiny_flags: list[str], tmp_path: Path
) -> None:
    folder, temporary = tmp_path / "closed", tmp_path / "tmp"
    temporary.mkdir()
    flags = [*tiny_flags, "--save-every", "1000000", "--eval-every", "1000000"]
    terminal = pexpect.spawn(
        sys.executable,
        ["-m", "mlx_rev", "train", *flags, "--steps", "1000000", "--out", str(folder)],
        env=command_environment | {"TMPDIR": str(temporary)},
        # Under nohup it would not be told.
        preexec_fn=lambda: signal.signal(signal.SIGHUP, signal.SIG_DFL),
    )
    wait_for(folder / "metrics.jsonl")
    os.close(terminal.child_fd)  # No signal but the system's own.
    wait_for(latest(folder))
    while terminal.isalive():
        time.sleep(0.05)
    assert not list(folder.rglob(".mlx-rev-*"))
    assert not list(temporary.iterdir())


@pytest.mark.slow
def test_interrupted_while_kernels_compile_it_saves(
    command_environment: dict[str, str], tiny_flags: list[str], tmp_path: Path
) -> None:
    log, folder, compiler = tmp_path / "log", tmp_path / "run", tmp_path / "bin" / "g++"
    compiler.parent.mkdir()
    compiler.write_text(
        '#!/bin/sh\n[ "$1" = --version ] && exit 0\n'
        f'echo begun >> {log}\n{shutil.which("g++")} "$@"\necho ended $? >> {log}\n'
    )
    compiler.chmod(0o755)
    changed = {
        "PATH": f"{compiler.parent}:{os.environ['PATH']}",
        "XDG_CACHE_HOME": str(tmp_path / "cache"),
    }
    terminal = pexpect.spawn(
        sys.executable,
        ["-m", "mlx_rev", "train", *tiny_flags, "--compile", "--out", str(folder)],
        env=command_environment | changed,
    )
    wait_for(log)
    time.sleep(0.5)
    terminal.sendintr()
    terminal.expect(pexpect.EOF, timeout=400)
    terminal.close()
    assert terminal.exitstatus == 0
    assert log.read_text().splitlines() == ["begun", "ended 0"] * (log.read_text().count("begun"))
    assert latest(folder).resolve().name == "step-00000001"


def test_ctrl_c_is_answered_before_the_step_is_done() -> None:
    answers: list[str] = []
    answered = threading.Event()

    def answer(how: str) -> None:
        answers.append(how)
        answered.set()

    with stop_on_signal(answer) as asked:
        assert not asked()
        # In one call that returns to Python when it is done, as a step is.
        os.kill(os.getpid(), signal.SIGINT)
        assert answered.wait(60)
        assert asked()
        with pytest.raises(KeyboardInterrupt):
            os.kill(os.getpid(), signal.SIGINT)
    assert answers == ["finishing this step; Ctrl-C stops now"]
    assert signal.set_wakeup_fd(-1) == -1
