"""Pipes, devices, sockets and folders where a file is expected: a sentence, and at once."""

import os
import shutil
import socket
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from mlx_rev import files
from mlx_rev.__main__ import run
from mlx_rev.config import DataConfig, ModelConfig
from mlx_rev.data.prepare import prepare
from mlx_rev.errors import RevError
from mlx_rev.formats import names
from mlx_rev.formats.convert import convert
from mlx_rev.formats.detect import built_in_model
from mlx_rev.formats.model_file import from_arrays
from mlx_rev.text.codec import StoryCodec
from mlx_rev.text.order import WORD, Order

KINDS = ("pipe", "device", "socket", "folder")


@pytest.fixture
def short(tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty folder to work in: the names of sockets have to be short."""
    folder = tmp_path_factory.mktemp("odd")
    monkeypatch.chdir(folder)
    monkeypatch.setenv("MLX_REV_CACHE", str(folder / "cache"))
    return folder


@pytest.fixture(params=KINDS)
def kind(request: pytest.FixtureRequest) -> str:
    return str(request.param)


@pytest.fixture
def opened() -> Iterator[list[socket.socket]]:
    sockets: list[socket.socket] = []
    yield sockets
    for one in sockets:
        one.close()


def make(name: str, kind: str, opened: list[socket.socket]) -> Path:
    """Put something of that kind at `name`."""
    path = Path(name)
    if kind == "pipe":
        os.mkfifo(path)
    elif kind == "device":
        path.symlink_to("/dev/zero")
    elif kind == "socket":
        opened.append(socket.socket(socket.AF_UNIX))
        opened[-1].bind(name)
    else:
        path.mkdir()
    return path


@pytest.mark.timeout(60)
def test_it_is_named(short: Path, kind: str, opened: list[socket.socket]) -> None:
    path = make("odd", kind, opened)
    for read in (files.open_regular, files.read_bytes, files.check_regular, files.sha256_file):
        with pytest.raises(RevError, match=f"odd: is a {kind}, expected a regular file"):
            read(path)


def test_a_regular_file_and_one_that_is_missing(short: Path) -> None:
    (short / "file").write_bytes(b"text")
    (short / "link").symlink_to("file")
    assert files.read_bytes(short / "link") == b"text"
    for path in (short / "none", short / "file" / "none"):
        with pytest.raises(OSError, match=r"No such file|Not a directory"):
            files.read_bytes(path)


@pytest.mark.timeout(60)
@pytest.mark.parametrize(
    ("command", "name"),
    [
        ("prepare --data", "x.txt"),
        ("prepare --data", "x.jsonl"),
        ("prepare --data bundled --valid", "x.json"),
        ("prepare --tokenizer", "x.model"),
        ("train --config", "x.toml"),
        ("train --resume", "x"),
        ("score", "x.txt"),
        ("tell End. --model", "x.bin"),
        ("tell End. --model", "x.gguf"),
        ("tell End. --model", "x"),
        ("tell End. --tokenizer", "x.json"),
        ("convert", "x.bin"),
        ("convert", "x.model"),
    ],
)
def test_commands_refuse_it(
    short: Path,
    kind: str,
    opened: list[socket.socket],
    command: str,
    name: str,
    capsys: pytest.CaptureFixture[str],
) -> None:
    make(name, kind, opened)
    subcommand, *before = command.split()
    after = ["out.bin"] if subcommand == "convert" else []
    assert run(subcommand, [*before, name, *after]) == 2
    said = capsys.readouterr().err
    assert said.count("\n") == 1
    assert name in said


INSIDE = {
    "tell End. --model model": ("config.json", "model.safetensors", "tokenizer.model"),
    "tell End. --model run": ("checkpoints/latest/model.safetensors",),
    "train --plain --no-compile --steps 1 --resume run": (
        *("config.toml", "metrics.jsonl", "tokenizer.model", "checkpoints/latest/training.json"),
        *("checkpoints/latest/optimizer.safetensors", "checkpoints/latest/model.safetensors"),
    ),
    "prepare --vocab-size 400 --data stories.txt": ("shards/*/train/*.bin", "tokenizers/*.model"),
}
"""What commands find inside what they are given, or in the cache."""


@pytest.fixture(scope="module")
def whole(
    codecs: dict[Order, StoryCodec],
    some_stories: list[str],
    tmp_path_factory: pytest.TempPathFactory,
) -> Path:
    """A folder in which the commands of INSIDE work."""
    folder = tmp_path_factory.mktemp("whole")
    codec = codecs[WORD]
    config = ModelConfig(
        dim=8, n_layers=1, n_heads=2, n_kv_heads=1, hidden_dim=8, vocab_size=400, context=16
    )
    arrays = {name: np.zeros(shape, np.float32) for name, shape in names.shapes(config).items()}
    model = from_arrays("drawn", config, arrays)
    model = replace(model, tokenizer=codec.tokenizer, order=codec.order)
    for target, to in (("model", "mlx"), ("run", "run")):
        convert(model, folder / target, to)
    (folder / "model" / "tokenizer.json").unlink()
    toml = folder / "run" / "config.toml"
    stories = folder / "stories.txt"
    stories.write_text("\n\n".join(some_stories[:60]), encoding="utf-8")
    text = toml.read_text().replace(f"{folder}/", "")
    toml.write_text(text.replace('data = "bundled"', 'data = "stories.txt"'))
    (folder / "run" / "metrics.jsonl").touch()
    prepare(DataConfig(data=str(stories)), 400, folder / "cache")
    return folder


@pytest.mark.timeout(300)
@pytest.mark.parametrize("kind", ["pipe", "device"], indirect=True)
@pytest.mark.parametrize(
    ("command", "name"), [(command, name) for command, names in INSIDE.items() for name in names]
)
def test_inside_what_is_given_too(
    short: Path,
    whole: Path,
    kind: str,
    opened: list[socket.socket],
    command: str,
    name: str,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("MLX_REV_WATCHDOG", "off")
    shutil.copytree(whole, short, symlinks=True, dirs_exist_ok=True)
    given = command.split()[-1]
    place = "cache" if given == "stories.txt" else given
    [path] = (short / place).glob(name)
    path.unlink()
    monkeypatch.chdir(path.parent)
    make(path.name, kind, opened)
    monkeypatch.chdir(short)
    assert run(command.split()[0], command.split()[1:]) == 2
    said = capsys.readouterr().err
    assert said.count("\n") == 1
    assert path.name in said or path.parent.name in said


@pytest.mark.parametrize(
    "command",
    [
        *(
            "prepare --data x.txt",
            "prepare --data x.jsonl",
            "prepare --data bundled --valid x.json",
        ),
        *("prepare --tokenizer x.model", "train --config x.toml", "score x.txt", "score ."),
        *("evaluate --valid x.txt", "tell End. --model x.bin", "convert x.gguf out.bin"),
    ],
)
def test_what_git_lfs_left_is_named_with_the_remedy(
    short: Path, command: str, capsys: pytest.CaptureFixture[str]
) -> None:
    name = next((word for word in command.split() if word.startswith("x.")), "x.txt")
    (short / name).write_text(
        f"version https://git-lfs.github.com/spec/v1\noid sha256:{'ab' * 32}\nsize 12345\n"
    )
    assert run(command.split()[0], command.split()[1:]) == 2
    said = capsys.readouterr().err
    assert said.count("\n") == 1
    assert f"{name}: a Git LFS pointer, not the file itself; run git lfs pull" in said


def test_a_cache_that_cannot_be_written_is_named_with_the_option(
    short: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    (short / "file").write_text("in the way")
    (short / "x.txt").write_text("One story.\n\nAnother story.")
    tokenizer = str(built_in_model() / "tokenizer.model")
    for cache in ("file", "file/cache"):
        monkeypatch.setenv("MLX_REV_CACHE", str(short / cache))
        assert run("prepare", ["--data", "x.txt", "--tokenizer", tokenizer]) == 2
        said = capsys.readouterr().err
        assert said.count("\n") == 1
        assert str(short / cache) in said
        assert "--cache or MLX_REV_CACHE" in said
    with pytest.raises(OSError, match="elsewhere"), files.naming_cache(short / "cache"):
        raise OSError(13, "Permission denied", str(short / "elsewhere"))
