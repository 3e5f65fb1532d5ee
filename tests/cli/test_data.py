"""`mlx-rev data`: what it shows and writes, what it refuses."""

import json
import os
import re
import shutil
from pathlib import Path

import pytest

from mlx_rev.config import DataConfig, ModelConfig, RunConfig
from mlx_rev.config_file import to_toml
from tests.conftest import Run


@pytest.fixture
def begun(tiny_flags: list[str], tmp_path: Path) -> Path:
    """A run folder with nothing but options, of both directions."""
    data = DataConfig(data=tiny_flags[1], valid_share=0.1, reversal="word2,none")
    config = RunConfig(model=ModelConfig(vocab_size=400, context=96), data=data)
    (tmp_path / "run").mkdir()
    (tmp_path / "run" / "config.toml").write_text(to_toml(config), encoding="utf-8")
    return tmp_path / "run"


def rows(shown: str) -> dict[str, list[str]]:
    """The cells of each line behind its label."""
    found = [re.split(r"\s{2,}", line.strip()) for line in shown.splitlines()]
    return {cells[0]: cells[1:] for cells in found if len(cells) > 1}


def test_of_a_run_all_shards_are_shown(run: Run, begun: Path, tmp_path: Path) -> None:
    done = run("data", begun, "--json", tmp_path / "a.json", "--plot", tmp_path / "a.png")
    assert done.returncode == 0, done.stderr
    assert (tmp_path / "a.png").read_bytes().startswith(b"\x89PNG")
    shown, content = rows(done.stdout), json.loads((tmp_path / "a.json").read_text())
    assert list(content["shards"]) == ["train", "valid", "train, forwards", "valid, forwards"]
    assert shown["stories"] == ["147", "13", "147", "13"]
    assert shown["checksums"] == ["all verified"] * 4
    counted = content["shards"]["train"]
    assert counted["stories"] == sum(counted["lengths"]["counts"]) == 147
    assert 1 < counted["tokens_per_word"] < 4
    assert shown["rows of an epoch"] == [f"{content['rows']['rows']:,}"]
    assert float(shown["padding"][0].rstrip("%")) < 2
    assert "in rows of 96" in done.stdout
    assert 0 < content["rows"]["sighted_targets"] < 1
    assert "targets that see their story's boundary" in shown
    first, second = (content["examples"][name][0] for name in ("train", "train, forwards"))
    assert first["text"] == second["text"]
    assert "".join(second["pieces"]) == f" {first['text']}"
    assert "".join(first["pieces"]) != "".join(second["pieces"])
    assert "stories, train, forwards" in done.stdout


def test_of_shards_alone_the_tokenizer_is_looked_for_in_the_cache(
    run: Run, begun: Path, tmp_path: Path
) -> None:
    cache = tmp_path / "cache"
    assert run("data", begun, "--cache", cache).returncode == 0
    [*folders] = (cache / "shards").iterdir()
    for folder in folders:
        found = run("data", folder, "--cache", cache, "--json", "-", "--examples", 1)
        assert found.returncode == 0, found.stderr
        assert found.stderr == ""
        content = json.loads(found.stdout)
        assert list(content["shards"]) == ["train", "valid"]
        assert len(content["examples"]["train"]) == 1
        assert content["rows"]["context"] == 256
    shutil.rmtree(cache / "tokenizers")
    found = run("data", folders[0], "--cache", cache)
    assert found.returncode == 0
    assert found.stderr.startswith("note: the shards' tokenizer is not in the cache; give it with")
    assert rows(found.stdout)["tokens per word"] == ["-", "-"]
    assert "stories, train" not in found.stdout


def test_of_a_run_begun_before_its_own_rows_are_measured(run: Run, begun: Path) -> None:
    config = begun / "config.toml"
    new = json.loads(run("data", begun, "--json", "-").stdout)["rows"]
    lines = config.read_text(encoding="utf-8").splitlines(keepends=True)
    config.write_text("".join(line for line in lines if "packing" not in line), encoding="utf-8")
    old = json.loads(run("data", begun, "--json", "-").stdout)["rows"]
    assert old["rows"] != new["rows"]


@pytest.mark.parametrize(
    ("flags", "said"),
    [
        (("--context", 1), "--context 1: expected 2 to 1048576"),
        (("--examples", -1), "--examples -1: expected 0 or more"),
        (("--json", "a.txt"), "--json a.txt: expected a name that ends in .json"),
        (("--plot", "."), "--plot .: expected a name that ends in .png"),
        (("--tokenizer", "t.model"), "--tokenizer: a run has its own; leave it out"),
    ],
)
def test_what_cannot_be_is_refused_in_one_line(
    run: Run, begun: Path, flags: tuple[object, ...], said: str
) -> None:
    done = run("data", begun, *flags)
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr == f"mlx-rev data: {said}\n"


def test_what_is_no_run_and_no_shards_is_refused(run: Run, tmp_path: Path) -> None:
    (tmp_path / "text.bin").write_text("Once upon a time." * 20)
    os.mkfifo(tmp_path / "pipe")
    for path, said in (
        (tmp_path / "nothing", "is not there; expected a training run or finished token shards"),
        (tmp_path, "has no config.toml, done.json or train.bin; expected"),
        (tmp_path / "pipe", "is a pipe, expected a regular file"),
        (tmp_path / "text.bin", "not a token shard of version 1"),
    ):
        done = run("data", path)
        assert done.returncode == 2
        assert done.stderr.startswith(f"mlx-rev data: {path}: {said}")
        assert done.stderr.count("\n") == 1


def test_a_damaged_shard_is_named(run: Run, begun: Path, tmp_path: Path) -> None:
    cache = tmp_path / "cache"
    assert run("data", begun, "--cache", cache).returncode == 0
    path = next((cache / "shards").rglob("*.bin"))
    content = bytearray(path.read_bytes())
    content[-3] ^= 1
    path.write_bytes(content)
    done = run("data", path, "--cache", cache)
    assert done.returncode == 2
    assert done.stderr == (
        f"mlx-rev data: {path}: its checksum does not match its content; damaged\n"
    )
