"""What is chosen among stories, and why: loops and cut stories lose, what the ending needs wins."""

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
import pytest

from mlx_rev.config import ModelConfig, SampleConfig
from mlx_rev.errors import ConfigError
from mlx_rev.generate.judge import judge_of
from mlx_rev.generate.measures import words_of
from mlx_rev.generate.rerank import Candidate, ranked
from mlx_rev.generate.story import StopReason, Story
from mlx_rev.generate.teller import Teller
from mlx_rev.model.llama import Llama, get_weights, initialise, set_weights
from mlx_rev.model.load import Loaded
from mlx_rev.model.score import token_nats
from mlx_rev.text.codec import StoryCodec
from mlx_rev.text.order import BOTH_WAYS, FORWARD, WORD2, Order

ENDING = "They gave the kite back to Anna."
GOOD = (
    "Once there was a girl named Anna who had a red kite. One windy day it flew over the wall. "
    "Two boys found it in their garden and wanted to keep it, but their mother said no. "
)
PLAIN = (
    "One morning a fox looked out of his den and saw snow. He called his sister, and both slid "
    "down the hill until their paws were cold. Then somebody lit a fire and made soup. "
)
LOOP = "The dog saw a dog. The dog ran to the dog. The dog and the dog saw a dog. " * 2


@dataclass(frozen=True)
class WordJudge:
    """A word costs a nat if it was there before, otherwise three."""

    name: str = "words"
    forward: bool = True

    def text_nats(self, texts: Sequence[str], progress: object) -> np.ndarray:
        return np.array([self._cost("", text) for text in texts])

    def ending_nats(
        self, bodies: Sequence[str], endings: Sequence[str], progress: object
    ) -> np.ndarray:
        return np.array([[self._cost(body, ending) for ending in endings] for body in bodies])

    adjoining_nats = ending_nats

    def joined_nats(
        self, contexts: Sequence[str], texts: Sequence[str], progress: object
    ) -> tuple[np.ndarray, np.ndarray]:
        joined = [" ".join(pair) for pair in zip(contexts, texts, strict=True)]
        matrix = self.adjoining_nats(contexts, texts, progress)
        return self.text_nats(joined, progress), np.diag(matrix)

    def _cost(self, before: str, text: str) -> float:
        seen, words = set(words_of(before)), words_of(text)
        return sum(
            1.0 if word in seen or word in words[:n] else 3.0 for n, word in enumerate(words)
        )


@pytest.fixture(scope="module")
def teller(tiny: ModelConfig, codecs: dict[Order, StoryCodec]) -> Teller:
    return telling(tiny, codecs[WORD2])


def telling(config: ModelConfig, codec: StoryCodec) -> Teller:
    model = Llama(replace(config, n_layers=1))
    initialise(model, seed=4)
    set_weights(model, {n: w * 6 if w.ndim > 1 else w for n, w in get_weights(model).items()})
    return Teller(Loaded(model, codec))


def written(
    teller: Teller, body: str, index: int, ending: str = ENDING, stop: StopReason = "boundary"
) -> Story:
    """A story that the model has written, as if these words had been drawn."""
    codec = teller.codec
    [story] = teller.begin([ending])
    story.index = index
    ids = codec.encode(body + ending)[len(story.spelling) - 1 :]
    assert codec.decode([*story.spelling[1:], *ids]) == body + ending
    nats = token_nats(teller.model, [np.array([*story.spelling, *ids])])[0]
    bits = nats[len(story.spelling) - 1 :] / np.log(2)
    for token, own in zip(ids, bits, strict=True):
        story.grow(token, codec.tokenizer.piece_bytes[token], float(own))
    story.stop(stop)
    assert story.text == body + ending
    return story


def order_of(candidates: Sequence[Candidate]) -> list[int]:
    return [candidate.story.index for candidate in candidates]


def test_a_story_that_its_ending_follows_from_is_best_and_a_loop_is_last(teller: Teller) -> None:
    bodies = (LOOP, PLAIN, GOOD)
    stories = [written(teller, body, index) for index, body in enumerate(bodies)]
    found = ranked(teller.model, teller.codec, stories, WordJudge())
    assert order_of(found) == [2, 1, 0]
    best, _, loop = found
    assert best.parts["ending"] > max(other.parts["ending"] for other in found[1:])
    assert best.parts["repetition"] == 0
    assert loop.parts["repetition"] < -5
    assert loop.commonest_share > 0.3
    assert loop.distinct_pairs < 0.5
    # What nine in ten real stories do not have, in units of their spread.
    beyond = (loop.commonest_share - 0.071) / 0.016 + (0.83 - loop.distinct_pairs) / 0.05
    assert loop.parts["repetition"] == pytest.approx(-beyond)
    # An ending's surprise counts by its spread among eight stories, in bits per byte.
    better = (best.ending_bits - loop.ending_bits) / len(ENDING.encode()) / 0.063
    assert best.parts["ending"] - loop.parts["ending"] == pytest.approx(better)
    for candidate in found:
        assert candidate.score == pytest.approx(sum(candidate.parts.values()))
        story = candidate.story
        cost = WordJudge()._cost("", story.text) / np.log(2) / len(story.text.encode())
        assert candidate.judge_bits_per_byte == pytest.approx(cost)
        own = sum(story.surprises) / len(story.generated.encode())
        assert candidate.bits_per_byte == pytest.approx(own)


def test_of_the_same_story_the_one_with_a_beginning_is_better(teller: Teller) -> None:
    stories = [written(teller, GOOD, 0, stop="length"), written(teller, GOOD, 1)]
    for judge in (None, WordJudge()):
        cut = ranked(teller.model, teller.codec, stories, judge)
        assert order_of(cut) == [1, 0]
        assert cut[0].score - cut[1].score == pytest.approx(3)
    quoted = [written(teller, f'"Oh! {GOOD}', 0), written(teller, f"Oh! {GOOD}", 1)]
    found = ranked(teller.model, teller.codec, quoted)
    assert [
        candidate.parts["faults"] for candidate in sorted(found, key=lambda c: c.story.index)
    ] == [
        -2,
        0,
    ]


def test_neither_the_likeliest_nor_the_least_likely_is_typical(teller: Teller) -> None:
    stories = [written(teller, body, n) for n, body in enumerate((GOOD, PLAIN, GOOD + PLAIN))]
    found = ranked(teller.model, teller.codec, stories)
    middle = sorted(found, key=lambda candidate: candidate.bits_per_byte)[1]
    assert middle.parts["likelihood"] == 0
    others = [candidate for candidate in found if candidate is not middle]
    assert all(candidate.parts["likelihood"] < 0 for candidate in others)


def test_without_a_judge_it_counts_what_the_ending_adds_to_the_story(teller: Teller) -> None:
    stories = [written(teller, GOOD, 0), written(teller, PLAIN, 1)]
    one, other = found = ranked(teller.model, teller.codec, stories)
    bits = one.ending_bits - other.ending_bits
    assert one.parts["ending"] - other.parts["ending"] == pytest.approx(bits / 10)
    for candidate in found:
        ids = np.array([teller.codec.boundary, *candidate.story.tokens])
        alone = token_nats(teller.model, [ids])[0].sum() / np.log(2)
        given = sum(candidate.story.surprises)
        assert candidate.ending_bits == pytest.approx(alone - given, rel=1e-4)
        assert candidate.judge_bits_per_byte is None
    bare = [written(teller, GOOD, 0, ending=""), written(teller, PLAIN, 1, ending="")]
    for judge in (None, WordJudge()):
        assert {one.ending_bits for one in ranked(teller.model, teller.codec, bare, judge)} == {0}


def test_a_judge_reads_towards_the_prompt(
    teller: Teller, tiny: ModelConfig, codecs: dict[Order, StoryCodec]
) -> None:
    forward = telling(tiny, codecs[FORWARD])
    settings = SampleConfig(max_tokens=6)
    for own, other in ((teller, forward), (forward, teller)):
        stories = own.begin(["Tom ran."] * 3, settings)
        for _ in own.write(stories, settings):
            pass
        found = ranked(own.model, own.codec, stories, judge_of(other))
        assert sorted(order_of(found)) == [0, 1, 2]
        with pytest.raises(ConfigError, match="judge this model: expected a model that reads"):
            ranked(own.model, own.codec, stories, judge_of(own))
        with pytest.raises(ConfigError, match="judge this model: expected a model that reads"):
            own.judge(own)  # before anything is told


def test_the_api_returns_the_best_and_the_same_stories_as_one_by_one(
    teller: Teller, tiny: ModelConfig, codecs: dict[Order, StoryCodec]
) -> None:
    settings = {"max_tokens": 8, "seed": 5, "temperature": 1.5}
    found = teller.candidates("Tom ran.", 4, **settings)
    assert [one.score for one in found] == sorted((one.score for one in found), reverse=True)
    alone = [teller.tell("Tom ran.", **settings | {"seed": 5 + n}).text for n in range(4)]
    assert {one.story.index: one.story.text for one in found} == dict(enumerate(alone))
    assert teller.tell("Tom ran.", best_of=4, **settings).text == found[0].story.text
    judged = teller.candidates("Tom ran.", 4, telling(tiny, codecs[FORWARD]), **settings)
    assert all(one.judge_bits_per_byte for one in judged)
    with pytest.raises(ConfigError, match="0 stories to choose from"):
        teller.tell("Tom ran.", best_of=0)
    with pytest.raises(ConfigError, match="0 stories to choose from"):
        teller.candidates("Tom ran.", 0)


def test_a_model_of_both_directions_judges_itself(
    tiny: ModelConfig, codecs: dict[Order, StoryCodec]
) -> None:
    both = telling(tiny, StoryCodec(codecs[WORD2].tokenizer, BOTH_WAYS[0]))
    judge = both.judge()
    assert judge is not None
    assert judge.forward
    [best, *_] = both.candidates("Tom ran.", 2, max_tokens=5)
    text = best.story.text
    assert both.opposite is not None
    joined = f"{best.story.generated.strip()} Tom ran."  # as the judge is given it
    ids = np.array(both.opposite.codec.enclosed([joined])[0])
    bits = token_nats(both.model, [ids])[0].sum() / np.log(2)
    assert best.judge_bits_per_byte == pytest.approx(bits / len(text.encode()), rel=1e-4)
