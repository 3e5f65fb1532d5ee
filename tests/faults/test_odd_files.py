"""Pipes, devices, sockets and folders where a file is expected: a sentence, and at once."""

import os
import socket
from collections.abc import Iterator
from pathlib import Path

import pytest

from mlx_rev import files
from mlx_rev.__main__ import run
from mlx_rev.errors import RevError
from mlx_rev.formats.detect import built_in_model

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
