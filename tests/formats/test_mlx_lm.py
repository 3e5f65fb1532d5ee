"""mlx-lm takes the folders that are written here, and stops where run.c stops.

It is imported late: that takes seconds, which whoever runs other tests need not wait for.
"""

import json
import operator
from pathlib import Path

import mlx.core as mx
import numpy as np
import pytest

import mlx_rev
from mlx_rev.formats import names
from mlx_rev.formats.detect import built_in_model, open_model
from mlx_rev.text.order import WORD

pytestmark = pytest.mark.process

# Endings whose greedy stories are short.
ENDINGS = ["They all lived happily ever after.", "The end."]


def test_its_greedy_stories_are_ours_and_end_at_the_boundary() -> None:
    from mlx_lm import generate, load, stream_generate

    model, tokenizer = load(str(built_in_model()))
    model.set_dtype(mx.float32)  # the files have float16, in which mlx-lm would compute
    teller = mlx_rev.load()
    finished = []
    for ending in ENDINGS:
        told = teller.tell(ending, temperature=0.0, repetition_penalty=1.0)
        prompt = tokenizer.encode(WORD.reverse(ending))
        written = list(stream_generate(model, tokenizer, prompt, max_tokens=256 - len(prompt)))
        assert [step.token for step in written] == list(told.tokens)
        finished.append(written[-1].finish_reason)
    assert "stop" in finished
    text = generate(model, tokenizer, prompt, max_tokens=20)
    assert WORD.reverse(text.rstrip()) in told.text


def test_what_its_converter_makes_of_ours_talks(tmp_path: Path) -> None:
    from mlx_lm import convert

    folder = tmp_path / "quantised"
    convert(str(built_in_model()), str(folder), quantize=True, q_bits=8)
    assert not (folder / "tokenizer.model").exists()
    teller = mlx_rev.load(folder)
    ending = "They all lived happily ever after."
    assert teller.tell(ending, temperature=0.0, repetition_penalty=1.0).text.endswith(ending)
    theirs, ours = teller.codec.tokenizer, mlx_rev.load().codec.tokenizer
    assert theirs.encode(ending) == ours.encode(ending)


@pytest.mark.parametrize("group_size", [None, 32])
def test_mixed_recipes_are_read_as_mlx_lm_reads_them(
    tmp_path: Path, group_size: int | None
) -> None:
    """For the default group size its converter writes null for every layer."""
    from mlx_lm import convert
    from mlx_lm.utils import load_model

    folder = tmp_path / "mixed"
    options = {"q_group_size": group_size, "quant_predicate": "mixed_3_6"}
    convert(str(built_in_model()), str(folder), quantize=True, **options)
    settings = json.loads((folder / "config.json").read_text())["quantization"]
    layers = [value for value in settings.values() if isinstance(value, dict)]
    assert {layer["group_size"] for layer in layers} == {group_size}
    assert len({layer["bits"] for layer in layers}) == 2
    theirs, _ = load_model(folder)
    ours = open_model(folder)
    for number, layer in enumerate(theirs.model.layers):
        for projection in ("self_attn.v_proj", "mlp.gate_proj"):
            part = operator.attrgetter(projection)(layer)
            parts = (part.weight, part.scales, part.biases)
            kept = mx.dequantize(*parts, group_size=part.group_size, bits=part.bits)
            name = names.layer_name(number, projection)
            difference = np.array(kept.astype(mx.float32)) - ours.weight(name)
            assert np.abs(difference).max() < 1e-3
