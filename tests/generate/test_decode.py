import time
from dataclasses import replace

import mlx.core as mx
import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from mlx_rev.backend import CPU, PLAIN, Backend, Reader
from mlx_rev.config import ModelConfig, SampleConfig
from mlx_rev.errors import ConfigError
from mlx_rev.generate import decode, sampler
from mlx_rev.generate.decode import begin_stories, kept_prompt, write_stories
from mlx_rev.generate.story import Story
from mlx_rev.generate.teller import Teller
from mlx_rev.model.cache import Cache
from mlx_rev.model.llama import Llama, get_weights, initialise, set_weights
from mlx_rev.model.load import Loaded
from mlx_rev.model.score import token_nats
from mlx_rev.text.codec import StoryCodec
from mlx_rev.text.order import ORDERS, TOKEN, WORD, Order
from mlx_rev.text.tokenizer import BOUNDARY
from tests.forms import backend

__all__ = ["backend"]


@pytest.fixture
def tiny(tiny: ModelConfig) -> ModelConfig:
    """Of one layer: most of what is here, both forms do."""
    return replace(tiny, n_layers=1)


@pytest.fixture
def model(tiny: ModelConfig, backend: Backend) -> Llama:
    model = Llama(tiny, backend.ops)
    initialise(model, seed=4)
    set_weights(model, {n: w * 6 if w.ndim > 1 else w for n, w in get_weights(model).items()})
    return model


def reader_of(model: Llama) -> Reader:
    """The reader of the backend whose forms a model has."""
    return next(each for each in (PLAIN, CPU) if each.ops is model.ops).reader(model)


def told(model: Llama, codec: StoryCodec, endings: list[str], config: SampleConfig) -> list[Story]:
    stories = begin_stories(model, codec, endings, config)
    reader = reader_of(model)
    grown = [story.index for story in write_stories(model, codec, stories, config, reader)]
    for index, story in enumerate(stories):
        assert grown.count(index) == len(story.tokens) == len(story.surprises)
    return stories


def test_who_waits_between_two_tokens_makes_no_story_slower(
    model: Llama, codecs: dict[Order, StoryCodec]
) -> None:
    config = SampleConfig(seed=3, max_tokens=4)
    begun, waited = time.perf_counter(), 0.0
    stories = begin_stories(model, codecs[WORD], ["The end.", "They ran."], config)
    for _ in write_stories(model, codecs[WORD], stories, config, reader_of(model)):
        before = time.perf_counter()
        time.sleep(0.01)
        waited += time.perf_counter() - before
    took = time.perf_counter() - begun
    assert waited > 0.05
    assert all(0 < story.seconds <= took - waited for story in stories)


@pytest.mark.parametrize("order", ORDERS)
def test_every_frame_has_the_prompt_as_typed(
    model: Llama, codecs: dict[Order, StoryCodec], order: Order
) -> None:
    prompt = " Sam went home. \n"
    codec, config = codecs[order], SampleConfig(seed=3, temperature=1.5)
    stories = begin_stories(model, codec, [prompt], config)
    reader = reader_of(model)
    frames = [story.text for story in write_stories(model, codec, stories, config, reader)]
    assert len(frames) > 5
    kept = str.endswith if order.grows_leftwards else str.startswith
    assert all(kept(frame, prompt) for frame in frames)


def test_a_byte_order_mark_is_no_part_of_an_ending(
    model: Llama, codecs: dict[Order, StoryCodec]
) -> None:
    endings = ["\ufeffSam went home.", "Sam went home."]
    stories = begin_stories(model, codecs[WORD], endings, SampleConfig())
    assert [story.prompt for story in stories] == ["Sam went home."] * 2
    assert stories[0].spelling == stories[1].spelling


def test_a_story_is_what_its_tokens_say(model: Llama, codecs: dict[Order, StoryCodec]) -> None:
    codec = codecs[WORD]
    [story] = told(model, codec, ["Sam went home."], SampleConfig(seed=8, temperature=1.2))
    written = [token for token in story.tokens if token != BOUNDARY]
    prompt = codec.prompt("Sam went home.").spellings[0]
    assert story.finished == "length"
    # A character whose bytes are not all written yet is not shown, or not yet.
    half_character = "\ufffd"
    text = story.text.removeprefix(half_character)
    assert text == codec.decode([*prompt, *written]).removeprefix(half_character)


def test_surprise_is_the_models_own(model: Llama, codecs: dict[Order, StoryCodec]) -> None:
    codec = codecs[WORD]
    [story] = told(model, codec, ["Sam went home."], SampleConfig(seed=5, temperature=0.7))
    prompt = codec.prompt("Sam went home.").spellings[0]
    whole = np.array([*prompt, *story.tokens])
    [nats] = token_nats(model, [whole])
    bits = nats[len(prompt) - 1 :] / np.log(2)
    assert list(story.surprises) == pytest.approx(bits, abs=1e-3)


def test_a_story_does_not_depend_on_its_neighbours(
    model: Llama, codecs: dict[Order, StoryCodec]
) -> None:
    codec = codecs[WORD]
    endings = ["Sam went home.", "The dog was very happy and it ran to the park.", ""]
    together = told(model, codec, endings, SampleConfig(seed=20))
    for index, ending in enumerate(endings):
        [alone] = told(model, codec, [ending], SampleConfig(seed=20 + index))
        assert (alone.tokens, alone.finished) == (together[index].tokens, together[index].finished)


def test_a_long_prompt_beside_it_does_not_cut_a_story_short(
    model: Llama, codecs: dict[Order, StoryCodec]
) -> None:
    """Each fills its own context, at positions of its own, whatever the padding in front."""
    codec, shape = codecs[WORD], model.config
    # Half of the context, so that the last positions are the last that there can be.
    endings = ["So.", "Sam went home. " * 30, "The dog ran."]
    config = SampleConfig(seed=38, temperature=1.2)
    together = told(model, codec, endings, config)
    assert len(together[1].spelling) == shape.context // 2
    assert {story.finished for story in together} == {"length"}
    for index, story in enumerate(together):
        assert len(story.spelling) + story.length == shape.context
        [alone] = told(model, codec, [endings[index]], replace(config, seed=38 + index))
        assert alone.tokens == story.tokens
        assert alone.surprises == pytest.approx(story.surprises, abs=1e-3)


def test_of_no_ending_there_is_no_story(model: Llama, codecs: dict[Order, StoryCodec]) -> None:
    teller = Teller(Loaded(model, codecs[WORD]), reader_of(model))
    assert list(teller.stream([])) == []


@given(seed=st.integers(0, 10_000))
@settings(max_examples=10, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_the_first_token_leaves_the_endings_first_word_alone(
    model: Llama, codecs: dict[Order, StoryCodec], seed: int
) -> None:
    codec = codecs[WORD]
    config = SampleConfig(seed=seed, temperature=50.0, top_p=1.0, max_tokens=2)
    [story] = told(model, codec, ["butter was on it."], config)
    prompt = codec.prompt("butter was on it.").spellings[0]
    assert codec.decode([*prompt, *story.tokens]).endswith("butter was on it.")


def test_it_stops_at_the_boundary_at_max_tokens_and_at_the_end_of_the_context(
    model: Llama, codecs: dict[Order, StoryCodec]
) -> None:
    codec = codecs[WORD]
    [short] = told(model, codec, ["It was so."], SampleConfig(max_tokens=3))
    assert len(short.tokens) == 3 or short.tokens[-1] == BOUNDARY
    stops = {
        story.finished
        for story in told(model, codec, ["It was so."] * 24, SampleConfig(temperature=3.0))
    }
    assert stops == {"boundary", "length"}


def test_memory_is_flat_while_a_story_grows(model: Llama, codecs: dict[Order, StoryCodec]) -> None:
    codec, reader = codecs[WORD], reader_of(model)
    config = SampleConfig(temperature=1.0, seed=2)
    stories = begin_stories(model, codec, ["It was so."], config)
    active = [mx.get_active_memory() for _ in write_stories(model, codec, stories, config, reader)]
    assert len(active) > 20
    assert max(active[5:]) - min(active[5:]) < 10_000


def test_marks_other_than_the_boundary_are_never_written(
    model: Llama, codecs: dict[Order, StoryCodec]
) -> None:
    config = SampleConfig(temperature=100.0, top_p=1.0)
    stories = told(model, codecs[WORD], ["It was so."] * 16, config)
    tokens = {token for story in stories for token in story.tokens}
    assert len(tokens) > 100
    assert not tokens & {0, 2}


def test_a_long_prompt_is_cut_on_the_side_away_from_the_story(
    model: Llama, codecs: dict[Order, StoryCodec]
) -> None:
    assert kept_prompt((1, *range(10, 30)), 96) == (1, *range(10, 30))
    assert kept_prompt((1, *range(10, 30)), 8) == (1, 27, 28, 29)
    ending = "Sam went home. " * 40
    teller = Teller(Loaded(model, codecs[WORD]), reader_of(model))
    story = teller.tell(ending, max_tokens=5)
    assert story.left_out > 0
    assert story.left_out + len(story.spelling) == len(teller.codec.prompt(ending).spellings[0])
    assert story.text.endswith(ending)


def test_of_two_spellings_the_likelier_is_chosen(
    codecs: dict[Order, StoryCodec], tiny: ModelConfig, backend: Backend
) -> None:
    codec = codecs[TOKEN]
    spellings = codec.prompt("Sam went home.").spellings
    starts = [codec.tokenizer.piece_bytes[spelling[-1]][:1] for spelling in spellings]
    assert starts == [b" ", b"S"]
    chosen = []
    for seed in range(8):
        model = Llama(tiny, backend.ops)
        initialise(model, seed)
        nats = [row.sum() for row in token_nats(model, [np.array(s) for s in spellings])]
        [story] = told(model, codec, ["Sam went home."], SampleConfig(temperature=0, max_tokens=1))
        chosen.append(story.generated.endswith(" "))
        assert chosen[-1] == (nats[0] < nats[1])


def test_spellings_are_drawn_by_their_odds(
    codecs: dict[Order, StoryCodec], tiny: ModelConfig, backend: Backend
) -> None:
    codec = codecs[TOKEN]
    model = Llama(tiny, backend.ops)
    initialise(model, 0)
    config = SampleConfig(temperature=20.0, max_tokens=1)
    stories = told(model, codec, ["Sam went home."] * 60, config)
    spaced = sum(story.generated.endswith(" ") for story in stories)
    assert 15 < spaced < 55


def test_impossible_settings_are_refused(model: Llama, codecs: dict[Order, StoryCodec]) -> None:
    teller = Teller(Loaded(model, codecs[WORD]), reader_of(model))
    with pytest.raises(ConfigError, match=r"top_p is 2.*expected"):
        teller.tell("x", top_p=2)
    with pytest.raises(ConfigError, match="no setting 'heat'"):
        teller.tell("x", heat=2)


def test_the_penalty_looks_back_on_the_prompt_and_on_what_was_written(
    model: Llama, codecs: dict[Order, StoryCodec], monkeypatch: pytest.MonkeyPatch
) -> None:
    seen: list[np.ndarray] = []
    sample = sampler.sample

    def watched(logits: np.ndarray, recent: np.ndarray, *given: object) -> np.ndarray:
        seen.append(recent)
        return sample(logits, recent, *given)  # type: ignore[arg-type]

    monkeypatch.setattr(sampler, "sample", watched)
    endings = ["Sam went home.", "The dog was very happy and it ran to the park."]
    stories = told(model, codecs[WORD], endings, SampleConfig(seed=20, max_tokens=60))
    window = sampler.REPETITION_WINDOW
    assert len(stories[1].spelling) + len(seen) - 1 > window > len(stories[0].spelling)
    for step, recent in enumerate(seen):
        growing = [story for story in stories if step < len(story.tokens)]
        for row, story in zip(recent, growing, strict=True):
            read = [*[-1] * window, *story.spelling, *story.tokens[:step]]
            assert row.tolist() == read[-window:]


def test_a_prompt_that_stories_share_is_read_once_and_done_stories_no_longer(
    model: Llama, codecs: dict[Order, StoryCodec]
) -> None:
    codec, shapes = codecs[WORD], []

    reader = reader_of(model)

    def watched(tokens: mx.array, cache: Cache, segment_start: mx.array) -> np.ndarray:
        shapes.append(tokens.shape)
        return reader(tokens, cache, segment_start)

    endings = ["Sam went home."] * 5 + ["The dog ran."]
    config = SampleConfig(temperature=3.0, seed=0)
    stories = begin_stories(model, codec, endings, config)
    for _ in write_stories(model, codec, stories, config, watched):
        pass
    assert shapes[:2] == [(2, max(len(story.spelling) for story in stories)), (6, 1)]
    assert sum(rows for rows, _ in shapes[1:]) < 2 * sum(len(s.tokens) - 1 for s in stories)
    assert len({story.text for story in stories}) == 6
    for index in (1, 5):
        [alone] = told(model, codec, [endings[index]], replace(config, seed=index))
        assert alone.tokens[:20] == stories[index].tokens[:20]


def test_what_ends_at_its_last_token_is_whole_and_others_keep_what_is_theirs(
    codecs: dict[Order, StoryCodec], tiny: ModelConfig, monkeypatch: pytest.MonkeyPatch
) -> None:
    seen: list[np.ndarray] = []

    def sample(logits: np.ndarray, recent: np.ndarray, *given: object) -> np.ndarray:
        seen.append(recent)
        return np.array([BOUNDARY, 50][-len(logits) :])

    monkeypatch.setattr(sampler, "sample", sample)
    model = Llama(tiny)
    for tokens in (1, 2):
        config = SampleConfig(max_tokens=tokens)
        stories = begin_stories(model, codecs[WORD], ["Sam went home.", "It ran."], config)
        for _ in write_stories(model, codecs[WORD], stories, config):
            pass
        assert [story.finished for story in stories] == ["boundary", "length"]
    own = [*stories[1].spelling, 50]
    assert seen[-1][:, -len(own) :].tolist() == [own]


def test_a_higher_temperature_evens_out_the_odds_of_spellings() -> None:
    nats = np.array([0.0, 5.0])
    for temperature in (2.5, 5.0):
        drawn = [decode._choose_spelling(nats, temperature, seed) for seed in range(300)]
        assert np.mean(drawn) == pytest.approx(1 / (1 + np.exp(5 / temperature)), abs=0.06)
