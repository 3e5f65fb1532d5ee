"""Layers and pieces left out: what is kept is as it was, and every text has a spelling."""

from dataclasses import replace
from pathlib import Path

import mlx.core as mx
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from mlx_rev.config import ModelConfig
from mlx_rev.errors import ConfigError, FormatError
from mlx_rev.formats import names
from mlx_rev.formats.convert import convert
from mlx_rev.formats.detect import open_model
from mlx_rev.formats.model_file import ModelFile
from mlx_rev.formats.smaller import keep_layers, keep_vocabulary, layers_in
from mlx_rev.model.llama import Llama, set_weights
from mlx_rev.model.load import read_weights
from mlx_rev.text.byte_level import ByteLevel
from mlx_rev.text.order import BOTH_WAYS, TOKEN, WORD2, Order
from tests.byte_level import byte_level
from tests.conftest import Run
from tests.formats.conftest import drawn

CONFIG = ModelConfig(
    dim=16, n_layers=5, n_heads=2, n_kv_heads=1, hidden_dim=20, vocab_size=600, context=64,
    tied=False,
)  # fmt: skip


@pytest.fixture(scope="module")
def model(some_stories: list[str]) -> ModelFile:
    return replace(drawn(CONFIG), tokenizer=byte_level(some_stories, 600), order=TOKEN)


@pytest.fixture(scope="module")
def cut(model: ModelFile, some_stories: list[str]) -> ModelFile:
    return keep_vocabulary(model, some_stories[:3])


def spelled(model: ModelFile, text: str) -> list[bytes]:
    assert model.tokenizer is not None
    return [model.tokenizer.piece_bytes[token] for token in model.tokenizer.encode(text)]


def test_layers_by_number() -> None:
    assert layers_in("0-2,4, 7-7") == [0, 1, 2, 4, 7]
    for wrong in ("", "3-1", "1,1", "2,0", "x", "-1", "1-2-3", "0,99999"):
        with pytest.raises(ConfigError, match="expected rising numbers and ranges"):
            layers_in(wrong)


def test_the_layers_kept_are_those(tmp_path: Path, model: ModelFile) -> None:
    fewer = keep_layers(model, [0, 1, 4])
    convert(fewer, tmp_path / "m")
    found = open_model(tmp_path / "m")
    assert found.config == replace(CONFIG, n_layers=3)
    for new, old in enumerate([0, 1, 4]):
        for weight in names.LAYER_WEIGHTS:
            kept, was = names.layer_name(new, weight), names.layer_name(old, weight)
            assert np.array_equal(found.weight(kept), model.weight(was)), kept
    assert np.array_equal(found.weight(names.OUTPUT), model.weight(names.OUTPUT))
    assert found.provenance == {"kept_layers": "0,1,4 of 5"}
    with pytest.raises(FormatError, match="has no layer 5; its layers are 0 to 4"):
        keep_layers(model, [0, 5])


def test_the_texts_keep_their_spelling(
    model: ModelFile, cut: ModelFile, some_stories: list[str]
) -> None:
    assert cut.config.vocab_size < 500
    for story in some_stories[:3]:
        assert spelled(cut, story) == spelled(model, story)
        words = story.split(" ")
        for start in range(0, len(words) - 4, 7):  # whole words, from within
            part = " " + " ".join(words[start : start + 4])
            assert spelled(cut, part) == spelled(model, part)


@pytest.mark.parametrize("order", [WORD2, BOTH_WAYS[0]])
def test_as_the_model_reads_them(some_stories: list[str], order: Order) -> None:
    """A word that follows punctuation has no space in front of it, where words are reversed."""
    tokenizer = byte_level([WORD2.reverse(story) for story in some_stories], 600)
    model = replace(drawn(CONFIG), tokenizer=tokenizer, order=order)
    cut = keep_vocabulary(model, some_stories[:3])
    assert cut.config.vocab_size < 500
    for story in some_stories[:3]:
        assert spelled(cut, WORD2.reverse(story)) == spelled(model, WORD2.reverse(story))
        if order.also_forward:
            assert spelled(cut, story) == spelled(model, story)


def test_the_end_of_a_text_gets_its_new_number(model: ModelFile, some_stories: list[str]) -> None:
    assert model.tokenizer is not None
    theirs = replace(model, order=None, stated_end=599, tokenizer=model.tokenizer.ending_with(599))
    cut = keep_vocabulary(theirs, some_stories[:3])
    assert cut.tokenizer is not None
    ends = cut.tokenizer.piece_bytes[cut.end_of_text], model.tokenizer.piece_bytes[599]
    assert ends[0] == ends[1]


@given(st.text(st.characters(exclude_categories=["Cs"]), max_size=60))
def test_every_other_text_has_a_spelling_too(cut: ModelFile, text: str) -> None:
    assert b"".join(spelled(cut, text)) == text.encode()


def test_what_is_left_is_as_likely_as_it_was(
    tmp_path: Path, model: ModelFile, cut: ModelFile, some_stories: list[str]
) -> None:
    """The logits of the kept pieces are the whole model's, after a way through a file."""
    convert(cut, tmp_path / "m.gguf")
    found = open_model(tmp_path / "m.gguf")
    assert found.provenance == cut.provenance
    assert "kept_pieces" in cut.provenance
    assert isinstance(found.tokenizer, ByteLevel)
    assert isinstance(model.tokenizer, ByteLevel)
    old = [model.tokenizer.vocabulary.pieces.index(p) for p in found.tokenizer.vocabulary.pieces]
    logits = []
    for each in (found, model):
        net = Llama(each.config)
        set_weights(net, read_weights(each))
        assert each.tokenizer is not None
        ids = each.tokenizer.encode(some_stories[0])[:40]
        logits.append(np.array(net(mx.array([[each.boundary, *ids]]))[0]))
    assert np.allclose(logits[0], logits[1][:, old], atol=1e-5)


def test_a_sentencepiece_vocabulary_is_left_whole(talking: ModelFile) -> None:
    with pytest.raises(FormatError, match="only that can be cut down"):
        keep_vocabulary(talking, ["a"])


def test_on_the_command_line(
    run: Run, tmp_path: Path, model: ModelFile, some_stories: list[str]
) -> None:
    convert(model, tmp_path / "m")
    text = tmp_path / "t.txt"
    text.write_text("\n<|endoftext|>\n".join(some_stories[:3]), encoding="utf-8")
    options = ("--keep-layers", "0,3-4", "--keep-vocabulary", text)
    done = run("convert", tmp_path / "m", tmp_path / "small", *options)
    assert done.returncode == 0, done.stderr
    found = open_model(tmp_path / "small")
    assert found.config.n_layers == 3
    assert found.tokenizer is not None
    assert found.tokenizer.vocab_size == found.config.vocab_size < 500
    assert set(found.provenance) == {"kept_layers", "kept_pieces"}
    done = run("convert", tmp_path / "m", tmp_path / "x", "--keep-layers", "9")
    assert (done.returncode, "has no layer 9" in done.stderr) == (2, True)
