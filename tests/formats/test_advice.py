"""What is said of a conversion's result can be pasted into a shell, and is true."""

import shlex
from dataclasses import replace
from pathlib import Path

import pytest

from mlx_rev.formats import advice
from mlx_rev.formats.convert import Format
from mlx_rev.formats.model_card import model_card
from mlx_rev.formats.model_file import ModelFile
from mlx_rev.text.order import FORWARD, ORDERS, TOKEN, WORD, WORD2

TARGET = Path("my models", "m.bin")


@pytest.mark.parametrize("to", Format)
def test_each_command_reverses_what_has_to_be(talking: ModelFile, to: Format) -> None:
    said = {order: advice.how_to_run(TARGET, to, replace(talking, order=order)) for order in ORDERS}
    for command in said.values():
        assert str(TARGET) in shlex.split(command)
    assert said[WORD].count("mlx-rev wtac --article") == 2
    assert said[WORD2].count("mlx-rev wtac") == 2
    assert "--article" not in said[WORD2]
    assert "wtac" not in said[FORWARD]
    assert said[TOKEN].startswith("mlx-rev tell")


@pytest.mark.parametrize(
    ("to", "program"), [("llama2c", "run.c"), ("mlx", "mlx-lm"), ("gguf", "llama.cpp")]
)
def test_a_token_reversed_model_warns(talking: ModelFile, to: str, program: str) -> None:
    (note,) = advice.notes(replace(talking, order=TOKEN), to)
    assert f"{program} cannot prompt it" in note


def test_the_card_of_eight_bits_promises_no_transformers(talking: ModelFile) -> None:
    assert "With mlx-lm or transformers" in model_card(talking, "m")
    card = model_card(talking, "my m", quantised=True)
    assert "transformers does not read" in card
    assert "--model 'my m'" in card
