"""What is said of a conversion's result can be pasted into a shell, and is true."""

import os
import shlex
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest

from mlx_rev.formats import advice, registry
from mlx_rev.formats.model_card import model_card
from mlx_rev.formats.model_file import ModelFile
from mlx_rev.text.order import BOTH_WAYS, FORWARD, TOKEN

TARGET = Path("my models", "m.bin")
ROOT = Path(__file__).parents[2]


STUB = """#!/bin/sh
for argument; do printf '%s\\n' "$argument"; done >> {log}
printf '%s' {answer}
"""
PROGRAMS = {
    "llama2c": ("run", ".happy were They fed .sat cat The\n", "-i"),
    "llama2c-v1": ("run", ".happy were They fed .sat cat The\n", "-i"),
    "llama2c-v2": ("runq", ".happy were They fed .sat cat The\n", "-i"),
    "mlx": ("mlx_lm.generate", "fed .sat cat The\n", "--prompt"),
    "gguf": ("llama-completion", " .happy were They fed .sat cat The [end of text]\n\n", "-p"),
}
"""Of each format: whose program, what it prints, and its option for the prompt."""


def in_a_shell(command: str, folder: Path, name: str, answer: str) -> tuple[list[str], str]:
    """What a program called `name` is given when a command is pasted, and what comes out."""
    log = folder / "given"
    stub = STUB.format(log=shlex.quote(str(log)), answer=shlex.quote(answer))
    wtac = f'#!/bin/sh\nexec {shlex.quote(sys.executable)} -m mlx_rev "$@"\n'
    for program, content in ((name, stub), ("mlx-rev", wtac)):
        (folder / program).write_text(content)
        (folder / program).chmod(0o755)
    path = f"{folder}:{os.environ['PATH']}"
    done = subprocess.run(
        ["sh", "-c", command],
        cwd=folder,
        env={**os.environ, "PATH": path, "PYTHONPATH": str(ROOT)},
        capture_output=True,
        text=True,
        check=True,
    )
    return log.read_text().splitlines(), done.stdout


@pytest.mark.parametrize("to", PROGRAMS)
def test_a_command_pasted_gives_the_story_in_reading_order(
    tmp_path: Path, talking: ModelFile, to: str
) -> None:
    name, answer, option = PROGRAMS[to]
    command = registry.named(to).how_to_run(TARGET, talking)
    given, story = in_a_shell(command, tmp_path, name, answer)
    assert str(TARGET) in given
    assert given[given.index(option) + 1] == ".happy were They"
    assert story.rstrip("\n") == "The cat sat. fed They were happy."


@pytest.mark.parametrize("to", PROGRAMS)
def test_a_forward_model_gets_an_opening(tmp_path: Path, talking: ModelFile, to: str) -> None:
    name, _, option = PROGRAMS[to]
    forward = replace(talking, order=FORWARD)
    answer = "there was" if to == "mlx" else "Once upon a time there was"
    given, story = in_a_shell(
        registry.named(to).how_to_run(TARGET, forward), tmp_path, name, answer
    )
    assert given[given.index(option) + 1] == "Once upon a time"
    assert story.rstrip("\n") == "Once upon a time there was"


@pytest.mark.parametrize("to", PROGRAMS)
def test_a_token_reversed_model_is_told_by_us(talking: ModelFile, to: str) -> None:
    command = registry.named(to).how_to_run(TARGET, replace(talking, order=TOKEN))
    assert shlex.split(command) == [
        *("mlx-rev", "tell", "They were happy.", "--model", str(TARGET))
    ]


@pytest.mark.parametrize(
    ("to", "program"), [("llama2c", "run.c"), ("mlx", "mlx-lm"), ("gguf", "llama.cpp")]
)
def test_a_token_reversed_model_warns(talking: ModelFile, to: str, program: str) -> None:
    (note,) = advice.notes(replace(talking, order=TOKEN), registry.named(to))
    assert f"{program} cannot prompt it" in note


def test_the_card_of_eight_bits_promises_no_transformers(talking: ModelFile) -> None:
    assert "With mlx-lm or transformers" in model_card(talking, "m", "")
    card = model_card(talking, "my m", "", quantised=True)
    assert "transformers cannot read" in card
    assert "--model 'my m'" in card


def test_the_card_says_what_the_model_can_do(talking: ModelFile) -> None:
    card = model_card(replace(talking, order=FORWARD), "m", "")
    assert 'mlx-rev tell "Once upon a time" --model m' in card
    assert "reversing" not in card
    assert "forwards, too" not in card
    backward = model_card(talking, "m", "")
    assert "which does the reversing" in backward
    assert "forwards, too" not in backward
    both = model_card(replace(talking, order=BOTH_WAYS[0]), "m", "")
    assert "It reads and writes forwards, too" in both
