"""The ways to come by a story: each tells what the model alone would have told with that seed."""

import numpy as np
import pytest

from mlx_rev.config import ModelConfig, SampleConfig
from mlx_rev.errors import ConfigError
from mlx_rev.generate import methods
from mlx_rev.generate.judge import ignore, judge_of
from mlx_rev.generate.rerank import likeliest
from mlx_rev.generate.story import Story
from mlx_rev.generate.teller import Teller
from mlx_rev.text.codec import StoryCodec
from mlx_rev.text.order import BOTH_WAYS, WORD2, Order
from tests.generate.test_rerank import GOOD, LOOP, PLAIN, telling, written

SETTINGS = SampleConfig(max_tokens=8, seed=5, temperature=1.5)
ENDINGS = ["Tom ran home.", "They slept well.", "It was so."]


@pytest.fixture(scope="module")
def both(tiny: ModelConfig, codecs: dict[Order, StoryCodec]) -> Teller:
    return telling(tiny, StoryCodec(codecs[WORD2].tokenizer, BOTH_WAYS[0]))


@pytest.mark.parametrize("at_once", [1, 4, 64])
def test_stories_are_the_same_however_many_are_told_at_once(
    both: Teller, at_once: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(methods, "_AT_ONCE", at_once)
    shares: list[float] = []
    sizes: list[int] = []
    begin = both.begin

    def counted(prompts: list[str], settings: SampleConfig) -> list[Story]:
        sizes.append(len(prompts))
        return begin(prompts, settings)

    monkeypatch.setattr(both, "begin", counted)
    found = methods.tell_several(both, ENDINGS, 2, SETTINGS, shares.append)
    for number, (ending, pair) in enumerate(zip(ENDINGS, found, strict=True)):
        for place, story in enumerate(pair):
            alone = both.tell(ending, max_tokens=8, temperature=1.5, seed=5 + 2 * number + place)
            assert story.text == alone.text
    assert shares == sorted(shares)
    assert shares[-1] == 1
    assert [size for size in sizes if size > 1] == {1: [2, 2, 2], 4: [4, 2], 64: [6]}[at_once]


def test_the_best_of_several_is_what_the_api_gives(both: Teller) -> None:
    judge = both.judge()
    best = methods.tell_best(both, ENDINGS, SETTINGS, 3, judge, ignore)
    for number, (ending, story) in enumerate(zip(ENDINGS, best, strict=True)):
        seed = 5 + len(ENDINGS) + 3 * number
        alone = both.tell(ending, best_of=3, max_tokens=8, temperature=1.5, seed=seed)
        assert (story.text, story.ending) == (alone.text, ending)


def test_the_likeliest_surprised_its_model_least_for_each_byte(both: Teller) -> None:
    stories = [written(both, body, n) for n, body in enumerate((GOOD, PLAIN, LOOP))]
    bits = [sum(story.surprises) / len(story.generated.encode()) for story in stories]
    assert likeliest(stories) is stories[int(np.argmin(bits))]


def test_the_opening_is_the_one_after_which_the_ending_surprises_least(both: Teller) -> None:
    forward = both.opposite
    assert forward is not None
    texts = ["Tom had a ball. He ran to it.", "A dog sat. It was happy. It was a red dog.", "One."]
    stories = [written(forward, text, n, ending="") for n, text in enumerate(texts)]
    bodies = ["Tom had a ball.", "A dog sat. It was happy."]
    judge = judge_of(forward, turned=False)
    for ending in ("Sam went home.", "The cat ate it up.", "It was very red.", "They played."):
        found = methods.best_opening(forward, stories, ending)
        nats = [judge.adjoining_nats([body], [ending])[0, 0] for body in bodies]
        place = int(np.argmin(nats))
        assert (found.text, found.ending) == (f"{bodies[place]} {ending}", ending)
        assert found.body == bodies[place]
        assert methods.best_opening(forward, stories[::-1], ending) == found
    # A story of one sentence has nothing left: it is taken where there is no other.
    assert methods.best_opening(forward, stories[2:], "Sam ran.").text == "Sam ran."
    with pytest.raises(ConfigError, match="reads forwards"):
        methods.best_opening(both, stories, "Sam ran.")
