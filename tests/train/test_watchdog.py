"""The parent of a training, here over children that do what a training might."""

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from mlx_rev.errors import ConfigError
from mlx_rev.train.watchdog import Death, explain, guard, resuming
from tests.conftest import training_of
from tests.train.conftest import WATCHED

LINUX = Death(
    signal=signal.SIGKILL,
    memory=3 << 30,
    machine_memory=16 << 30,
    killed_for_memory=False,
    temporary_folder="/tmp",
    temporary_free=1 << 30,
    platform="linux",
)
"""The training held a fifth of the memory, and there is room on the disk."""

Start = Callable[..., "subprocess.Popen[str]"]


both_ways = pytest.mark.parametrize("how_started", ["fork", "exec"])
"""For what may depend on how the child comes to be; the rest is forked."""


@pytest.fixture
def how_started() -> str:
    return "fork"


@pytest.fixture
def start(how_started: str, tmp_path: Path) -> Iterator[Start]:
    """Starts Python code as a guarded training, in `tmp_path`; it does not outlive the test."""
    (tmp_path / "program.py").write_text(WATCHED)
    started: list[subprocess.Popen[str]] = []

    def start_body(body: str, platform: str = "", **environment: str) -> "subprocess.Popen[str]":
        process = subprocess.Popen(
            [sys.executable, "program.py", how_started, platform, body],
            cwd=tmp_path,
            env=os.environ | {"MLX_REV_BLAS": "off"} | environment,  # nothing computes here
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            errors="surrogateescape",
        )
        started.append(process)
        return process

    yield start_body
    for process in started:
        process.kill()
        process.communicate()


def end(process: "subprocess.Popen[str]") -> tuple[int, str, str]:
    """Its exit code, and what it wrote."""
    output, errors = process.communicate(timeout=100)
    return process.returncode, output, errors


def wait_until(happened: Callable[[], object]) -> None:
    """Return when it happened."""
    until = time.monotonic() + 60
    while not happened():
        assert time.monotonic() < until
        time.sleep(0.02)


def lives(process: int) -> bool:
    """Whether there is such a process that has not ended."""
    shown = subprocess.run(["ps", "-o", "stat=", "-p", str(process)], capture_output=True)
    return shown.stdout.strip()[:1] not in (b"", b"Z")


@both_ways
@pytest.mark.parametrize("code", [0, 130])
def test_an_exit_passes_through(start: Start, code: int) -> None:
    body = f"os.write(1, b'out'); os.write(2, b'err'); sys.exit({code})"
    assert end(start(body)) == (code, "out", "err")


@pytest.mark.parametrize(
    ("how", "how_started"),
    [
        ("SIGINT", "fork"),
        ("SIGINT", "exec"),
        ("SIGTERM", "exec"),
        ("SIGHUP", "fork"),
        ("SIGQUIT", "fork"),
    ],
)
def test_a_signal_that_somebody_meant_passes_through(start: Start, how: str) -> None:
    body = f"signal.signal(signal.{how}, signal.SIG_DFL); os.kill(os.getpid(), signal.{how})"
    assert end(start(body)) == (-signal.Signals[how], "", "")


def test_an_abort_is_explained_with_the_last_checkpoint(start: Start, tmp_path: Path) -> None:
    checkpoints = tmp_path / "my run" / "checkpoints"
    (checkpoints / "step-00000250").mkdir(parents=True)
    (checkpoints / "latest").symlink_to("step-00000250")
    assert end(start("parent.has_run(Path('my run')); os.abort()", PATH="/nowhere")) == (
        2,
        "",
        "mlx-rev train: the training was aborted (SIGABRT) by MLX or a library under it, whose "
        "reason, if it gave one, is above; resume from the last checkpoint, step-00000250: "
        f"{Path(sys.executable).with_name('mlx-rev')} train --resume 'my run'\n",
    )


def test_a_run_whose_name_is_no_utf_8_is_named_as_it_is(start: Start, tmp_path: Path) -> None:
    checkpoints = tmp_path / "caf\udce9" / "checkpoints"
    try:
        (checkpoints / "step-00000250").mkdir(parents=True)
    except OSError:
        pytest.skip("the file system wants UTF-8")
    (checkpoints / "latest").symlink_to("step-00000250")
    code, _, errors = end(start("parent.has_run(Path('caf\\udce9')); os.abort()"))
    assert code == 2
    assert errors.endswith("train --resume 'caf\udce9'\n")


def test_memory_is_judged_by_the_runs_record_too(start: Start, tmp_path: Path) -> None:
    (tmp_path / "metrics.jsonl").write_text(
        '{"kind": "step", "step": 1, "loss": 1.5, "learning_rate": 0.1, "gradient_norm": 1.0, '
        '"tokens_per_second": 9.5, "peak_memory": 900000000000000}\n'
    )
    body = "parent.has_run(Path('.')); os.kill(os.getpid(), signal.SIGKILL)"
    code, _, errors = end(start(body))
    assert code == 2
    assert "most likely because memory ran out (it held 900000.0 GB at most" in errors
    assert errors.endswith("start it again, as no checkpoint had been saved\n")


@pytest.mark.parametrize(
    ("death", "sentence"),
    [
        (
            LINUX,
            "the training was killed (SIGKILL) by the system or by another program (it held "
            "3.2 GB at most, and the machine has 17.2 GB);",
        ),
        (
            replace(LINUX, memory=9 << 30),
            "the training was killed (SIGKILL), most likely because memory ran out (it held "
            "9.7 GB at most, and the machine has 17.2 GB); use a smaller --batch-size with more "
            "--accumulation, or close other programs, and then",
        ),
        (
            replace(LINUX, killed_for_memory=True),
            "the training was killed (SIGKILL), most likely because memory ran out (it held "
            "3.2 GB at most, and the machine has 17.2 GB); use a smaller --batch-size with more "
            "--accumulation, or close other programs, and then",
        ),
        (
            replace(LINUX, signal=signal.SIGABRT, platform="darwin"),
            "the training was aborted (SIGABRT), most likely by Metal, which ends GPU work that "
            "keeps the display waiting; let the display sleep, use a smaller --batch-size with "
            "more --accumulation or set AGX_RELAX_CDM_CTXSTORE_TIMEOUT=1, and then",
        ),
        (
            replace(LINUX, signal=signal.SIGABRT, platform="darwin", memory=9 << 30),
            "the training was aborted (SIGABRT), most likely because memory ran out (it held "
            "9.7 GB at most, and the machine has 17.2 GB); use a smaller --batch-size with more "
            "--accumulation, or close other programs, and then",
        ),
        (
            replace(LINUX, signal=signal.SIGABRT),
            "the training was aborted (SIGABRT) by MLX or a library under it, whose reason, "
            "if it gave one, is above;",
        ),
        (
            replace(LINUX, signal=signal.SIGBUS, temporary_free=3_000_000),
            "the training ended on a memory error (SIGBUS), most likely because /tmp is full (3 MB "
            "free); make room there or set TMPDIR to another folder, and then",
        ),
        (
            replace(LINUX, signal=signal.SIGBUS),
            "the training ended on a memory error (SIGBUS), most likely because a file it was "
            "reading was cut short or its disk failed; check the disk, and then",
        ),
        (
            replace(LINUX, signal=signal.SIGSEGV),
            "the training crashed (SIGSEGV) in native code, which is a bug in MLX or in "
            "mlx-rev; report it if it happens again, and meanwhile",
        ),
    ],
)
def test_what_most_likely_happened(death: Death, sentence: str) -> None:
    assert explain(death) == sentence


def test_a_link_to_no_checkpoint_is_not_named(tmp_path: Path) -> None:
    (tmp_path / "checkpoints").mkdir()
    (tmp_path / "checkpoints" / "latest").symlink_to("step-00000001")
    assert resuming(tmp_path) == "start it again, as no checkpoint had been saved"


@both_ways
def test_one_that_hangs_is_killed_with_the_reason(start: Start, tmp_path: Path) -> None:
    """But not while steps come that together take longer than it may go without one."""
    body = "parent.has_run(Path('run')); parent.expect_steps(1.5)\n"
    body += "for n in '1234': time.sleep(0.4); parent.step_done(); Path('steps').write_text(n)\n"
    body += "time.sleep(1000)"
    assert end(start(body)) == (
        2,
        "",
        "mlx-rev train: 1.5 s without a step: another machine hangs, or evaluates for longer than "
        "that; end it, or give a larger --patience, and then start it again, as no checkpoint had "
        "been saved\n",
    )
    assert (tmp_path / "steps").read_text() == "4"


@pytest.mark.parametrize(
    ("call", "reason"),
    [
        (
            "preparing()",
            "all machines have joined, but one still prepares its data, or hangs; run ",
        ),
        ("doing('saving')", "saving takes longer than that; give a larger --patience\n"),
    ],
)
def test_what_takes_a_while_is_no_hang(start: Start, call: str, reason: str) -> None:
    """As long as it goes on; then it is what is named."""
    body = f"parent.expect_steps(1)\nfor _ in range(4): time.sleep(0.4); parent.{call}\n"
    code, output, errors = end(start(body + "print('there', flush=True); time.sleep(1000)"))
    assert (code, output) == (2, "there\n")
    assert f"1 s without a step: {reason}" in errors


def test_one_that_nobody_joins_is_killed_with_the_reason(start: Start) -> None:
    assert end(start("parent.expect_steps(0.5); time.sleep(1000)")) == (
        2,
        "",
        "mlx-rev train: 0.5 s without a step: no other machine joined; start the same command on "
        "all of them\n",
    )


def test_time_in_which_it_was_stopped_is_no_hang(start: Start, tmp_path: Path) -> None:
    body = "parent.expect_steps(1.5); Path('begun').touch()\n"
    body += "for _ in range(3): time.sleep(0.2); parent.step_done()\n"
    process = start(body)
    wait_until((tmp_path / "begun").exists)
    training = training_of(process)
    for number in (signal.SIGSTOP, signal.SIGCONT):
        process.send_signal(number)
        os.kill(training, number)
        if number == signal.SIGSTOP:
            time.sleep(1.8)
    assert end(process) == (0, "", "")


@both_ways
@pytest.mark.parametrize("platform", ["", "one without prctl"])
def test_it_does_not_outlive_its_parent(start: Start, tmp_path: Path, platform: str) -> None:
    process = start("Path('begun').touch(); time.sleep(1000)", platform)
    wait_until((tmp_path / "begun").exists)
    training = training_of(process)
    process.kill()
    process.communicate(timeout=60)  # Their end of the pipe is the training's as well.
    wait_until(lambda: not lives(training))


@pytest.mark.parametrize(
    ("how", "how_started"),
    [
        (signal.SIGTERM, "fork"),
        (signal.SIGTERM, "exec"),
        (signal.SIGHUP, "exec"),
        (signal.SIGINT, "fork"),
        (signal.SIGINT, "exec"),
    ],
)
def test_a_signal_is_handed_on(start: Start, tmp_path: Path, how: signal.Signals) -> None:
    body = f"signal.signal({int(how)}, lambda *_: sys.exit(7)); Path('begun').touch()\n"
    process = start(body + "time.sleep(1000)")
    wait_until((tmp_path / "begun").exists)
    process.send_signal(how)
    assert end(process) == (7, "", "")


@pytest.mark.parametrize(
    ("interrupts", "grace", "how_started"),
    [(20, "1000", "fork"), (20, "1000", "exec"), (2, "0.5", "fork")],
    ids=["the third", "the third, exec", "the second, after a while"],
)
def test_an_interrupt_ends_what_cannot_answer(
    start: Start, tmp_path: Path, interrupts: int, grace: str
) -> None:
    body = "signal.signal(signal.SIGINT, signal.SIG_IGN); Path('begun').touch(); time.sleep(1000)"
    process = start(body, GRACE=grace)
    wait_until((tmp_path / "begun").exists)
    sent = 0
    # Two that come before the parent has looked are one to it.
    while process.poll() is None and sent < interrupts:
        process.send_signal(signal.SIGINT)
        sent += 1
        time.sleep(0.3)
    said = "mlx-rev train: stopped; start it again, as no checkpoint had been saved\n"
    assert end(process) == (130, "", said)
    assert sent == 2 if interrupts == 2 else sent >= 3


def test_a_closed_terminal_is_nothing_to_nohup(start: Start, tmp_path: Path) -> None:
    before = signal.signal(signal.SIGHUP, signal.SIG_IGN)
    try:
        process = start("Path('begun').touch(); time.sleep(1)")
    finally:
        signal.signal(signal.SIGHUP, before)
    wait_until((tmp_path / "begun").exists)
    process.send_signal(signal.SIGHUP)
    assert end(process) == (0, "", "")


@both_ways
def test_the_parent_does_without_mlx(start: Start, tmp_path: Path) -> None:
    assert end(start("os._exit(0)"))[0] == 0
    assert (tmp_path / "imports").read_text() == "False"


@both_ways
def test_off_there_is_no_parent(start: Start) -> None:
    process = start("print(os.getpid(), flush=True); os.abort()", MLX_REV_WATCHDOG="off")
    assert end(process) == (-signal.SIGABRT, f"{process.pid}\n", "")


@both_ways
def test_set_to_nothing_there_is_one_and_nobody_below_hears_of_its_socket(start: Start) -> None:
    body = "print([name for name in os.environ if 'WATCHDOG' in name and os.environ[name]])\n"
    code, output, errors = end(start(body + "sys.stdout.flush(); os.abort()", MLX_REV_WATCHDOG=""))
    assert (code, output) == (2, "[]\n")
    assert "aborted (SIGABRT)" in errors


@pytest.mark.parametrize("value", ["no", "0", "OFF"])
def test_it_is_off_or_it_is_not(monkeypatch: pytest.MonkeyPatch, value: str) -> None:
    monkeypatch.setenv("MLX_REV_WATCHDOG", value)
    with pytest.raises(ConfigError, match=f"^MLX_REV_WATCHDOG is '{value}', expected off"):
        guard("mlx-rev train")
