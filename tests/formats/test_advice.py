"""What is said of a conversion's result can be pasted into a shell, and is true."""

import shlex
from dataclasses import replace
from pathlib import Path

import pytest

from mlx_rev.formats import advice
from mlx_rev.formats.convert import Format
from mlx_rev.formats.lazy import LazyModel
from mlx_rev.formats.model_card import model_card
from mlx_rev.text.reversal import Reversal

TARGET = Path("my models", "m.bin")


@pytest.mark.parametrize("to", Format)
def test_each_command_reverses_what_has_to_be(talking: LazyModel, to: Format) -> None:
    said = {
        reversal: advice.how_to_run(TARGET, to, replace(talking, reversal=reversal))
        for reversal in Reversal
    }
    for command in said.values():
        assert str(TARGET) in shlex.split(command)
    assert said[Reversal.WORD].count("mlx-rev wtac") == 2
    assert "wtac" not in said[Reversal.NONE]
    assert said[Reversal.TOKEN].startswith("mlx-rev tell")


@pytest.mark.parametrize(
    ("to", "program"), [("llama2c", "run.c"), ("mlx", "mlx-lm"), ("gguf", "llama.cpp")]
)
def test_a_token_reversed_model_warns(talking: LazyModel, to: str, program: str) -> None:
    (note,) = advice.notes(replace(talking, reversal=Reversal.TOKEN), to)
    assert f"{program} cannot prompt it" in note


def test_the_card_of_eight_bits_promises_no_transformers(talking: LazyModel) -> None:
    assert "With mlx-lm or transformers" in model_card(talking, "m")
    card = model_card(talking, "my m", quantised=True)
    assert "transformers does not read" in card
    assert "--model 'my m'" in card
