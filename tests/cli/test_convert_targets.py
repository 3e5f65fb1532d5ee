"""What a conversion may replace, and what it leaves alone."""

from dataclasses import replace
from pathlib import Path

import pytest

from mlx_rev.config import ModelConfig
from mlx_rev.formats import run as run_format
from mlx_rev.formats.convert import convert
from mlx_rev.text.codec import StoryCodec
from mlx_rev.text.order import FORWARD, Order
from tests.conftest import Run
from tests.formats.conftest import drawn


@pytest.fixture(scope="module")
def folder(run: Run, trained: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A small model folder."""
    folder = tmp_path_factory.mktemp("source") / "model"
    assert run("convert", trained, folder).returncode == 0
    return folder


def refused(run: Run, *arguments: object, cwd: Path | None = None) -> str:
    done = run("convert", *arguments, cwd=cwd)
    assert done.returncode == 2, done.stdout
    assert done.stderr.count("\n") == 1, done.stderr
    return done.stderr


def tree(folder: Path) -> set[Path]:
    return set(folder.rglob("*"))


@pytest.mark.parametrize(
    ("strange", "said"),
    [
        (".git/HEAD", ".git"),
        ("thesis.tex", "thesis.tex"),
        ("training.json", "a training run"),
        ("checkpoints/x", "a training run"),
    ],
)
def test_force_replaces_models_and_nothing_else(
    run: Run, folder: Path, tmp_path: Path, strange: str, said: str
) -> None:
    target = tmp_path / "d"
    for flags in ((), ("--force",)):
        assert run("convert", folder, target, *flags).returncode == 0
    (target / strange).parent.mkdir(exist_ok=True)
    (target / strange).write_text("mine")
    before = tree(tmp_path)
    assert said in refused(run, folder, target, "--force")
    assert tree(tmp_path) == before


def test_links_and_the_folder_one_works_in_are_not_replaced(
    run: Run, folder: Path, tmp_path: Path
) -> None:
    target = tmp_path / "d"
    assert run("convert", folder, target).returncode == 0
    (tmp_path / "link").symlink_to(target)
    assert "a link" in refused(run, folder, tmp_path / "link", "--force")
    (target / "config.json").rename(tmp_path / "config.json")
    (target / "config.json").symlink_to(tmp_path / "config.json")
    before = tree(tmp_path)
    assert "holds config.json" in refused(run, folder, target, "--force")
    assert "the working directory" in refused(run, folder, ".", "--force", cwd=target)
    assert tree(tmp_path) == before


def test_a_model_does_not_take_its_tokenizers_name(run: Run, folder: Path, tmp_path: Path) -> None:
    for name in ("tokenizer.bin", "tokenizer.model"):
        target = tmp_path / name
        assert "choose another" in refused(run, folder, target, "--to", "llama2c", "--force")
    assert not tree(tmp_path)


def test_neighbours_of_others_stay(run: Run, folder: Path, shared: Path, tmp_path: Path) -> None:
    (tmp_path / "m.bin.json").write_text("{}")
    for flags in ((), ("--force",)):
        assert "not written by mlx-rev" in refused(run, folder, tmp_path / "m.bin", *flags)
    assert (tmp_path / "m.bin.json").read_text() == "{}"
    other = shared / "llama2c" / "stories260K.bin"
    assert run("convert", other, tmp_path / "one.bin").returncode == 0
    before = (tmp_path / "tokenizer.bin").read_bytes()
    for flags in ((), ("--force",)):
        assert "another folder" in refused(run, folder, tmp_path / "two.bin", *flags)
    assert (tmp_path / "tokenizer.bin").read_bytes() == before
    assert not (tmp_path / "two.bin").exists()
    assert run("convert", folder, tmp_path / "one.bin", "--force").returncode == 0


def test_a_file_does_not_replace_a_folder(run: Run, folder: Path, tmp_path: Path) -> None:
    for to in ("llama2c", "gguf"):
        said = refused(run, folder, tmp_path, "--to", to, "--force")
        assert "a folder, but this format is a file" in said


@pytest.mark.parametrize(
    ("source", "flags", "named"),
    [
        ("", ("--to", "run", "--force"), "--force does not apply to --to run"),
        ("", ("--to", "run", "--dtype", "q8"), "--dtype does not apply to --to run"),
        ("", ("--to", "run", "--push", "me/it"), "--push does not apply to --to run"),
        ("tokenizer.model", ("--push", "me/it"), "--push does not apply to a tokenizer"),
        ("tokenizer.model", ("--to", "gguf"), "--to does not apply to a tokenizer"),
    ],
)
def test_options_that_mean_nothing_are_refused(
    run: Run, folder: Path, tmp_path: Path, source: str, flags: tuple[str, ...], named: str
) -> None:
    assert named in refused(run, folder / source, tmp_path / "t.bin", *flags)
    assert not tree(tmp_path)


def test_a_run_is_made_whole_and_described(run: Run, shared: Path, tmp_path: Path) -> None:
    source = shared / "llama2c" / "stories260K.bin"
    made = run("convert", source, tmp_path / "my run", "--to", "run")
    assert made.returncode == 0, made.stderr
    for said in ("optimizer.safetensors", "tensors", "--reversal word", "--resume"):
        assert said in made.stdout
    assert "a run is not replaced" in refused(run, source, tmp_path / "my run", "--to", "run")
    assert [path.name for path in tmp_path.iterdir()] == ["my run"]


def test_a_run_that_fails_leaves_nothing(
    tiny: ModelConfig,
    codecs: dict[Order, StoryCodec],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def fail(config: object) -> str:
        raise OSError("no room")

    model = replace(drawn(tiny), tokenizer=codecs[FORWARD].tokenizer)
    monkeypatch.setattr(run_format, "to_toml", fail)
    with pytest.raises(OSError, match="no room"):
        convert(model, tmp_path / "run", "run")
    assert not tree(tmp_path)
