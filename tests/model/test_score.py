import math

import mlx.core as mx
import numpy as np
import pytest

from mlx_rev.backend import Backend
from mlx_rev.config import ModelConfig
from mlx_rev.model import score
from mlx_rev.model.llama import Llama, initialise
from mlx_rev.model.score import score_stories, token_nats
from mlx_rev.model.scorer import PlainScorer, Scorer


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
        assert nats.dtype == np.float64


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


def test_what_was_read_once_is_gone_on_from_in_any_number_of_rows(model: Llama) -> None:
    scorer, story = model.ops.scorer(model), random_story(20)
    for read in (0, 12):
        cache = scorer.read(story[:read].tolist(), 9)
        inputs, targets = story[read : read + 9], story[read + 1 : read + 10]
        for rows in (1, 3):
            shared = scorer.shared(cache, rows)
            texts = (mx.array(np.tile(ids, (rows, 1))) for ids in (inputs, targets))
            found = scorer.nats(*texts, shared)
            expected = plain_nats(model, story[: read + 10])[read:]
            assert found == pytest.approx(np.tile(expected, (rows, 1)), abs=1e-4)


def test_what_was_read_is_kept_in_one_row_with_no_more_room_than_was_asked_for(
    tiny: ModelConfig,
) -> None:
    cache = PlainScorer(Llama(tiny)).read([1, 5, 7], 9)
    assert {layer.keys.shape for layer in cache} == {(1, tiny.n_kv_heads, 12, tiny.head_dim)}


def test_stories_of_any_length_are_scored_a_few_positions_at_a_time(
    model: Llama, monkeypatch: pytest.MonkeyPatch
) -> None:
    stories = [random_story(length) for length in (1, 3, 40, 62, 63, 64, 80, 94, 95, 200, 5)]
    expected = token_nats(model, stories)
    read: list[tuple[int, ...]] = []
    kind = type(model.ops.scorer(model))
    whole = kind.nats

    def reading(scorer: Scorer, inputs: mx.array, targets: mx.array) -> np.ndarray:
        read.append(inputs.shape)
        return whole(scorer, inputs, targets)  # type: ignore[arg-type]

    monkeypatch.setattr(score, "_BATCH_POSITIONS", 192)
    monkeypatch.setattr(kind, "nats", reading)
    found = token_nats(model, stories)
    for nats, alike in zip(found, expected, strict=True):
        assert nats == pytest.approx(alike, abs=1e-4)
    # Of at most the context, which is no multiple of 64; the longest first, nearly full.
    assert {width for _, width in read} == {64, 96}
    assert max(rows * width for rows, width in read) == 192
    assert read == sorted(read, key=lambda size: -size[1])
    assert len(read) <= sum(rows * width for rows, width in read) / 192 * 1.5


def test_a_window_is_padded_to_the_next_multiple_of_64_within_the_context() -> None:
    windows = [score._Window(0, 0, length, 0) for length in (1, 63, 64, 65, 100)]
    assert [score._padded(window, 100) for window in windows] == [64, 64, 64, 100, 100]


def test_each_window_starts_half_a_context_before_the_last_one_ends() -> None:
    for targets in (1, 95, 96, 97, 144, 145, 500):
        windows = list(score._windows(0, targets, 96))
        counted = [(window.counted_from, window.stop) for window in windows]
        assert [start for start, _ in counted] == [0, *(stop for _, stop in counted[:-1])]
        assert counted[-1][1] == targets
        assert [window.start for window in windows] == [48 * n for n in range(len(windows))]
        assert all(window.stop - window.start <= 96 for window in windows)
        assert len(windows) == max(1, -(-(targets - 48) // 48))
