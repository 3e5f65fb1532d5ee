"""mlx-lm takes the folders that are written here, and stops where run.c stops."""

from pathlib import Path

import pytest
from mlx_lm import convert, generate, load, stream_generate

import mlx_rev
from mlx_rev.formats.detect import shipped_model
from mlx_rev.text.order import reverse_words

pytestmark = pytest.mark.process

# Endings whose greedy stories are whole within the context.
ENDINGS = ["They all lived happily ever after.", "The end.", "Tim and his mom went home."]


def test_its_greedy_stories_are_ours_and_end_at_the_boundary() -> None:
    model, tokenizer = load(str(shipped_model()))
    teller = mlx_rev.load()
    finished = []
    for ending in ENDINGS:
        told = teller.tell(ending, temperature=0.0)
        prompt = tokenizer.encode(reverse_words(ending))
        written = list(stream_generate(model, tokenizer, prompt, max_tokens=256 - len(prompt)))
        assert [step.token for step in written] == list(told.tokens)
        finished.append(written[-1].finish_reason)
        text = generate(model, tokenizer, prompt, max_tokens=256 - len(prompt))
        assert reverse_words(text.rstrip()) in told.text
    assert "stop" in finished


def test_what_its_converter_makes_of_ours_talks(tmp_path: Path) -> None:
    folder = tmp_path / "quantised"
    convert(str(shipped_model()), str(folder), quantize=True, q_bits=8)
    assert not (folder / "tokenizer.model").exists()
    teller = mlx_rev.load(folder)
    ending = "They all lived happily ever after."
    assert teller.tell(ending, temperature=0.0).text.endswith(ending)
    theirs, ours = teller.codec.tokenizer, mlx_rev.load().codec.tokenizer
    assert theirs.encode(ending) == ours.encode(ending)
