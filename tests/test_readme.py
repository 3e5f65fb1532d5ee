"""Every command of the README does what it is there for, in the README's order."""

import io
import json
import os
import re
import shlex
import subprocess
import sys
import tarfile
from collections.abc import Callable, Iterator
from pathlib import Path

import huggingface_hub
import pytest

from mlx_rev.data import tinystories
from tests.hub import FakeHub, serving, use_here

ROOT = Path(__file__).parents[1]
README = (ROOT / "README.md").read_text(encoding="utf-8")
Run = Callable[..., subprocess.CompletedProcess[str]]

# What makes a command quick; the last of a flag counts.
SMALL = "--steps 2 --batch-size 2 --eval-stories 4 --warmup 1 --eval-every 2 --no-compile --plain"
TINY = f"{SMALL} --vocab-size 400 --dim 32 --n-layers 1 --hidden-dim 64 --context 64"
SHORTER = {
    "mlx-rev train --data tinystories --preset 260k": f"{TINY} --out runs/tiny",
    "mlx-rev train --data my-stories.txt --steps 2000 --out runs/mine": "FLAGS --plain --steps 3",
    "mlx-rev train --resume runs/mine": "--steps 5 --plain",
    "mlx-rev train --data my-stories.txt --init-from stories9m": f"{SMALL} --context 64",
    "mlx-rev train --data my-stories.txt --reversal": TINY,
    "mlx-rev prepare": "--vocab-size 400 --context 96 --plain",
    "mlx.launch": f"{TINY} --workers 1 --data my-stories.txt --valid-share 0.1",
    "python tools/benchmark.py": "--shapes tiny --rounds 1 --seconds 0.01 --no-telling --no-torch",
    "mlx-rev score": "--count 3",
    "mlx-rev evaluate": "--count 4 --max-tokens 24 --plain",
    "mlx-rev tell": "--max-tokens 8",
    "mlx-rev repl": "--max-tokens 8",
}
LONG = ("mlx.launch", "python tools/benchmark.py")
"""Commands that take ten seconds each even so."""
RUN_C = """#!/bin/sh
# Stands for llama2.c's run: run MODEL -z TOKENIZER -i PROMPT, at temperature 0.
set -e
mkdir -p as-run-c-sees-it
cp "$1" as-run-c-sees-it/model.bin
cp "$3" as-run-c-sees-it/tokenizer.bin
mlx-rev tell "$5" --model as-run-c-sees-it/model.bin --reversal none --temperature 0 --max-tokens 24
"""


def commands() -> list[str]:
    blocks = re.findall(r"```sh\n(.*?)```", README, flags=re.DOTALL)
    return [line for block in blocks for line in block.splitlines() if line]


def test_a_story_comes_first_then_the_two_commands() -> None:
    tell = '.venv/bin/mlx-rev tell "They shared the cake and everyone was happy."'
    assert commands()[:3] == ["make setup", tell, ".venv/bin/mlx-rev repl"]
    assert commands()[3:5] == ["make train", "make test"]


@pytest.mark.parametrize(
    ("command", "program"),
    [("make setup", "pip"), ("make train", "mlx-rev train"), ("make test", "pytest")],
)
def test_make_has_its_commands(command: str, program: str) -> None:
    assert command in commands()
    done = subprocess.run(
        [*command.split(), "--dry-run", "--always-make", "PYTHON=python3"],
        cwd=ROOT,
        capture_output=True,
        check=True,
        text=True,
    )
    assert program in done.stdout


def test_pictures_and_links_are_there() -> None:
    for target in re.findall(r"\]\(([^)#]+)\)", README):
        assert target.startswith("https://") or (ROOT / target).exists(), target


@pytest.fixture
def folder(
    tmp_path: Path, trained: Path, some_stories: list[str], monkeypatch: pytest.MonkeyPatch
) -> Path:
    """A clone, as far as the commands can tell, with a run in it."""
    for name in ("tools", "weights", "mlx_rev"):
        (tmp_path / name).symlink_to(ROOT / name)
    (tmp_path / ".venv").symlink_to(sys.prefix)
    (tmp_path / "runs").mkdir()
    (tmp_path / "runs" / "bundled-quick").symlink_to(trained)
    (tmp_path / "my-stories.txt").write_text("\n<|endoftext|>\n".join(some_stories))
    diary = [json.dumps({"day": number, "body": each}) for number, each in enumerate(some_stories)]
    (tmp_path / "diary").mkdir()
    (tmp_path / "diary" / "first.jsonl").write_text("\n".join(diary[:200]))
    (tmp_path / "diary" / "second.jsonl").write_text("\n".join(diary[200:]))
    here = {"ssh": "127.0.0.1", "ips": ["127.0.0.1"]}
    (tmp_path / "hosts.json").write_text(json.dumps([here, here]))
    run_c = tmp_path / "run"
    run_c.write_text(RUN_C)
    run_c.chmod(0o755)
    return tmp_path


def hubs(folder: Path, some_stories: list[str], model: Path) -> tuple[dict[str, object], ...]:
    """What the hub has of TinyStories, and of llama2.c's models."""
    content = io.BytesIO()
    with tarfile.open(fileobj=content, mode="w:gz") as tar:
        for name, share in (("data00.json", some_stories[:20]), ("data01.json", some_stories[20:])):
            data = json.dumps([{"story": story} for story in share]).encode()
            member = tarfile.TarInfo(name)
            member.size = len(data)
            tar.addfile(member, io.BytesIO(data))
    stories = {
        "repository": f"datasets/{tinystories.REPOSITORY}",
        "files": {tinystories.ARCHIVE: content.getvalue()},
    }
    small = {
        "repository": "models/karpathy/tinyllamas",
        "files": {
            "stories260K/stories260K.bin": model.read_bytes(),
            "stories260K/tok400.bin": model.with_name("tokenizer.bin").read_bytes(),
        },
    }
    return stories, small


Shell = Callable[[str], str]


@pytest.fixture
def shell(
    folder: Path,
    run: Run,
    tiny_flags: list[str],
    some_stories: list[str],
    command_environment: dict[str, str],
) -> Iterator[Shell]:
    """Does a command in the clone; gives what it prints. What needs no shell is done in this
    process, but for the first of all."""
    known = run("convert", folder / "runs" / "bundled-quick", folder / "known" / "model.bin")
    assert known.returncode == 0, known.stderr
    stories, small = hubs(folder, some_stories, folder / "known" / "model.bin")

    def output_of(command: str) -> str:
        if not command.startswith(".venv/bin/mlx-rev tell"):
            command = command.removeprefix(".venv/bin/")
        plain = re.sub(r'^(echo "[^"]*" \| |\.venv/bin/)', "", command)
        shorter = next((more for start, more in SHORTER.items() if plain.startswith(start)), "")
        command = f"{command} {shorter.replace('FLAGS', shlex.join(tiny_flags))}".strip()
        piped = re.fullmatch(r'echo "([^"]*)" \| (mlx-rev [^|]*)', command)
        given, ours = piped.groups() if piped else ("The end.", command)
        served = small if "hf:" in command else stories
        with serving(type("Hub", (FakeHub,), served), folder / "hf") as hub:
            if ours.startswith("mlx-rev ") and not re.search(r"[|$]", ours):
                with pytest.MonkeyPatch.context() as patch:
                    use_here(hub, patch)
                    done = run(*shlex.split(ours)[1:], stdin=f"{given}\n", cwd=folder)
            else:
                programs = f"{Path(sys.executable).parent}:{os.environ['PATH']}"
                done = subprocess.run(
                    ["bash", "-o", "pipefail", "-c", command],
                    cwd=folder,
                    env={**command_environment, **hub, "PATH": programs},
                    input="The end.\n",
                    capture_output=True,
                    encoding="utf-8",
                    check=False,
                )
        assert done.returncode == 0, f"{command}\n{done.stdout}\n{done.stderr}"
        return done.stdout

    yield output_of
    huggingface_hub.close_session()


@pytest.mark.process
def test_every_command_works(folder: Path, shell: Shell) -> None:
    """But for those of make, and those that are long."""
    outputs = {
        command: shell(command)
        for command in commands()
        if not command.startswith(("make ", *LONG))
    }
    for command, output in outputs.items():
        if "butterfly in the sky." in command:
            assert output.endswith("butterfly in the sky.\n")
        elif re.search(r"mlx-rev (tell|repl)", command):
            assert len(output) > 20, command
    for split in ("", " --article"):
        assert outputs[f'echo "This is a test." | mlx-rev wtac{split}'] == ".test a is This\n"
    assert (folder / "out" / "model.bin").exists()
    assert (folder / "my-model" / "config.json").exists()


@pytest.mark.slow
def test_the_long_commands_work(folder: Path, shell: Shell) -> None:
    found = [shell(command) for command in commands() if command.startswith(LONG)]
    assert len(found) == len(LONG)
    assert (folder / "benchmark" / "benchmark.png").exists()
    assert (folder / "runs" / "shared" / "checkpoints" / "best").exists()


@pytest.mark.process
def test_the_python_works(capsys: pytest.CaptureFixture[str]) -> None:
    [block] = re.findall(r"```python\n(.*?)```", README, flags=re.DOTALL)
    exec(block, {})
    assert capsys.readouterr().out.endswith("They all lived happily ever after.\n")
