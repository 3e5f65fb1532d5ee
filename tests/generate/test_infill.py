"""Two sides of a story meet: what was given stays as it is, and the seam that fits is taken."""

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
import pytest

from mlx_rev.config import ModelConfig, SampleConfig
from mlx_rev.errors import ConfigError
from mlx_rev.generate import infill
from mlx_rev.generate.infill import (
    Attempt,
    Meeting,
    chosen_seam,
    meet,
    meeting,
    paired_surprise,
    seam_surprise,
)
from mlx_rev.generate.judge import judge_of
from mlx_rev.generate.measures import words_of
from mlx_rev.generate.story import Story
from mlx_rev.generate.teller import Teller
from mlx_rev.model.llama import Llama, get_weights, initialise, set_weights
from mlx_rev.model.load import Loaded
from mlx_rev.text.codec import StoryCodec
from mlx_rev.text.order import BOTH_WAYS, FORWARD, WORD2, Order


@dataclass(frozen=True)
class WordJudge:
    """A letter costs a nat; in a word that is next door too, a fifth."""

    forward: bool
    name: str = "words"

    def text_nats(self, texts: Sequence[str], progress: object) -> np.ndarray:
        raise NotImplementedError

    def ending_nats(
        self, bodies: Sequence[str], endings: Sequence[str], progress: object
    ) -> np.ndarray:
        raise NotImplementedError

    def adjoining_nats(
        self, contexts: Sequence[str], texts: Sequence[str], progress: object
    ) -> np.ndarray:
        return np.array([[self._cost(one, other) for other in texts] for one in contexts])

    def joined_nats(
        self, contexts: Sequence[str], texts: Sequence[str], progress: object
    ) -> tuple[np.ndarray, np.ndarray]:
        pairs = zip(contexts, texts, strict=True)
        return np.zeros(len(texts)), np.array([self._cost(*pair) for pair in pairs])

    def _cost(self, context: str, text: str) -> float:
        known = set(words_of(context))
        return sum(len(word) * (0.2 if word in known else 1.0) for word in words_of(text))


JUDGES = (WordJudge(True), WordJudge(False))


def telling(config: ModelConfig, codec: StoryCodec) -> Teller:
    model = Llama(replace(config, n_layers=1))
    initialise(model, seed=4)
    set_weights(model, {n: w * 6 if w.ndim > 1 else w for n, w in get_weights(model).items()})
    return Teller(Loaded(model, codec))


@pytest.fixture(scope="module")
def backward(tiny: ModelConfig, codecs: dict[Order, StoryCodec]) -> Teller:
    return telling(tiny, codecs[WORD2])


@pytest.fixture(scope="module")
def forward(tiny: ModelConfig, codecs: dict[Order, StoryCodec]) -> Teller:
    return telling(tiny, codecs[FORWARD])


def written(teller: Teller, prompt: str, added: str) -> Story:
    """A story as if these words had been drawn."""
    [story] = teller.begin([prompt])
    whole = added + prompt if teller.grows_leftwards else prompt + added
    ids = teller.codec.encode(whole)[len(story.spelling) - 1 :]
    for token in ids:
        story.grow(token, teller.codec.tokenizer.piece_bytes[token], 1.0)
    story.stop("boundary")
    assert story.text == whole
    return story


@pytest.mark.parametrize(
    ("beginning", "ending"),
    [
        ("Once there was a fox", "They never argued again."),
        (" One day, Tom was sad.  \n", "\n and so it was.\n"),
        ("Tom ran. ", "The end"),
    ],
)
def test_beginning_and_ending_stay_byte_for_byte(
    backward: Teller, forward: Teller, beginning: str, ending: str
) -> None:
    settings = SampleConfig(seed=5, max_tokens=20)
    *steps, met = meeting(backward, forward, beginning, ending, settings, rounds=1)
    assert isinstance(met, Meeting)
    assert len(steps) >= 2
    for step in steps:
        assert isinstance(step, Attempt)
        assert (step.round, step.rounds) == (1, 1)
        opening, closing = step.stories
        assert (opening.prompt, closing.prompt) == (beginning, ending)
        assert (opening.leftwards, closing.leftwards) == (False, True)
    assert met.text.startswith(beginning)
    assert met.text.endswith(ending)
    assert met.text == beginning + met.before + met.after + ending
    assert met == meet(backward, forward, beginning, ending, settings, rounds=1)


def test_a_story_is_cut_at_the_five_sentences_next_to_what_was_given_and_never_inside_it(
    backward: Teller, forward: Teller
) -> None:
    words = ("Dogs", "Cats", "Birds", "Cows", "Pigs", "Hens", "Bees")
    opening = written(forward, "Tom ran. Sam sat.", "".join(f" {word} ate." for word in words))
    cuts = [opening.text.index(word) for word in words]
    assert infill._lefts(opening) == [opening.text[:cut] for cut in cuts[:5]]
    ending = written(backward, "Tom ran. Sam sat.", "".join(f"{word} ate. " for word in words))
    cuts = [ending.text.index(word) for word in (*words[3:], "Tom")]
    assert infill._rights(ending) == [ending.text[cut:] for cut in cuts[::-1]]
    for teller, side in ((forward, infill._lefts), (backward, infill._rights)):
        assert [text.strip() for text in side(written(teller, "Tom ran", ""))] == ["Tom ran"]


def test_the_seam_is_judged_by_both_directions(backward: Teller, forward: Teller) -> None:
    judges = judge_of(forward), judge_of(backward)
    lefts = ["Tom had a ball. It was very red. ", "Sam was a happy dog. "]
    rights = ["Oh! He was so happy now. They ran.", "The cat ran to the house. It sat. They slept."]
    tails = ["It was very red.", "Sam was a happy dog."]
    heads = ["Oh! He was so happy now.", "The cat ran to the house."]
    *unfinished, found = seam_surprise(judges, lefts, rights)
    assert len(unfinished) == len(lefts) + len(rights) - 1  # keys are read between
    for row, left in enumerate(lefts):
        for column, right in enumerate(rights):
            behind = judges[0].adjoining_nats([left.strip()], [heads[column]])[0, 0]
            in_front = judges[1].adjoining_nats([right], [tails[row]])[0, 0]
            size = len(tails[row]) + len(heads[column])
            expected = (behind + in_front) / np.log(2) / size
            assert found[row, column] == pytest.approx(expected, rel=1e-4)
    *unfinished, paired = paired_surprise(judges, lefts, rights)
    assert len(unfinished) == len(lefts) + len(rights) - 1
    assert paired == pytest.approx(np.diag(found), rel=1e-4)
    *_, one = paired_surprise(judges[:1], lefts, rights)
    bits = np.diag(judges[0].adjoining_nats([left.strip() for left in lefts], heads)) / np.log(2)
    assert one == pytest.approx(bits / [*map(len, heads)], rel=1e-4)


def test_the_sides_that_need_each_other_are_joined(
    backward: Teller, forward: Teller, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(infill, "judge_of", lambda teller, turned: JUDGES[teller is backward])
    left = " who lost a golden ring. Dogs dug under every tree. Then night fell."
    right = "One bird found that golden ring. She came home with it. People cheered. "
    stories = {
        "Once there was a fox": [written(forward, "Once there was a fox", left)],
        "He thanked her.": [written(backward, "He thanked her.", f"Snow lay deep. {right}")],
    }
    monkeypatch.setattr(infill, "_side", lambda teller, prompt, *_: (stories[prompt], ()))
    *judging, met = meeting(backward, forward, "Once there was a fox", "He thanked her.")
    assert isinstance(met, Meeting)
    pair = tuple(story for [story] in stories.values())
    assert all(isinstance(step, Attempt) and step.stories == pair for step in judging)
    shares = [step.judged for step in judging if isinstance(step, Attempt)]
    seams = shares.index(1.0) + 1
    assert seams > 4
    assert shares[:seams] == [number / seams for number in range(1, seams + 1)]
    assert {*shares[seams:]} <= {1.0}
    assert met == meet(backward, forward, "Once there was a fox", "He thanked her.")
    assert met.before == " who lost a golden ring. "
    assert met.after == right
    assert (met.good, met.rounds) == (True, 1)


def test_no_sentence_stands_on_both_sides_and_what_does_not_fit_is_written_again(
    backward: Teller, forward: Teller, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(infill, "judge_of", lambda teller, turned: JUDGES[teller is backward])
    asked: list[tuple[int, int]] = []

    added = {forward: " saw a big dog there. The fox ran. Rain fell.",
             backward: "Rain fell. The fox ran. Nobody ever knew why. "}  # fmt: skip

    def side(teller: Teller, prompt: str, settings: SampleConfig, number: int) -> object:
        asked.append((settings.seed, number))
        return [written(teller, prompt, added[teller])], ()

    monkeypatch.setattr(infill, "_side", side)
    monkeypatch.setattr(infill, "_halves", lambda text: None)  # no boundary to compare with
    met = meet(backward, forward, "A fox", "All slept.", SampleConfig(seed=40))
    assert met.text.count("The fox ran.") == 1
    assert not met.good
    assert met.rounds == 3
    assert asked == [(40, number) for number in (0, 0, 1, 1, 2, 2)]


def test_no_quotation_is_left_open_if_that_can_be(
    backward: Teller, forward: Teller, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(infill, "judge_of", lambda teller, turned: JUDGES[teller is backward])
    added = {forward: ' said, "I see rain! We go in!" Then they ran. Rain fell.',
             backward: 'Snow lay deep. "We see rain! I go in!" they said. All sat. '}  # fmt: skip
    monkeypatch.setattr(
        infill, "_side", lambda teller, prompt, *_: ([written(teller, prompt, added[teller])], ())
    )
    met = meet(backward, forward, "A fox", "All slept.")
    assert met.text.count('"') % 2 == 0
    added[backward] = 'Snow lay deep. All sat" down. '
    added[forward] = " ran. Rain fell. They slept."
    met = meet(backward, forward, "A fox", "All slept.", rounds=1)
    assert met.text.startswith("A fox ran.")
    assert np.isfinite(met.seam_bits_per_byte)


def test_each_round_has_seeds_of_its_own(backward: Teller) -> None:
    settings = SampleConfig(seed=7, max_tokens=3, temperature=1.5)
    for number in (0, 2):
        stories, writing = infill._side(backward, "Tom ran.", settings, number)
        assert len([*writing]) > 1
        assert [story.seed for story in stories] == [7 + 4 * number + n for n in range(4)]
        assert max(len(story.tokens) for story in stories) <= 3


def test_which_seam_is_taken() -> None:
    surprise = np.array([[0.5, 0.9, 0.9], [0.6, 0.2, 2.0], [0.6, np.inf, 0.5]])
    assert chosen_seam(surprise, 0.1) == (1, 1)
    generic = np.array([[0.3, 0.3, 0.3], [0.9, 0.9, 0.4], [0.9, 0.9, 0.9]])
    assert chosen_seam(generic, 0.5) == (1, 2)
    assert chosen_seam(generic, 0.35) != (1, 2)


def test_a_model_of_both_directions_meets_itself(
    tiny: ModelConfig, codecs: dict[Order, StoryCodec]
) -> None:
    both = telling(tiny, StoryCodec(codecs[WORD2].tokenizer, BOTH_WAYS[0]))
    assert both.opposite is not None
    met = meet(both, both.opposite, "Tom ran.", "The end.", SampleConfig(max_tokens=12), rounds=1)
    assert met.text.startswith("Tom ran.")


def test_what_cannot_meet(backward: Teller, forward: Teller) -> None:
    with pytest.raises(ConfigError, match="reads forwards"):
        meet(backward, backward, "A", "B")
    with pytest.raises(ConfigError, match="reads backwards"):
        meet(forward, forward, "A", "B")
    with pytest.raises(ConfigError, match="both a beginning and an ending"):
        meet(backward, forward, " ", "B")


def test_no_side_takes_more_than_half_of_the_context(
    backward: Teller, monkeypatch: pytest.MonkeyPatch
) -> None:
    given: list[SampleConfig] = []

    def write(teller: Teller, stories: object, settings: SampleConfig) -> list[Story]:
        given.append(settings)
        return []

    monkeypatch.setattr(Teller, "write", write)
    for most in (0, 9, 10_000):
        infill._side(backward, "Tom ran.", SampleConfig(max_tokens=most), 0)
    half = backward.model.config.context // 2
    assert [settings.max_tokens for settings in given] == [half, 9, half]


def test_each_model_has_settings_of_its_own_and_of_no_good_seams_the_least_surprising_is_taken(
    backward: Teller, forward: Teller, monkeypatch: pytest.MonkeyPatch
) -> None:
    own = {forward: SampleConfig(temperature=0.9), backward: SampleConfig(temperature=0.3)}
    asked: list[tuple[Teller, SampleConfig]] = []
    surprises = iter([2.0, 1.0, 3.0])

    def side(teller: Teller, prompt: str, settings: SampleConfig, number: int) -> object:
        asked.append((teller, settings))
        return teller.begin([prompt]), ()

    def judged(openings: object, endings: object, judges: object, attempt: Attempt) -> object:
        yield attempt
        return Meeting(
            beginning="A",
            before="",
            after="",
            ending="B",
            seam_bits_per_byte=next(surprises),
            good=False,
            rounds=1,
        )

    for teller, settings in own.items():
        monkeypatch.setattr(teller, "settings", settings)
    monkeypatch.setattr(infill, "_side", side)
    monkeypatch.setattr(infill, "_round", judged)
    met = meet(backward, forward, "A", "B")
    assert (met.seam_bits_per_byte, met.rounds) == (1.0, 3)
    assert asked == [*own.items()] * 3
