"""Ctrl-C while a command starts and while it ends."""

import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from mlx_rev.interrupts import is_command

INTERRUPTED = "import os, signal\nos.kill(os.getpid(), signal.SIGINT)\n"
SCRIPT = "import sys\nfrom mlx_rev.__main__ import main\nsys.exit(main())\n"
"""What installers write into mlx-rev."""


@pytest.fixture(autouse=True)
def ctrl_c_is_not_ignored() -> Iterator[None]:
    """As it is for the programs that are started where the tests run behind `trap '' INT`."""
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    yield
    signal.signal(signal.SIGINT, before)


@pytest.mark.parametrize(
    ("started", "given", "expected"),
    [
        ("-m mlx_rev", "tell", True),
        ("-X dev -m mlx_rev.train", "--steps 3 -m other", True),
        ("/bin/mlx-rev", "tell -m other", True),
        ("-m other", "-m mlx_rev", False),
        ("-m mlx_review", "", False),
        ("emb.py", "-m mlx_rev /bin/mlx-rev", False),
        ("-c code", "-m mlx_rev", False),
        ("", "", False),
    ],
)
def test_what_another_program_is_given_does_not_make_it_this_one(
    started: str, given: str, expected: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    arguments = given.split()
    monkeypatch.setattr(sys, "orig_argv", ["python", *started.split(), *arguments])
    monkeypatch.setattr(sys, "argv", ["started", *arguments])
    assert is_command() is expected


@pytest.mark.parametrize(
    ("entry", "imported"),
    [("mlx_rev", "difflib"), ("mlx_rev.train", "tyro"), ("mlx_rev.repl", "difflib"),
     ("script", "tyro")],
)  # fmt: skip
def test_ctrl_c_while_the_program_is_imported_shows_nothing(
    command_environment: dict[str, str], tmp_path: Path, entry: str, imported: str
) -> None:
    """A module that sends it takes the place of one that is imported soon or late."""
    (tmp_path / f"{imported}.py").write_text(INTERRUPTED)
    script = tmp_path / "bin" / "mlx-rev"
    script.parent.mkdir()
    script.write_text(SCRIPT)
    started = [str(script), "tell"] if entry == "script" else ["-m", entry, "repl", "--help"]
    done = subprocess.run(
        [sys.executable, *started],
        env=command_environment | {"PYTHONPATH": str(tmp_path)},
        capture_output=True,
        text=True,
        check=False,
    )
    assert (done.returncode, done.stdout, done.stderr) == (-signal.SIGINT, "", "")


def test_ctrl_c_after_the_work_is_done_shows_nothing(
    command_environment: dict[str, str], tmp_path: Path
) -> None:
    end = f"import atexit\natexit.register(lambda: exec({INTERRUPTED!r}))\n"
    (tmp_path / "sitecustomize.py").write_text(end)
    done = subprocess.run(
        [sys.executable, "-m", "mlx_rev", "--version"],
        env=command_environment | {"PYTHONPATH": str(tmp_path)},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == -signal.SIGINT
    assert done.stdout.startswith("mlx-rev ")
    assert done.stderr == ""
