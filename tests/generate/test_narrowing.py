"""Which stories are given up before they are whole, and that the others are as they would be."""

from dataclasses import replace

import pytest

from mlx_rev.config import ModelConfig, SampleConfig
from mlx_rev.generate import narrowing
from mlx_rev.generate.narrowing import Narrowing
from mlx_rev.generate.rerank import ranked
from mlx_rev.generate.teller import Teller
from mlx_rev.text.codec import StoryCodec
from mlx_rev.text.order import BOTH_WAYS, WORD2, Order
from tests.generate.test_rerank import GOOD, LOOP, PLAIN, WordJudge, telling, written

SETTINGS = SampleConfig(max_tokens=14, seed=5, temperature=1.5)


@pytest.fixture(scope="module")
def both(tiny: ModelConfig, codecs: dict[Order, StoryCodec]) -> Teller:
    return telling(tiny, StoryCodec(codecs[WORD2].tokenizer, BOTH_WAYS[0]))


@pytest.fixture(autouse=True)
def early(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(narrowing, "STAGES", ((4, 1 / 2), (9, 1 / 4)))


def test_half_are_written_on_and_then_fewer_each_as_if_alone(both: Teller) -> None:
    stories, narrow = (
        both.begin(["Tom ran home."] * 8, SETTINGS),
        Narrowing(both.codec, WordJudge()),
    )
    seen = []
    for _ in both.write(stories, SETTINGS):
        seen.append((max(story.length for story in stories), len(narrow(stories))))
    assert {left for length, left in seen if length < 4} == {8}
    assert {left for length, left in seen if 5 <= length < 9} == {4}
    left = narrow(stories)
    assert len(left) == 3
    for number, story in enumerate(stories):
        [alone] = both.tell_all(["Tom ran home."], **vars(replace(SETTINGS, seed=5 + number)))
        assert alone.tokens[: story.length] == story.tokens
        assert (story in left) is (story.text == alone.text) or story.finished == "boundary"
    afterwards = both.tell_all(["Tom ran home."] * 8, **vars(SETTINGS))
    chosen = Narrowing(both.codec, WordJudge())(afterwards)
    assert [story.text for story in chosen] == [story.text for story in left]
    best = both.tell("Tom ran home.", best_of=8, judge=WordJudge(), **vars(SETTINGS))
    assert best.text == ranked(both.model, both.codec, left, WordJudge())[0].story.text


def test_those_stay_that_have_what_the_ending_has_and_are_no_loop(
    both: Teller, monkeypatch: pytest.MonkeyPatch
) -> None:
    bodies = [PLAIN, LOOP, GOOD, LOOP, PLAIN, LOOP]
    stories = [written(both, body, number) for number, body in enumerate(bodies)]
    monkeypatch.setattr(narrowing, "STAGES", ((20, 1 / 2),))
    assert Narrowing(both.codec, WordJudge())(stories) == stories[::2]


def test_without_a_judge_or_of_a_forward_model_all_stay(both: Teller) -> None:
    stories = both.tell_all(["Tom ran home."] * 4, **vars(SETTINGS))
    assert list(Narrowing(both.codec, None)(stories)) == stories
    forward = both.opposite
    assert forward is not None
    told = forward.tell_all(["Tom ran home."] * 4, **vars(SETTINGS))
    assert list(Narrowing(forward.codec, WordJudge(forward=False))(told)) == told
