"""What several processes, or a reader and a writer, may do at the same time."""

import json
import os
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from mlx_rev import files, run_folder
from mlx_rev.config import ModelConfig
from mlx_rev.formats.detect import open_model
from mlx_rev.formats.model_file import ModelFile, from_arrays
from mlx_rev.formats.run import write_checkpoint
from mlx_rev.text.codec import StoryCodec
from mlx_rev.text.order import WORD, Order
from mlx_rev.train import checkpoint

Run = Callable[..., subprocess.CompletedProcess[str]]


def preparing(monkeypatch: pytest.MonkeyPatch, meanwhile: Callable[[], None]) -> None:
    """Do something once while the next training prepares its data."""
    from mlx_rev.cli import train

    prepare = train.prepare_shown

    def disturbed(*given: object) -> object:
        monkeypatch.setattr(train, "prepare_shown", prepare)
        meanwhile()
        return prepare(*given)  # type: ignore[arg-type]

    monkeypatch.setattr(train, "prepare_shown", disturbed)


def test_a_folder_is_held_while_its_data_is_prepared(
    run: Run, tiny_flags: list[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder, second = tmp_path / "run", []
    flags = ("train", *tiny_flags, "--steps", 2, "--out", folder, "--plain")
    preparing(monkeypatch, lambda: second.append(run(*flags)))
    assert run(*flags).returncode == 0
    assert second[0].returncode == 2
    assert f"{folder}: another process is at work in it" in second[0].stderr
    assert second[0].stdout == ""


def test_a_resume_is_held_too(
    run: Run, tiny_flags: list[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder, second = tmp_path / "run", []
    assert run("train", *tiny_flags, "--steps", 2, "--out", folder, "--plain").returncode == 0
    flags = ("train", "--resume", folder, "--steps", 3, "--plain")
    preparing(monkeypatch, lambda: second.append(run(*flags)))
    assert run(*flags).returncode == 0
    assert "another process is at work" in second[0].stderr


def test_two_starts_without_a_name_get_two_folders(
    run: Run, tiny_flags: list[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    flags = ("train", *tiny_flags, "--steps", 2, "--plain")
    second = []
    preparing(monkeypatch, lambda: second.append(run(*flags, cwd=tmp_path)))
    assert run(*flags, cwd=tmp_path).returncode == 0
    assert second[0].returncode == 0
    found = sorted((tmp_path / "runs").iterdir())
    assert [folder.name for folder in found] == ["stories-quick", "stories-quick-2"]
    assert all((folder / "checkpoints" / "latest").is_dir() for folder in found)


HOLDERS = """
import os, sys
from contextlib import ExitStack
from mlx_rev.cli.train import TrainCommand, _hold
from mlx_rev.config import DataConfig
os.chdir(sys.argv[1])
gate, come = os.pipe()
for _ in range(8):
    if os.fork() == 0:
        os.close(come)
        with ExitStack() as stack:
            os.read(gate, 1)
            run = _hold(TrainCommand(data=DataConfig(data="x.txt")), stack)
            os.write(1, f"{run}\\n".encode())
            sys.stdin.read()
        os._exit(0)
os.close(come)
while True:
    try:
        os.wait()
    except ChildProcessError:
        break
"""


@pytest.mark.process
def test_eight_starts_at_once_get_eight_folders(tmp_path: Path) -> None:
    process = subprocess.Popen(
        [sys.executable, "-c", HOLDERS, tmp_path],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
        env={**os.environ, "OPENBLAS_NUM_THREADS": "1"},
    )
    assert process.stdout is not None
    found = {process.stdout.readline().strip() for _ in range(8)}
    assert found == {f"runs/x-quick{suffix}" for suffix in ("", *(f"-{n}" for n in range(2, 9)))}
    process.communicate(timeout=60)


def filled(config: ModelConfig, codec: StoryCodec, value: int) -> ModelFile:
    """A model all of whose weights are `value`."""
    model = from_arrays("made", config, {}, codec.tokenizer, codec.order)
    arrays = {name: np.full(shape, value, np.float32) for name, shape in model.shapes.items()}
    return from_arrays("made", config, arrays, codec.tokenizer, codec.order)


@pytest.mark.parametrize("name", ["", "checkpoints/latest"])
def test_a_reader_gets_one_checkpoint_while_others_come_and_go(
    tmp_path: Path,
    tiny: ModelConfig,
    codecs: dict[Order, StoryCodec],
    name: str,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Each checkpoint's weights and provenance are its step."""
    monkeypatch.setattr(files.os, "fsync", lambda descriptor: None)  # the writer is to be quick

    def save(step: int) -> None:
        model = filled(tiny, codecs[WORD], step)
        progress = {"step": step, "losses": [], "best": None}
        write_checkpoint(
            tmp_path, model, [], progress, corpus_fingerprint=str(step), best=step % 2 == 0
        )
        checkpoint.remove_old(tmp_path, keep=1)

    def save_many() -> None:
        step = 2
        while not enough.is_set():
            save(step)
            step += 1

    save(1)
    enough = threading.Event()
    writer = threading.Thread(target=save_many)
    writer.start()
    seen = set()
    try:
        deadline = time.monotonic() + 120
        while len(seen) <= 20 and time.monotonic() < deadline:
            model = open_model(tmp_path / name)
            values = {float(value) for _, weight in model.weights() for value in weight.flat[:2]}
            assert values == {float(model.provenance["corpus_sha256"])}
            seen |= values
    finally:
        enough.set()
        writer.join()
    assert len(seen) > 20


def test_a_checkpoint_that_goes_while_it_is_read_gives_way_to_the_next(
    tmp_path: Path,
    tiny: ModelConfig,
    codecs: dict[Order, StoryCodec],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """It goes before each look at one of its files; what comes back is the next, and whole."""
    stat = Path.stat

    def save(run: Path, step: int) -> None:
        model = replace(filled(tiny, codecs[WORD], step), settings={"temperature": step / 10})
        progress = {"step": step, "losses": [], "best": None}
        write_checkpoint(run, model, [], progress, corpus_fingerprint=str(step), best=True)
        checkpoint.remove_old(run, keep=1)

    def read_while_it_goes(run: Path, last_look: int) -> bool:
        """Whether there were so many looks."""
        save(run, 1)
        first, looks = run_folder.latest(run), []

        def watched(path: Path, **given: Any) -> os.stat_result:
            if path.parent == first:
                looks.append(path.name)
                if len(looks) == last_look:
                    save(run, 2)
            return stat(path, **given)

        monkeypatch.setattr(Path, "stat", watched)
        model = open_model(run / "checkpoints" / "latest")
        monkeypatch.setattr(Path, "stat", stat)
        step = 2 if len(looks) >= last_look else 1
        assert model.provenance["corpus_sha256"] == str(step)
        assert model.settings == {"temperature": step / 10}
        assert model.tokenizer is not None
        weights = {float(value) for _, weight in model.weights() for value in weight.flat[:2]}
        assert weights == {float(step)}
        return step == 2

    looks = 1
    while read_while_it_goes(tmp_path / str(looks), looks):
        looks += 1
    assert looks > 4  # One for each file at least.


def test_a_live_process_s_temporaries_stay_and_a_dead_one_s_go(tmp_path: Path) -> None:
    holder = (
        "import sys, pathlib\nfrom mlx_rev import files\n"
        "folder = pathlib.Path(sys.argv[1])\n"
        "with files.atomic_path(folder / 'a.txt') as a, files.atomic_folder(folder / 'b') as b:\n"
        "    print(a.name, b.name, flush=True)\n    input()"
    )
    (tmp_path / ".mlx-rev-new-link").symlink_to("/")
    with subprocess.Popen(
        [sys.executable, "-c", holder, tmp_path],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    ) as process:
        assert process.stdout is not None
        names = {*process.stdout.readline().split(), ".mlx-rev-new-link"}
        files.write_text(tmp_path / "c.txt", "c")
        assert {path.name for path in tmp_path.iterdir()} == {*names, "c.txt"}
        process.kill()
    files.write_text(tmp_path / "c.txt", "c")
    assert {path.name for path in tmp_path.iterdir()} == {".mlx-rev-new-link", "c.txt"}


def test_temporaries_of_many_writers_at_once(tmp_path: Path) -> None:
    """None takes a newly made one, not locked yet, for a dead process's."""
    errors: list[BaseException] = []

    def write(name: str) -> None:
        try:
            for number in range(40):
                files.write_text(tmp_path / name, json.dumps(number))
                with files.atomic_folder(tmp_path / f"{name}-folder") as folder:
                    (folder / "content").write_text(str(number))
        except BaseException as error:
            errors.append(error)

    writers = [threading.Thread(target=write, args=[name]) for name in "abcd"]
    for writer in writers:
        writer.start()
    for writer in writers:
        writer.join()
    assert errors == []
    names = {path.name for path in tmp_path.iterdir()}
    assert names == {*"abcd", *(f"{name}-folder" for name in "abcd")}
    assert {(tmp_path / f"{name}-folder" / "content").read_text() for name in "abcd"} == {"39"}


def test_a_folder_that_was_being_replaced_comes_back(tmp_path: Path) -> None:
    aside = tmp_path / ".mlx-rev-old-1"
    (aside / "model").mkdir(parents=True)
    (aside / "model" / "content").write_text("old")
    files.remove_leftovers(tmp_path)
    assert (tmp_path / "model" / "content").read_text() == "old"
    assert [path.name for path in tmp_path.iterdir()] == ["model"]
