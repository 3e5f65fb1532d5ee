"""Which stories are given up before they are whole, and that the others are as they would be."""

from collections.abc import Sequence
from dataclasses import dataclass, field, replace

import numpy as np
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
STAGES = narrowing.STAGES


@dataclass(frozen=True)
class Listening(WordJudge):
    """Keeps what it is given to read."""

    heard: list[Sequence[str]] = field(default_factory=list)

    def joined_nats(
        self, contexts: Sequence[str], texts: Sequence[str], progress: object
    ) -> tuple[np.ndarray, np.ndarray]:
        self.heard.append(contexts)
        return super().joined_nats(contexts, texts, progress)


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
    assert not any(story.finished == "stopped" for story in afterwards)  # they were whole before
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


def test_of_sixteen_six_are_left_after_40_tokens_and_three_after_80(
    both: Teller, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As was measured. Three stay at any rate, and where none is given up no judge is asked."""
    monkeypatch.setattr(narrowing, "STAGES", STAGES)
    judge = Listening()
    stories, narrow = both.begin(["Tom ran home."] * 16), Narrowing(both.codec, judge)
    left = []
    for _ in range(81):
        for story in stories:
            story.grow(5, b"", 1.0)
        left.append(len(narrow(stories)))
    assert [left.count(number) for number in (16, 6, 3)] == [39, 40, 2]
    assert [len(heard) for heard in judge.heard] == [16, 6]
    for count in (1, 3):
        assert len(Narrowing(both.codec, judge)(stories[:count])) == count
    assert len(Narrowing(both.codec, judge)(stories[:4])) == 3
    assert len(judge.heard) == 3


def test_what_leads_to_the_ending_weighs_as_it_does_among_whole_stories(both: Teller) -> None:
    stories = [written(both, body, number) for number, body in enumerate((GOOD, PLAIN, LOOP))]
    scores = narrowing._scores(both.codec, stories, 1000, WordJudge())
    whole = np.zeros(3)
    for one in ranked(both.model, both.codec, stories, WordJudge()):
        whole[one.story.index] = one.parts["ending"] + one.parts["repetition"]
    assert scores - scores[0] == pytest.approx(whole - whole[0])


def test_the_judge_reads_no_sentence_whose_beginning_is_not_written(
    both: Teller, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(narrowing, "STAGES", ((60, 1 / 2),))
    judge, short = Listening(), "He ran. He saw snow. "
    told = [written(both, short, 0, stop=stop) for stop in ("boundary", "length")]
    longer = [written(both, body, 1) for body in (GOOD, PLAIN)]
    Narrowing(both.codec, judge)([*told, *longer])
    whole, cut, *parts = judge.heard[0]
    assert (whole, cut) == ("He ran. He saw snow.", "He saw snow.")
    for part, body in zip(parts, (GOOD, PLAIN), strict=True):
        assert body.strip().endswith(f". {part}")
