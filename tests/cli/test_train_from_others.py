"""Training that begins with a model by others: nothing has to be told that its file says."""

from dataclasses import replace
from pathlib import Path

import pytest

import mlx_rev
from mlx_rev.cli.train import parse_command
from mlx_rev.config import ModelConfig
from mlx_rev.config_file import read_toml
from mlx_rev.formats.convert import convert
from mlx_rev.formats.detect import open_model
from tests.byte_level import byte_level
from tests.conftest import Run
from tests.formats.conftest import drawn


@pytest.fixture(scope="module")
def other(some_stories: list[str], tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A GGUF file of two random layers with a byte-level vocabulary, no reversal in it."""
    config = ModelConfig(
        dim=24, n_layers=2, n_heads=2, n_kv_heads=1, head_size=16, hidden_dim=32, vocab_size=400,
        context=2000, rope_theta=100000.0, rope_factor=8.0,
    )  # fmt: skip
    model = replace(drawn(config), tokenizer=byte_level(some_stories[:100], marks_last=True))
    path = tmp_path_factory.mktemp("other") / "m.gguf"
    convert(model, path)
    return path


def test_its_shape_is_taken_and_512_tokens_of_its_context(other: Path) -> None:
    command = parse_command(["--init-from", str(other)], "train")
    assert command.model == replace(open_model(other).config, context=512)
    command = parse_command(["--init-from", str(other), "--context", "64"], "train")
    assert command.model.context == 64


@pytest.mark.parametrize("reversal", ["token", "word2"])
def test_it_is_taught_to_go_backwards_and_tells(
    run: Run, other: Path, tmp_path: Path, some_stories: list[str], reversal: str
) -> None:
    corpus = tmp_path / "s.txt"
    corpus.write_text("\n<|endoftext|>\n".join(some_stories[:80]), encoding="utf-8")
    options = {
        "data": corpus, "reversal": reversal, "init-from": other, "out": tmp_path / "run",
        "steps": 2, "context": 96, "batch-size": 2, "eval-stories": 4, "valid-share": 0.1,
    }  # fmt: skip
    flags = [part for name, value in options.items() for part in (f"--{name}", value)]
    done = run("train", *flags, "--no-compile", "--plain")
    assert done.returncode == 0, done.stderr
    assert (tmp_path / "run" / "tokenizer.json").is_file()
    config = read_toml(tmp_path / "run" / "config.toml")
    assert config.model == replace(open_model(other).config, context=96)
    assert Path(config.data.tokenizer or "").name == "tokenizer.json"
    done = run("train", "--resume", tmp_path / "run", "--steps", 3, "--no-compile", "--plain")
    assert done.returncode == 0, done.stderr
    found = open_model(tmp_path / "run")
    assert found.tokenizer is not None
    assert found.tokenizer.fingerprint == open_model(other).tokenizer.fingerprint  # type: ignore[union-attr]
    assert (found.boundary, found.end_of_text) == (398, 398)
    story = mlx_rev.load(tmp_path / "run").tell("The end.", max_tokens=8)
    assert story.text.endswith("The end.")
