import math

import mlx.core as mx
import numpy as np
import pytest

from mlx_rev.backend import Backend
from mlx_rev.config import ModelConfig
from mlx_rev.model.llama import Llama, initialise
from mlx_rev.model.score import score_stories, token_nats


@pytest.fixture
def model(tiny: ModelConfig, backend: Backend) -> Llama:
    model = Llama(tiny, backend.ops)
    initialise(model, seed=2)
    return model


def plain_nats(model: Llama, story: np.ndarray) -> np.ndarray:
    logits = model(mx.array(story[None, :-1]))[0]
    logits = logits - mx.logsumexp(logits, axis=-1, keepdims=True)
    return -np.array(logits)[np.arange(len(story) - 1), story[1:]]


def random_story(length: int) -> np.ndarray:
    ids = np.random.default_rng(length).integers(3, 400, length)
    return np.array([1, *ids, 1])


def test_stories_are_scored_each_alone(model: Llama) -> None:
    stories = [random_story(length) for length in (5, 63, 64, 1, 94, 30)]
    for story, nats in zip(stories, token_nats(model, stories), strict=True):
        assert nats == pytest.approx(plain_nats(model, story), abs=1e-4)


def test_a_long_story_is_read_in_overlapping_windows(model: Llama) -> None:
    context = model.config.context
    story = random_story(2 * context + 17)
    [nats] = token_nats(model, [story])
    assert len(nats) == len(story) - 1
    assert nats[:context] == pytest.approx(plain_nats(model, story[: context + 1]), abs=1e-4)
    start = context - context // 2
    second = plain_nats(model, story[start : start + context + 1])
    assert nats[context : start + context] == pytest.approx(second[context - start :], abs=1e-4)
    assert (nats > 0).all()


def test_bits_per_byte_are_nats_over_bytes(model: Llama) -> None:
    stories = [random_story(10), random_story(20)]
    score = score_stories(model, stories, text_bytes=100)
    nats = sum(row.sum() for row in token_nats(model, stories))
    assert score.tokens == 32
    assert score.bits_per_byte == pytest.approx(nats / math.log(2) / 100)
    assert score.nats_per_token == pytest.approx(nats / 32)
