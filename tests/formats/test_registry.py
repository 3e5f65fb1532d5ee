"""The registry is the one list: a format that is added to it works everywhere."""

import importlib
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from mlx_rev.config import Dtype
from mlx_rev.errors import FormatError
from mlx_rev.formats import registry
from mlx_rev.formats.convert import convert
from mlx_rev.formats.detect import open_model
from mlx_rev.formats.model_file import ModelFile
from tests.formats import toy


@pytest.fixture
def with_toy(monkeypatch: pytest.MonkeyPatch) -> None:
    """The line that a new format takes."""
    monkeypatch.setattr(registry, "FORMATS", (*registry.FORMATS, toy.FORMAT))


@pytest.mark.usefixtures("with_toy")
def test_a_new_format_is_a_module_and_a_line(tmp_path: Path, talking: ModelFile) -> None:
    done = convert(talking, tmp_path / "m.toy")
    assert (done.format, done.dtype) == ("toy", Dtype.FLOAT32)
    assert done.run == f"toy {tmp_path / 'm.toy'}"
    (tmp_path / "m.toy").rename(tmp_path / "content decides")
    again = open_model(tmp_path / "content decides", tokenizer=talking.tokenizer)
    assert again.config == talking.config
    for name, weight in talking.weights():
        assert np.array_equal(again.weight(name), weight)
    with pytest.raises(FormatError, match="toy cannot hold q8; expected --dtype float32"):
        convert(talking, tmp_path / "other", "toy", Dtype.Q8)


@pytest.mark.usefixtures("with_toy")
def test_the_command_and_the_repl_take_it_up(
    tmp_path: Path,
    talking: ModelFile,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    convert(talking, tmp_path / "m")
    command = loaded_anew("mlx_rev.cli.convert", monkeypatch)
    assert command.main([str(tmp_path / "m"), str(tmp_path / "x"), "--to", "toy"], "c") == 0
    assert (tmp_path / "x").read_bytes().startswith(toy.MAGIC)
    with pytest.raises(SystemExit):
        command.main(["--help"], "c")
    help_text = capsys.readouterr().out
    assert "toy is for tests" in " ".join(help_text.replace("│", " ").split())
    export = loaded_anew("mlx_rev.repl.models", monkeypatch).EXPORT
    [to] = [option for option in export.options if option.name == "--to"]
    assert to.possible == registry.names()
    assert "toy" in to.possible


def loaded_anew(name: str, monkeypatch: pytest.MonkeyPatch) -> Any:
    """A module as a new process would have it; others have theirs back after the test."""
    package, _, leaf = name.rpartition(".")
    parent = importlib.import_module(package)
    monkeypatch.setattr(parent, leaf, importlib.import_module(name))
    monkeypatch.delitem(sys.modules, name)
    return importlib.import_module(name)


@pytest.mark.parametrize(
    ("name", "dtype", "expected"),
    [
        ("m.bin", None, ("llama2c", Dtype.FLOAT32)),
        ("m.bin", Dtype.Q8, ("llama2c-v2", Dtype.Q8)),
        ("m.gguf", Dtype.Q8, ("gguf", Dtype.Q8)),
        ("m", None, ("mlx", Dtype.FLOAT32)),
        ("stories-1.5", Dtype.BFLOAT16, ("mlx", Dtype.BFLOAT16)),
    ],
)
def test_the_targets_name_chooses(
    name: str, dtype: Dtype | None, expected: tuple[str, Dtype]
) -> None:
    chosen, kept = registry.choose(Path(name), None, dtype)
    assert (chosen.name, kept) == expected


@pytest.mark.parametrize("name", ["m.onnx", "m.safetensors", "m.pt", "m.ggfu", "m.npz"])
def test_a_suffix_that_no_format_has_is_refused(
    tmp_path: Path, talking: ModelFile, name: str
) -> None:
    with pytest.raises(FormatError, match=rf"suffix \{Path(name).suffix}; expected \.bin, \.gguf"):
        convert(talking, tmp_path / name)
    assert not list(tmp_path.iterdir())


def test_a_dtype_that_no_format_of_the_suffix_has_is_answered_with_those_that_one_has() -> None:
    said = "cannot hold float16; expected --dtype float32"
    with pytest.raises(FormatError, match=rf"{said} or q8$"):
        registry.choose(Path("m.bin"), None, Dtype.FLOAT16)
    with pytest.raises(FormatError, match=rf"{said}$"):
        registry.choose(Path("m.bin"), "llama2c", Dtype.FLOAT16)


def test_an_unknown_name_is_answered_with_the_list() -> None:
    with pytest.raises(FormatError, match="llama2c, llama2c-v1, llama2c-v2, mlx, gguf, run"):
        registry.named("onnx")
