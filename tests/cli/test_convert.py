"""The converter as a person uses it, and a hub on loopback."""

import hashlib
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import huggingface_hub
import pytest
from huggingface_hub import constants

import mlx_rev
from tests.conftest import Run
from tests.hub import FakeHub, serving, use_endpoint, use_here

ENDING = "They were happy."


def tell(run: Run, model: object, *more: object) -> str:
    flags = ("--model", model, "--temperature", 0, "--max-tokens", 24)
    done = run("tell", ENDING, *flags, *more)
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_a_run_goes_through_every_format_and_tells_the_same_story(
    run: Run, trained: Path, tmp_path: Path
) -> None:
    story = tell(run, trained)
    steps = [("a.bin", ()), ("folder", ()), ("b.gguf", ()), ("c.bin", ("--to", "llama2c-v1"))]
    source: Path = trained
    for name, flags in steps:
        target = tmp_path / Path(name).stem / name
        done = run("convert", source, target, *flags)
        assert done.returncode == 0, done.stderr
        written = target / "model.safetensors" if target.is_dir() else target
        assert hashlib.sha256(written.read_bytes()).hexdigest()[:16] in done.stdout
        assert tell(run, target) == story
        source = target
    again = tmp_path / "run"
    assert run("convert", source, again, "--to", "run").returncode == 0
    assert tell(run, again) == story


def test_the_table_names_files_errors_and_the_command(
    run: Run, trained: Path, tmp_path: Path
) -> None:
    done = run("convert", trained, tmp_path / "q.bin", "--dtype", "q8")
    assert done.returncode == 0, done.stderr
    assert "llama2c-v2, q8" in done.stdout
    assert "tokenizer.bin" in done.stdout
    assert re.search(r"largest rounding error 0\.\d+, in model\.", done.stdout)
    assert "mlx-rev wtac" in done.stdout


@pytest.mark.process
def test_the_script_is_the_command(trained: Path, tmp_path: Path) -> None:
    script = Path(__file__).parents[2] / "tools" / "convert.py"
    done = subprocess.run(
        [sys.executable, str(script), str(trained), str(tmp_path / "m.gguf")],
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert (tmp_path / "m.gguf").read_bytes().startswith(b"GGUF")


def test_nothing_is_replaced_without_force(run: Run, trained: Path, tmp_path: Path) -> None:
    target = tmp_path / "m.bin"
    target.write_text("mine")
    done = run("convert", trained, target)
    assert done.returncode == 2
    assert "exists" in done.stderr
    assert target.read_text() == "mine"
    assert run("convert", trained, target, "--force").returncode == 0
    (tmp_path / "folder").mkdir()
    (tmp_path / "folder" / "thesis.tex").write_text("mine")
    done = run("convert", trained, tmp_path / "folder", "--force")
    assert done.returncode == 2
    assert (tmp_path / "folder" / "thesis.tex").read_text() == "mine"


@pytest.mark.parametrize(
    ("flags", "said"),
    [
        (("--to", "gguf", "--dtype", "bfloat16"), "gguf cannot hold bfloat16"),
        (("--to", "onnx"), "onnx"),
        (("--tokenizer", "missing.model"), "missing.model: cannot be read"),
    ],
)
def test_wrong_input_is_one_clear_line(
    run: Run, trained: Path, tmp_path: Path, flags: tuple[str, ...], said: str
) -> None:
    done = run("convert", trained, tmp_path / "out", *flags)
    assert done.returncode == 2
    assert said in done.stderr
    assert "Traceback" not in done.stderr
    assert not (tmp_path / "out").exists()


def test_what_is_no_model_is_refused(run: Run, tmp_path: Path) -> None:
    (tmp_path / "notes.txt").write_text("not a model " * 50)
    for source in ("notes.txt", "missing.bin"):
        done = run("convert", tmp_path / source, tmp_path / "out.bin")
        assert done.returncode == 2
        assert source in done.stderr
        assert done.stderr.count("\n") == 1


def test_a_bin_alone_says_what_it_lacks(run: Run, trained: Path, tmp_path: Path) -> None:
    assert run("convert", trained, tmp_path / "m.bin").returncode == 0
    story = tell(run, tmp_path / "m.bin")
    (tmp_path / "m.bin.json").unlink()
    done = run("tell", ENDING, "--model", tmp_path / "m.bin")
    assert "does not say how its text is reversed" in done.stderr
    assert done.stdout.startswith(ENDING)
    assert tell(run, tmp_path / "m.bin", "--reversal", "word") == story
    kept = tmp_path / "elsewhere.bin"
    (tmp_path / "tokenizer.bin").rename(kept)
    (tmp_path / "tokenizer.model").unlink()
    assert "give --tokenizer" in run("tell", ENDING, "--model", tmp_path / "m.bin").stderr
    flags = ("--reversal", "word", "--tokenizer", kept)
    assert tell(run, tmp_path / "m.bin", *flags) == story


def test_a_built_in_model_is_named_in_the_command_and_in_python(run: Run, tmp_path: Path) -> None:
    done = run("convert", "stories9m", "m.gguf", cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    assert (tmp_path / "m.gguf").stat().st_size > 5_000_000
    assert mlx_rev.load("stories9m").model.config.vocab_size == 2048
    missing = run("convert", "stories7m", tmp_path / "n.gguf")
    assert missing.returncode == 2
    assert "built-in model (stories9m)" in missing.stderr


def test_a_tokenizer_json_converts_alone(run: Run, trained: Path, tmp_path: Path) -> None:
    made = trained / "checkpoints" / "best" / "tokenizer.json"
    assert run("convert", made, tmp_path / "t.model").returncode == 0
    assert tell(run, trained, "--tokenizer", tmp_path / "t.model") == tell(run, trained)


def test_a_tokenizer_converts_alone(run: Run, trained: Path, tmp_path: Path) -> None:
    assert run("convert", trained / "tokenizer.model", tmp_path / "t.bin").returncode == 0
    assert run("convert", tmp_path / "t.bin", tmp_path / "t.model").returncode == 0
    assert run("convert", tmp_path / "t.model", tmp_path / "u.bin").returncode == 0
    assert (tmp_path / "t.bin").read_bytes() == (tmp_path / "u.bin").read_bytes()


@pytest.mark.process
def test_training_begins_with_a_given_model(
    run: Run, trained: Path, tiny_flags: list[str], tmp_path: Path
) -> None:
    assert run("convert", trained, tmp_path / "m.bin").returncode == 0
    data = tiny_flags[tiny_flags.index("--data") + 1]
    flags = ("--data", data, "--batch-size", 4, "--warmup", 0, "--no-compile", "--plain")
    done = run(
        *("train", "--init-from", tmp_path / "m.bin", "--out", tmp_path / "more"),
        *(*flags, "--steps", 1, "--learning-rate", 1e-9, "--min-learning-rate", 0),
    )
    assert done.returncode == 0, done.stderr
    assert tell(run, tmp_path / "more") == tell(run, trained)


@pytest.fixture
def hub(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, command_environment: dict[str, str]
) -> Iterator[type[FakeHub]]:
    """A hub with nothing in it, which commands use, in this process and in others."""
    handler = type("Hub", (FakeHub,), {"files": {}, "uploaded": {}})
    with serving(handler, tmp_path / "hf") as settings:
        for name, value in settings.items():
            monkeypatch.setitem(command_environment, name, value)
        use_here(settings, monkeypatch)
        yield handler
    huggingface_hub.close_session()


def test_models_come_from_the_hub(
    run: Run, run_process: Run, trained: Path, tmp_path: Path, hub: type[FakeHub]
) -> None:
    assert run("convert", trained, tmp_path / "m.bin").returncode == 0
    assert run("convert", trained, tmp_path / "folder").returncode == 0
    for path in tmp_path.glob("folder/*"):
        hub.files[path.name] = path.read_bytes()
    for name in ("m.bin", "m.bin.json", "tokenizer.bin", "tokenizer.model"):
        hub.files[f"small/{name}"] = (tmp_path / name).read_bytes()
    story = tell(run, trained)
    assert tell(run_process, "hf:me/tale") == story
    assert tell(run, "hf:me/tale/small/m.bin") == story
    assert tell(run, "hf:me/tale/small/m.bin@main") == story
    missing = run("tell", ENDING, "--model", "hf:me/tale/small/other.bin")
    assert missing.returncode == 2
    assert "other.bin" in missing.stderr
    assert missing.stderr.count("\n") == 1
    assert run("convert", "hf:nowhere", tmp_path / "x").returncode == 2


def test_a_folder_of_a_repository_is_a_model(
    run: Run,
    trained: Path,
    tmp_path: Path,
    hub: type[FakeHub],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    assert run("convert", trained, tmp_path / "folder").returncode == 0
    for path in tmp_path.glob("folder/*"):
        hub.files[f"deep/er/{path.name}"] = path.read_bytes()
    story = tell(run, trained)
    references = ("hf:me/tale/deep/er", "hf:me/tale/deep/er/model.safetensors@main")
    for offline in (False, True):
        monkeypatch.setattr(constants, "HF_HUB_OFFLINE", offline)
        for reference in references:
            assert tell(run, reference) == story
    (tmp_path / "linked").mkdir()
    for path in tmp_path.glob("folder/*"):
        blob = tmp_path / f"blob-{path.name}"
        path.rename(blob)
        (tmp_path / "linked" / path.name).symlink_to(blob)
    assert tell(run, tmp_path / "linked" / "model.safetensors") == story


@pytest.mark.parametrize("path", ["", "/m.bin", "/model.safetensors"])
def test_a_repository_that_is_not_there_is_a_sentence(
    run: Run, tmp_path: Path, hub: type[FakeHub], path: str
) -> None:
    done = run("convert", f"hf:you/none{path}", tmp_path / "x")
    assert done.returncode == 2
    assert done.stderr.count("\n") == 1
    assert "no such repository on the hub" in done.stderr


def test_a_hub_that_cannot_be_reached_is_a_sentence(
    run: Run, trained: Path, tmp_path: Path, hub: type[FakeHub], monkeypatch: pytest.MonkeyPatch
) -> None:
    use_endpoint("http://127.0.0.1:9", monkeypatch)
    done = run("convert", trained, tmp_path / "m.gguf", "--push", "me/tale")
    assert done.returncode == 2
    assert done.stderr.count("\n") == 1
    assert "the hub cannot be reached" in done.stderr
    assert (tmp_path / "m.gguf").is_file()


def test_a_conversion_is_pushed(
    run: Run, trained: Path, tmp_path: Path, hub: type[FakeHub]
) -> None:
    done = run("convert", trained, tmp_path / "folder", "--push", "me/tale")
    assert done.returncode == 0, done.stderr
    assert "uploaded to" in done.stdout
    for path in (tmp_path / "folder").iterdir():
        assert hub.uploaded[path.name] == path.read_bytes()
    assert "backwards" in hub.uploaded["README.md"].decode()


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("m.gguf", {"m.gguf"}),
        ("m.bin", {"m.bin", "m.bin.json", "tokenizer.bin", "tokenizer.model"}),
    ],
)
def test_only_what_the_conversion_wrote_is_pushed(
    run: Run,
    trained: Path,
    tmp_path: Path,
    hub: type[FakeHub],
    name: str,
    expected: set[str],
) -> None:
    assert run("convert", trained, tmp_path / "private.bin").returncode == 0
    (tmp_path / "m.gguf.json").write_text("{}")
    done = run("convert", trained, tmp_path / name, "--push", "me/tale")
    assert done.returncode == 0, done.stderr
    assert set(hub.uploaded) - {".gitattributes"} == expected
