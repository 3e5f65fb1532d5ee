import mlx.core as mx
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mlx_rev.config import ModelConfig, SampleConfig
from mlx_rev.cpu.decode import CompiledReader
from mlx_rev.errors import ConfigError
from mlx_rev.generate.decode import StoryEvent, kept_prompt, write_stories
from mlx_rev.generate.teller import Teller
from mlx_rev.model.llama import Llama, get_weights, initialise, set_weights
from mlx_rev.model.load import Loaded
from mlx_rev.model.score import token_nats
from mlx_rev.text.codec import StoryCodec
from mlx_rev.text.order import Order
from mlx_rev.text.tokenizer import BOUNDARY


@pytest.fixture(scope="module")
def model(tiny: ModelConfig) -> Llama:
    model = Llama(tiny)
    initialise(model, seed=4)
    set_weights(model, {n: w * 6 if w.ndim > 1 else w for n, w in get_weights(model).items()})
    return model


def told(
    model: Llama, codec: StoryCodec, endings: list[str], config: SampleConfig
) -> list[list[StoryEvent]]:
    events: list[list[StoryEvent]] = [[] for _ in endings]
    for event in write_stories(model, codec, [codec.prompt(e) for e in endings], config):
        events[event.index].append(event)
    return events


@pytest.mark.parametrize("reversal", Order)
def test_every_frame_has_the_prompt_as_typed(
    model: Llama, codecs: dict[Order, StoryCodec], reversal: Order
) -> None:
    prompt = " Sam went home. \n"
    [events] = told(model, codecs[reversal], [prompt], SampleConfig(seed=3, temperature=1.5))
    assert events
    for event in events:
        if reversal.grows_leftwards:
            assert event.story == event.generated + prompt
        else:
            assert event.story == prompt + event.generated


def test_a_story_is_what_its_tokens_say(model: Llama, codecs: dict[Order, StoryCodec]) -> None:
    codec = codecs[Order.WORD]
    [events] = told(model, codec, ["Sam went home."], SampleConfig(seed=8, temperature=1.2))
    written = [event.token for event in events if event.token != BOUNDARY]
    prompt = codec.prompt("Sam went home.").spellings[0]
    assert events[-1].finished == "length"
    # A character whose bytes are not all written yet is not shown, or not yet.
    half_character = "\ufffd"
    story = events[-1].story.removeprefix(half_character)
    assert story == codec.decode([*prompt, *written]).removeprefix(half_character)


def test_surprise_is_the_models_own(model: Llama, codecs: dict[Order, StoryCodec]) -> None:
    codec = codecs[Order.WORD]
    [events] = told(model, codec, ["Sam went home."], SampleConfig(seed=5, temperature=0.7))
    prompt = codec.prompt("Sam went home.").spellings[0]
    whole = np.array([*prompt, *(event.token for event in events)])
    [nats] = token_nats(model, [whole])
    bits = nats[len(prompt) - 1 :] / np.log(2)
    assert [event.surprise for event in events] == pytest.approx(bits, abs=1e-3)


def test_a_story_does_not_depend_on_its_neighbours(
    model: Llama, codecs: dict[Order, StoryCodec]
) -> None:
    codec = codecs[Order.WORD]
    endings = ["Sam went home.", "The dog was very happy and it ran to the park.", ""]
    together = told(model, codec, endings, SampleConfig(seed=20))
    for index, ending in enumerate(endings):
        [alone] = told(model, codec, [ending], SampleConfig(seed=20 + index))
        both = min(len(alone), len(together[index]))
        assert [e.token for e in alone][:both] == [e.token for e in together[index]][:both]


@given(seed=st.integers(0, 10_000))
@settings(max_examples=10)
def test_the_first_token_leaves_the_endings_first_word_alone(
    model: Llama, codecs: dict[Order, StoryCodec], seed: int
) -> None:
    codec = codecs[Order.WORD]
    config = SampleConfig(seed=seed, temperature=50.0, top_p=1.0, max_tokens=2)
    [events] = told(model, codec, ["butter was on it."], config)
    prompt = codec.prompt("butter was on it.").spellings[0]
    assert codec.decode([*prompt, *(e.token for e in events)]).endswith("butter was on it.")


def test_it_stops_at_the_boundary_at_max_tokens_and_at_the_end_of_the_context(
    model: Llama, codecs: dict[Order, StoryCodec]
) -> None:
    codec = codecs[Order.WORD]
    [short] = told(model, codec, ["It was so."], SampleConfig(max_tokens=3))
    assert len(short) == 3 or short[-1].token == BOUNDARY
    stops = {
        events[-1].finished
        for events in told(model, codec, ["It was so."] * 24, SampleConfig(temperature=3.0))
    }
    assert stops == {"boundary", "length"}


@pytest.mark.parametrize("warm", [False, True])
def test_memory_is_flat_while_a_story_grows(
    model: Llama, codecs: dict[Order, StoryCodec], warm: bool
) -> None:
    reader = CompiledReader(model)
    if warm:
        reader.warm_up()
        reader.wait()
    codec = codecs[Order.WORD]
    config = SampleConfig(temperature=1.0, seed=2)
    active = [
        mx.get_active_memory()
        for _ in write_stories(model, codec, [codec.prompt("It was so.")], config, reader)
    ]
    assert len(active) > 20
    assert max(active[5:]) - min(active[5:]) < 10_000


def test_marks_other_than_the_boundary_are_never_written(
    model: Llama, codecs: dict[Order, StoryCodec]
) -> None:
    config = SampleConfig(temperature=100.0, top_p=1.0)
    stories = told(model, codecs[Order.WORD], ["It was so."] * 16, config)
    tokens = {event.token for events in stories for event in events}
    assert len(tokens) > 100
    assert not tokens & {0, 2}


def test_a_long_prompt_is_cut_on_the_side_away_from_the_story(
    model: Llama, codecs: dict[Order, StoryCodec]
) -> None:
    assert kept_prompt((1, *range(10, 30)), 96) == (1, *range(10, 30))
    assert kept_prompt((1, *range(10, 30)), 8) == (1, 27, 28, 29)
    ending = "Sam went home. " * 40
    teller = Teller(Loaded(model, codecs[Order.WORD]))
    assert teller.tokens_left_out(ending) > 0
    assert teller.tell(ending, max_tokens=5).text.endswith(ending)


def test_of_two_spellings_the_likelier_is_chosen(
    codecs: dict[Order, StoryCodec], tiny: ModelConfig
) -> None:
    codec = codecs[Order.TOKEN]
    spellings = codec.prompt("Sam went home.").spellings
    starts = [codec.tokenizer.piece_bytes[spelling[-1]][:1] for spelling in spellings]
    assert starts == [b" ", b"S"]
    chosen = []
    for seed in range(8):
        model = Llama(tiny)
        initialise(model, seed)
        nats = [row.sum() for row in token_nats(model, [np.array(s) for s in spellings])]
        [events] = told(model, codec, ["Sam went home."], SampleConfig(temperature=0, max_tokens=1))
        chosen.append(events[-1].generated.endswith(" "))
        assert chosen[-1] == (nats[0] < nats[1])


def test_spellings_are_drawn_by_their_odds(
    codecs: dict[Order, StoryCodec], tiny: ModelConfig
) -> None:
    codec = codecs[Order.TOKEN]
    model = Llama(tiny)
    initialise(model, 0)
    config = SampleConfig(temperature=20.0, max_tokens=1)
    stories = told(model, codec, ["Sam went home."] * 60, config)
    spaced = sum(events[-1].generated.endswith(" ") for events in stories)
    assert 15 < spaced < 55


def test_impossible_settings_are_refused(model: Llama, codecs: dict[Order, StoryCodec]) -> None:
    teller = Teller(Loaded(model, codecs[Order.WORD]))
    with pytest.raises(ConfigError, match=r"top_p is 2.*expected"):
        teller.tell("x", top_p=2)
    with pytest.raises(ConfigError, match="no setting 'heat'"):
        teller.tell("x", heat=2)
