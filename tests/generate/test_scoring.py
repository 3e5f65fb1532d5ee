"""Scores by sentence: of every order, nothing counted twice and nothing left out."""

import string

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from mlx_rev.config import ModelConfig
from mlx_rev.generate.scoring import ScoredText, by_sentence, score_encoded, total
from mlx_rev.model.llama import Llama, initialise
from mlx_rev.model.score import score_stories
from mlx_rev.text.codec import StoryCodec
from mlx_rev.text.order import ORDERS, Order
from mlx_rev.text.sentences import sentences

TEXT = 'Once there was a fox. He said, "Hi!"  They ran to Bé.\nThe end. I sat.'
COUNTED = (string.ascii_letters + "\n").encode()
"""A newline belongs to the sentence in front of it."""
texts = st.text(alphabet='ab é.!?"\n', min_size=1, max_size=40).filter(str.strip)


@pytest.mark.parametrize("order", ORDERS)
@given(text=texts, seed=st.integers(0, 99))
def test_the_sentences_join_to_the_text_and_have_all_of_its_surprise(
    codecs: dict[Order, StoryCodec], order: Order, text: str, seed: int
) -> None:
    codec = codecs[order]
    [ids] = codec.enclosed([text])
    nats = np.random.default_rng(seed).uniform(0.1, 5, len(ids) - 1)
    found = by_sentence(codec, text, ScoredText(tuple(ids[1:-1]), nats))
    assert "".join(sentence.text for sentence in found) == text
    assert [sentence.text.strip() for sentence in found] == [s.strip() for s in sentences(text)]
    spelled = sum(
        own
        for token, own in zip(ids[1:-1], nats[:-1], strict=True)
        if codec.tokenizer.piece_bytes[token]
    )
    assert sum(sentence.bits for sentence in found) <= spelled / np.log(2) + 1e-6


@pytest.mark.parametrize("order", ORDERS)
def test_a_surprise_is_the_sentences_in_which_it_is(
    codecs: dict[Order, StoryCodec], order: Order
) -> None:
    codec = codecs[order]
    [ids] = codec.enclosed([TEXT])
    pieces = [codec.tokenizer.piece_bytes[token] for token in ids[1:-1]]
    bits = [float(sum(piece.count(letter) for letter in COUNTED)) for piece in pieces]
    scored = ScoredText(tuple(ids[1:-1]), np.array([*bits, 7.0]) * np.log(2))
    found = by_sentence(codec, TEXT, scored)
    assert scored.bits == pytest.approx(sum(bits) + 7)
    letters = [sum(letter in COUNTED for letter in one.text.encode()) for one in found]
    assert [round(one.bits, 6) for one in found] == letters == [16, 8, 11, 6, 4]
    assert found[2].bits_per_byte == pytest.approx(11 / len(found[2].text.encode()))


def test_a_long_text_is_scored_as_score_stories_does(
    codecs: dict[Order, StoryCodec], tiny: ModelConfig, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("mlx_rev.generate.scoring._WINDOWS_OF_A_PART", 2)
    monkeypatch.setattr("mlx_rev.generate.scoring._PARTS_AT_ONCE", 2)
    codec, model = codecs[ORDERS[0]], Llama(tiny)
    initialise(model, 1)
    stories = ["The dog ran. " * 120, "Tom went home."]
    done: list[int] = []
    encoded = codec.enclosed(stories)
    scored = score_encoded(model, encoded, done.append)
    assert [len(one.nats) for one in scored] == [len(ids) - 1 for ids in encoded]
    assert sum(done) == sum(len(one.nats) for one in scored)
    assert max(done) == tiny.context + 2 * tiny.context // 2
    expected = score_stories(
        model, [np.array(ids) for ids in encoded], sum(len(story) for story in stories)
    )
    found = total(scored, stories)
    assert found.nats == pytest.approx(expected.nats, rel=1e-5)
    assert (found.tokens, found.text_bytes) == (expected.tokens, expected.text_bytes)
