"""What is measured of stories that are known: real ones, damaged ones, a model's own."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

import numpy as np
import pytest

from mlx_rev.config import ModelConfig, SampleConfig
from mlx_rev.data import bundled
from mlx_rev.errors import ConfigError
from mlx_rev.generate import bootstrap, retrieval
from mlx_rev.generate.copied import longest_copied
from mlx_rev.generate.evaluate import (
    MODEL,
    REAL,
    SHUFFLED,
    Evaluation,
    Yardstick,
    evaluate,
    held_out,
    measure,
)
from mlx_rev.generate.measures import (
    EndedStory,
    commonest_share,
    distinct,
    known_names,
    unknown_share,
    words_of,
)
from mlx_rev.generate.teller import Teller
from mlx_rev.model.llama import Llama, initialise
from mlx_rev.model.load import Loaded
from mlx_rev.text.codec import StoryCodec
from mlx_rev.text.order import FORWARD, WORD2, Order

TEXTS = [story.text for story in bundled.stories("valid", count=60)]
NAMES = known_names(TEXTS)
JUDGED = ("retrieved", "reciprocal_rank", "ending_bits_per_byte", "bits_per_byte")


@dataclass(frozen=True)
class WordJudge:
    """Expects what was said before: a word costs a nat, a new one ten."""

    name: str = "words"
    forward: bool = True

    def text_nats(self, texts: Sequence[str], progress: Callable[[float], None]) -> np.ndarray:
        return np.array([self._cost([], words_of(text)) for text in texts])

    def ending_nats(
        self, bodies: Sequence[str], endings: Sequence[str], progress: Callable[[float], None]
    ) -> np.ndarray:
        return np.array(
            [[self._cost(words_of(one), words_of(other)) for other in endings] for one in bodies]
        )

    def adjoining_nats(
        self, contexts: Sequence[str], texts: Sequence[str], progress: Callable[[float], None]
    ) -> np.ndarray:
        return self.ending_nats(contexts, texts, progress)

    def joined_nats(
        self, contexts: Sequence[str], texts: Sequence[str], progress: Callable[[float], None]
    ) -> tuple[np.ndarray, np.ndarray]:
        joined = [" ".join(pair) for pair in zip(contexts, texts, strict=True)]
        matrix = self.adjoining_nats(contexts, texts, progress)
        return self.text_nats(joined, progress), np.diag(matrix)

    def _cost(self, before: list[str], read: list[str]) -> float:
        cost, seen = 0.0, set(before)
        for word in read:
            cost += 1 if word in seen else 10
            seen.add(word)
        return cost


@pytest.fixture(scope="module")
def yardstick() -> Yardstick:
    real = held_out(TEXTS, 30)
    return Yardstick(real=real, names=NAMES, judges=(WordJudge(),), training=lambda: TEXTS[30:])


@pytest.fixture(scope="module")
def teller(tiny: ModelConfig, codecs: dict[Order, StoryCodec]) -> Teller:
    model = Llama(tiny)
    initialise(model, seed=4)
    return Teller(Loaded(model, codecs[WORD2]))


def means(evaluation: Evaluation, key: str) -> dict[str, float]:
    return {row: figures[key].estimate.mean for row, figures in evaluation.rows.items()}


def test_stories_end_differently_and_begin_before_their_ending() -> None:
    texts = ["A b c. They were all happy.", "D e f. They were all happy.", "No body, only this."]
    assert held_out([*texts, "G. They slept and slept."], 5) == (
        EndedStory(texts[0], "They were all happy."),
        EndedStory("G. They slept and slept.", "They slept and slept."),
    )
    assert [story.ending for story in held_out(TEXTS, 3)] == [
        story.ending for story in bundled.stories("valid", count=3)
    ]


def test_real_stories_lead_to_their_endings_and_shuffled_ones_do_not(yardstick: Yardstick) -> None:
    """With the real stories as the model's, both rows are alike in everything."""
    found = measure(yardstick.real, yardstick)
    assert found.rows[MODEL] == found.rows[REAL]
    assert means(found, "retrieved")[REAL] > 0.7
    assert means(found, "retrieved")[SHUFFLED] < 0.1
    ranks = means(found, "reciprocal_rank")
    assert ranks[REAL] > 3 * ranks[SHUFFLED]
    for key in ("ending_bits_per_byte", "bits_per_byte", "stray_names"):
        values = means(found, key)
        assert values[REAL] < values[SHUFFLED], key
    assert means(found, "stray_names")[REAL] == 0
    exchanged = found.rows[SHUFFLED]["words"].values
    assert sum(exchanged) == sum(found.rows[REAL]["words"].values)


def test_only_what_is_true_or_false_of_a_story_has_the_interval_of_a_share(
    yardstick: Yardstick,
) -> None:
    """Wilson's has a width also where all stories are alike."""
    found = measure(yardstick.real, replace(yardstick, training=lambda: TEXTS)).rows[MODEL]
    for key in ("loops", "cut", "stray_names", "unbalanced_quotes"):
        assert found[key].estimate.high > found[key].estimate.mean, key
        assert set(found[key].values) <= {0.0, 1.0}
    hits = found["retrieved"]
    assert hits.estimate == bootstrap.share(hits.estimate.mean, len(hits.values))
    assert vars(found["unknown_words"].estimate) == {"mean": 0, "low": 0, "high": 0}


def test_the_judged_rank_falls_with_the_share_of_endings_that_do_not_fit(
    yardstick: Yardstick,
) -> None:
    real, ranked = yardstick.real, []
    for wrong in (0, 10, 20, 30):
        turned = [*(real[(n + 1) % wrong] for n in range(wrong)), *real[wrong:]] if wrong else real
        told = [
            EndedStory(f"{other.body} {story.ending}", story.ending)
            for story, other in zip(real, turned, strict=True)
        ]
        ranked.append(means(measure(told, yardstick), "reciprocal_rank")[MODEL])
    assert ranked == sorted(ranked, reverse=True)
    assert ranked[0] > 2 * ranked[-1]


def test_each_fault_shows_in_its_own_figure(yardstick: Yardstick) -> None:
    real = yardstick.real
    whole = measure(real, yardstick)

    def damaged(change: Callable[[EndedStory], EndedStory]) -> set[str]:
        """The measures of the text that a change makes another."""
        found = measure([change(story) for story in real], yardstick)
        return {
            one.key
            for one in found.measures
            if not one.judged and means(found, one.key)[MODEL] != means(whole, one.key)[MODEL]
        } - {"words", "distinct_1", "distinct_2", "distinct_3", "commonest_word"}

    def added(text: str) -> Callable[[EndedStory], EndedStory]:
        return lambda story: EndedStory(f"{story.body} {text} {story.ending}", story.ending)

    assert damaged(lambda story: replace(story, whole=False)) == {"cut"}
    assert damaged(added("Oh no!")) <= {"loops", "unknown_words", "copied"}
    assert "loops" in damaged(added("The hat, the hat, a hat and a hat: hat, hat, hat, hat, hat!"))
    assert damaged(added('"')) == {"unbalanced_quotes"}
    assert "unknown_words" in damaged(added("Floop."))
    assert "copied" in damaged(added(TEXTS[40]))
    assert "stray_names" in damaged(lambda story: EndedStory(f"Yes. {story.ending}", story.ending))


def test_only_what_is_known_is_measured(yardstick: Yardstick) -> None:
    backward = WordJudge(forward=False)
    bare = Yardstick(real=yardstick.real, names=NAMES)
    keys = [one.key for one in measure(yardstick.real, bare).measures]
    assert not {*JUDGED, "unknown_words", "copied"} & set(keys)
    two = replace(bare, judges=(backward, WordJudge("other")))
    found = measure(yardstick.real, two)
    assert [one.key for one in found.measures if one.judged] == [*JUDGED, "bits_per_byte_2"]
    alone = measure(yardstick.real, replace(bare, judges=(backward,)))
    assert [one.key for one in alone.measures if one.judged] == ["bits_per_byte"]


def test_bits_per_byte_are_those_of_all_stories_together(yardstick: Yardstick) -> None:
    found = measure(yardstick.real, yardstick)
    texts = [story.text for story in yardstick.real]
    nats = WordJudge().text_nats(texts, lambda share: None).sum()
    bits = nats / np.log(2) / sum(len(text.encode()) for text in texts)
    assert means(found, "bits_per_byte")[REAL] == pytest.approx(bits)


def test_a_model_is_told_the_endings_and_the_same_seed_says_the_same(
    teller: Teller, yardstick: Yardstick, monkeypatch: pytest.MonkeyPatch
) -> None:
    yardstick = replace(yardstick, real=yardstick.real[:7])
    endings = [story.ending for story in yardstick.real]
    settings = SampleConfig(seed=3, max_tokens=12)
    stages: dict[str, list[float]] = {}

    def progress(stage: str, share: float) -> None:
        stages.setdefault(stage.partition(",")[0], []).append(share)

    found = evaluate(teller, endings, yardstick, settings, progress)
    assert [story.ending for story in found.stories] == endings
    assert all(story.text.endswith(story.ending) for story in found.stories)
    assert means(found, "cut")[MODEL] == sum(not story.whole for story in found.stories) / 7 > 0
    assert stages["telling"][-1] == 1
    assert len(found.rows[MODEL]["words"].values) == 7
    monkeypatch.setattr("mlx_rev.generate.methods._AT_ONCE", 3)
    assert evaluate(teller, endings, yardstick, settings) == found
    other = evaluate(teller, endings, yardstick, replace(settings, seed=4))
    assert other.stories != found.stories
    assert other.rows[SHUFFLED] != found.rows[SHUFFLED]


def test_a_forward_model_takes_no_endings(
    teller: Teller, codecs: dict[Order, StoryCodec], yardstick: Yardstick
) -> None:
    forward = Teller(Loaded(teller.model, codecs[FORWARD]))
    with pytest.raises(ConfigError, match="forward model"):
        evaluate(forward, ["They slept."] * 3, yardstick, SampleConfig())


def test_the_best_of_several_has_a_row_of_its_own(teller: Teller, yardstick: Yardstick) -> None:
    endings = [story.ending for story in yardstick.real[:4]]
    few = replace(yardstick, real=yardstick.real[:4], training=None)
    settings = SampleConfig(max_tokens=5, seed=9)
    plain = evaluate(teller, endings, few, settings)
    found = evaluate(teller, endings, few, settings, best_of=3, chooser=WordJudge())
    assert list(found.rows) == [MODEL, "best of 3", REAL, SHUFFLED]
    assert {name: found.rows[name] for name in plain.rows} == plain.rows
    assert (plain.best, found.stories) == ((), plain.stories)
    for number, (ending, story) in enumerate(zip(endings, found.best, strict=True)):
        seed = 9 + len(endings) + 3 * number
        chosen = teller.candidates(ending, 3, WordJudge(), max_tokens=5, seed=seed)[0].story
        assert (story.text, story.ending) == (chosen.text, ending)
    alike = measure(found.best, few, settings.seed)
    assert alike.rows[MODEL] == found.rows["best of 3"]


def test_rows_of_other_lengths_are_refused(yardstick: Yardstick) -> None:
    with pytest.raises(ConfigError, match="model: 29 stories beside 30 real ones"):
        measure(yardstick.real[:-1], yardstick)


def test_endings_of_another_number_are_refused_before_any_story_is_told(
    teller: Teller, yardstick: Yardstick
) -> None:
    stages: list[str] = []
    with pytest.raises(ConfigError, match="model: 4 stories beside 30 real ones"):
        evaluate(
            teller,
            ["The end."] * 4,
            yardstick,
            SampleConfig(),
            lambda *given: stages.append(given[0]),
        )
    assert stages == []


def test_chance_is_what_ranks_that_are_all_as_likely_give(yardstick: Yardstick) -> None:
    random = np.random.default_rng(0)
    ranks = [retrieval.ranks(random.normal(size=(30, 30))) for _ in range(300)]
    chance = measure(yardstick.real, yardstick).chance
    assert chance == {
        "retrieved": pytest.approx(np.mean(np.array(ranks) == 1), abs=0.01),
        "reciprocal_rank": pytest.approx(np.mean(1 / np.array(ranks)), abs=0.01),
    }
    assert measure(yardstick.real, replace(yardstick, judges=())).chance == {}


class NeverAsked(WordJudge):
    """Reads forwards too, but comes second."""

    def ending_nats(self, *given: object) -> np.ndarray:
        raise AssertionError


def test_each_figure_is_what_it_says_of_the_stories_of_its_own_row() -> None:
    real, told = (
        tuple(EndedStory(f"{body} {ending}", ending) for body, ending in stories.items())
        for stories in (
            {
                "A red dog and a red dog ran.": "Tom fed the dog, then the dog slept.",
                "Sam saw rain, rain, rain and rain.": "Tom fed Sam.",
                "Anna had “a kite” and a very old hat.": "The kite flew over Zoë's hat.",
                "Two boys sang.": "They sang and sang and sang.",
            },
            {
                "Oh! Oh! No!": "Tom fed the dog, then the dog slept.",
                "They sat and they sat and they sat.": "Tom fed Sam.",
                "Then Mia left.": "The kite flew over Zoë's hat.",
                "All was well.": "They sang and sang and sang.",
            },
        )
    )
    training = [real[0].text, "The hat was very old."]
    judges = (WordJudge(), NeverAsked("other"))
    measured = Yardstick(
        real=real, names=frozenset(), judges=judges, training=lambda: iter(training)
    )
    found = measure(told, measured, seed=1)
    exchanged = tuple(
        EndedStory(f"{story.body} {real[other].ending}", real[other].ending)
        for story, other in zip(real, retrieval.dealt_out(4, 1), strict=True)
    )
    vocabulary = frozenset(word for text in training for word in words_of(text))
    for name, stories in {MODEL: told, REAL: real, SHUFFLED: exchanged}.items():
        row = found.rows[name]
        bodies = [story.body for story in stories]
        endings = [story.ending for story in stories]
        nats = np.diag(WordJudge().ending_nats(bodies, endings, lambda share: None))
        sizes = [len(ending.encode()) for ending in endings]
        assert row["ending_bits_per_byte"].values == pytest.approx(nats / np.log(2) / sizes)
        assert row["ending_bits_per_byte"].weights == tuple(sizes)
        assert row["commonest_word"].values == tuple(map(commonest_share, stories))
        for n in (1, 2, 3):
            assert row[f"distinct_{n}"].values == tuple(distinct(story, n) for story in stories)
        copied = longest_copied([*map(words_of, bodies)], map(words_of, training))
        assert row["copied"].values == tuple(copied)
        unknown = tuple(unknown_share(story, vocabulary) for story in stories)
        assert row["unknown_words"].values == unknown
    copied_words = found.rows[REAL]["copied"].values
    assert copied_words[0] == 8
    assert copied_words != found.rows[MODEL]["copied"].values
