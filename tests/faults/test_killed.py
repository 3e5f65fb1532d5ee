"""Killed, or out of room, before any file-system event: the documented next command ends in the
same files, to the byte, as if nothing had happened, and nothing else."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

HERE = Path(__file__).parent
SCENARIOS = ("train", "resume", "prepare", "bin", "gguf", "folder", "run")


def tried(folder: Path, *wanted: str) -> dict[str, dict]:
    environment = {
        **os.environ,
        "PYTHONPATH": str(HERE.parents[1]),
        "OPENBLAS_NUM_THREADS": "1",
        "MLX_REV_WATCHDOG": "off",
    }
    done = subprocess.run(
        [sys.executable, HERE / "killing.py", folder, *wanted],
        env=environment,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


@pytest.mark.process
def test_some_events(tmp_path: Path) -> None:
    """One of four of them; the slow test has every one of every command."""
    outcome = tried(tmp_path, "train=1", "resume:full=1", "prepare=1", "folder=1")
    assert [each["failures"] for each in outcome.values()] == [[]] * len(outcome)
    assert outcome["train"]["events"] > 150
    assert sum(each["tried"] for each in outcome.values()) >= 4


@pytest.mark.slow
@pytest.mark.timeout(7200)
@pytest.mark.parametrize("how", ["", ":full"])
@pytest.mark.parametrize("scenario", SCENARIOS)
def test_every_event(tmp_path: Path, scenario: str, how: str) -> None:
    [outcome] = tried(tmp_path, f"{scenario}{how}=all").values()
    assert outcome["failures"] == []
    assert outcome["tried"] == outcome["events"] > 0
