"""`mlx-rev runs`: which runs there are, and how one of them went."""

import io
import re
import shutil
from pathlib import Path

import pytest
from rich.console import Console

from mlx_rev.ui.runs import show_runs
from tests.conftest import Run


@pytest.fixture
def folder(trained: Path, tmp_path: Path) -> Path:
    """A folder with a whole run, one that is damaged and one without a checkpoint."""
    runs = tmp_path / "runs"
    shutil.copytree(trained, runs / "whole", symlinks=True)
    for name, config in (("bad", "steps = ["), ("new", "[train]\nsteps = 1500\n")):
        (runs / name).mkdir()
        (runs / name / "config.toml").write_text(config)
    (runs / "no-run").mkdir()
    return tmp_path


def test_runs_are_listed_and_a_damaged_one_says_why(run: Run, folder: Path) -> None:
    done = run("runs", cwd=folder)
    assert done.returncode == 0, done.stderr
    rows = [re.split(r"\s{2,}", line.strip()) for line in done.stdout.splitlines()]
    assert rows[0] == ["run", "model", "steps", "best", "size", "age"]
    assert rows[-1][0].startswith("damaged: runs/bad/config.toml: not TOML")
    assert rows[-2][0] in ("runs/whole", "runs/new")
    found = {row[0]: row for row in rows}
    assert found["runs/whole"][1:3] == ["44K, 2 layers of 32, word2", "60/60"]
    assert 1 < float(found["runs/whole"][3]) < 10
    assert re.fullmatch(r"\d+ kB|[\d.]+ MB", found["runs/whole"][4])
    assert re.fullmatch(r"\d+ (s|min|h)", found["runs/whole"][5])
    assert found["runs/new"][2:4] == ["0/1,500", "-"]
    assert "runs/no-run" not in found


@pytest.mark.parametrize("width", [30, 40, 60, 80, 200])
def test_on_a_narrow_screen_a_run_still_has_its_name(folder: Path, width: int) -> None:
    console = Console(file=io.StringIO(), width=width, force_terminal=True, color_system=None)
    show_runs([folder / "runs" / "whole"], console)
    lines = console.file.getvalue().splitlines()
    assert max(map(len, lines)) <= width
    assert "60/60" in console.file.getvalue()
    assert "".join(line.split()[0] for line in lines[1:]).endswith("runs/whole")


def test_one_run_is_shown_with_its_curves_and_what_to_type(run: Run, folder: Path) -> None:
    done = run("runs", "runs/whole", cwd=folder)
    assert done.returncode == 0, done.stderr
    for shown in (
        *("runs/whole\n", "steps  60 of 60, finished\n", "training loss, nats per token\n"),
        *("validation, bits per byte\n", "█", 'tell "They all lived happily ever after." --model'),
    ):
        assert shown in done.stdout
    assert "--resume" not in done.stdout
    new = run("runs", "runs/new", cwd=folder).stdout
    assert "steps  0 of 1,500, no checkpoint yet\n" in new
    assert "--resume" not in new


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["nope"], "nope: no training run (it has no config.toml); there are runs/bad, runs/new, "),
        (["--folder", "elsewhere"], "elsewhere: no training run in it; mlx-rev train begins one"),
        (["runs/bad"], "runs/bad/config.toml: not TOML"),
    ],
)
def test_what_is_no_run_is_said_in_a_line(
    run: Run, folder: Path, arguments: list[str], message: str
) -> None:
    done = run("runs", *arguments, cwd=folder)
    assert done.returncode == 2
    assert done.stderr.startswith(f"mlx-rev runs: {message}")
    assert len(done.stderr.splitlines()) == 1
