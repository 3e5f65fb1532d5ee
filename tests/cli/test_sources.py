"""What `train` and `prepare` can be given to read, by the command."""

import json
from pathlib import Path

import pytest

from mlx_rev.config import RunConfig
from tests.conftest import Run

STORIES = [f"Story {number}: a dog ran far away and came home. The end." for number in range(60)]
SMALL = ("--vocab-size", 300, "--valid-share", 0.2, "--plain")


def test_a_run_is_told_the_file_that_keeps_standard_input(
    run: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """So it can resume: its config.toml names a file that is still there."""
    configs: list[RunConfig] = []
    monkeypatch.setattr("mlx_rev.cli.train._train", lambda *given: configs.append(given[1]))
    pipe = "\n".join(json.dumps({"text": story}) for story in STORIES)
    out = ("--out", tmp_path / "run")
    done = run("train", "--data", "-", *SMALL, "--cache", tmp_path / "cache", *out, stdin=pipe)
    assert done.returncode == 0, done.stderr
    kept = Path(configs[0].data.data)
    assert kept.parent == tmp_path / "cache" / "standard-input"
    assert kept.read_text() == pipe


def test_standard_input_is_prepared(run: Run, tmp_path: Path) -> None:
    options = ("prepare", "--data", "-", *SMALL, "--cache", tmp_path)
    done = run(*options, stdin="\n\n".join(STORIES))
    assert done.returncode == 0, done.stderr
    empty = run(*options, stdin="")
    assert empty.returncode == 2
    assert "nothing came on standard input" in empty.stderr


def test_what_was_left_out_is_said_at_the_end(run: Run, tmp_path: Path) -> None:
    path = tmp_path / "s.txt"
    path.write_bytes("\n\n".join(STORIES).encode().replace(b"Story 7:", b"Story \xff:"))
    options = ("--data", path, *SMALL, "--cache", tmp_path / "cache")
    done = run("prepare", *options)
    assert done.returncode == 2
    assert "s.txt: line 15, byte" in done.stderr
    assert "--on-error skip" in done.stderr
    done = run("prepare", *options, "--on-error", "skip")
    assert done.returncode == 0, done.stderr
    assert "1 story was left out" in " ".join(done.stdout.split())


@pytest.mark.parametrize(
    ("data", "said"),
    [
        ("tinystory", "unknown kind of corpus; expected bundled, tinystories, tinystories-v2"),
        ("a.txt,", "a name is missing beside a comma"),
        ("hf:me", "expected hf:owner/name"),
        ("a.txt=2", "a.txt: no such file"),
    ],
)
def test_what_names_nothing_is_said(run: Run, tmp_path: Path, data: str, said: str) -> None:
    done = run("prepare", "--data", data, *SMALL, "--cache", tmp_path)
    assert done.returncode == 2
    assert said in done.stderr
