"""The bundled stories: drawn the same every time, and good English."""

from __future__ import annotations

import itertools
import re
from collections import Counter

import pytest

from mlx_rev.data import bundled
from mlx_rev.data.bundled import Story, generator, stories, words
from mlx_rev.data.bundled.grammar import FIELD, ROLE_CLASSES, Plot, read_plot, role_of_field
from mlx_rev.data.bundled.patterns import plot_patterns
from mlx_rev.data.bundled.plots import PLOTS
from mlx_rev.errors import DataError

SAMPLE = 3000
PLOT_OF_NAME = {plot.name: plot for plot in PLOTS}


@pytest.fixture(scope="module")
def sample() -> list[Story]:
    return list(stories(seed=7, count=SAMPLE))


def test_same_split_and_seed_give_the_same_stories() -> None:
    first = list(stories("train", seed=3, count=200))
    assert first == list(stories("train", seed=3, count=200))
    assert [story.facts for story in first] == [s.facts for s in stories(seed=3, count=200)]
    assert first != list(stories("train", seed=4, count=200))
    assert first != list(stories("valid", seed=3, count=200))


@pytest.mark.parametrize("split", bundled.SPLITS)
def test_first_stories_do_not_depend_on_the_count(split: str) -> None:
    assert list(stories(split, count=300))[:100] == list(stories(split, count=100))
    default = list(itertools.islice(stories(split), 100))
    assert default == list(stories(split, count=100))


def test_no_combination_is_in_both_splits_and_no_text_twice() -> None:
    train = list(stories("train"))
    valid = list(stories("valid"))
    assert len(train) == bundled.TRAIN_COUNT
    assert len(valid) == bundled.VALID_COUNT
    assert 9e6 < sum(len(story.text.encode()) for story in train) < 12e6

    def combinations(split: list[Story]) -> set[tuple[str, str, str]]:
        return {(story.plot, story.name, story.object) for story in split}

    assert not combinations(train) & combinations(valid)
    held = len(combinations(valid)) / len(combinations(train) | combinations(valid))
    assert 0.05 < held < 0.12
    assert {story.plot for story in valid} == {plot.name for plot in PLOTS}
    for split in (train, valid):
        assert len({story.text for story in split}) == len(split)


def test_wrong_requests_are_refused_at_once() -> None:
    with pytest.raises(DataError, match="'test'"):
        stories("test")
    with pytest.raises(DataError, match="-1"):
        stories(count=-1)
    assert list(stories(count=0)) == []


def test_fingerprint_is_a_digest_and_stays(monkeypatch: pytest.MonkeyPatch) -> None:
    before = bundled.fingerprint()
    assert re.fullmatch(r"[0-9a-f]{64}", before)
    monkeypatch.setattr(generator, "OPTIONAL_CHANCE", 0.9)
    generator.fingerprint.cache_clear()
    assert generator.fingerprint() != before
    monkeypatch.undo()
    generator.fingerprint.cache_clear()
    assert generator.fingerprint() == before


def test_a_text_is_drawn_again_rather_than_twice(monkeypatch: pytest.MonkeyPatch) -> None:
    small = read_plot("small", "{hero} had {a_object}.\n{hero} saw {a_object}.", ("kite",))
    monkeypatch.setattr(generator, "PLOTS", (small,))
    generator.combinations.cache_clear()
    try:
        drawn = [story.text for story in stories(count=12)]
        # When nothing new is left it goes on, with what there is.
        assert sum(1 for _ in stories(count=200)) == 200
    finally:
        generator.combinations.cache_clear()
    assert len(set(drawn)) == len(drawn)


def test_there_are_many_plots_with_different_endings() -> None:
    assert len(PLOTS) >= 25
    assert len(PLOT_OF_NAME) == len(PLOTS)
    owners: dict[tuple[str, ...], str] = {}
    for pattern in plot_patterns():
        for keys in pattern.slots[-1].variants:
            assert owners.setdefault(keys, pattern.plot.name) == pattern.plot.name


@pytest.mark.parametrize("plot", PLOTS, ids=lambda plot: plot.name)
def test_every_role_is_named_in_the_ending_and_before(plot: Plot) -> None:
    # Else a change of its one mention could not be noticed, nor the story told from its ending.
    def named(text: str) -> Counter[str]:
        bare = (field.removeprefix("a_") for field in FIELD.findall(text))
        return Counter(field for field in bare if field in ROLE_CLASSES)

    for role in plot.roles:
        assert all(named(ending)[role] for ending in plot.slots[-1].wordings), role
        surely = sum(
            min(named(text)[role] for text in slot.wordings)
            for slot in plot.slots
            if not slot.optional
        )
        assert surely >= 2, role


@pytest.mark.parametrize("plot", PLOTS, ids=lambda plot: plot.name)
def test_slots_are_well_formed(plot: Plot) -> None:
    assert not plot.slots[0].optional
    assert not plot.slots[-1].optional
    assert not plot.slots[plot.break_before].optional
    assert 0 < plot.break_before < len(plot.slots) - 1
    for slot in plot.slots:
        assert 2 <= len(slot.wordings) <= 4
        assert len(set(slot.wordings)) == len(slot.wordings)
        for text in slot.wordings:
            assert re.search(r'[.!?]"?$', text), text
            assert text.count('"') % 2 == 0, text
            assert {role_of_field(field) for field in FIELD.findall(text)} <= plot.roles


def test_every_wording_is_used(sample: list[Story]) -> None:
    for plot in PLOTS:
        told = "\n".join(story.text for story in sample if story.plot == plot.name)
        for slot in plot.slots:
            for text in slot.wordings:
                # re.escape writes a field's braces with backslashes.
                pattern = re.sub(r"\\\{\w+\\\}", r"[A-Za-z ]+?", re.escape(text))
                assert re.search(rf"(^|[ \n]){pattern}([ \n]|$)", told, re.M), (plot.name, text)


def test_text_ends_with_its_ending_at_a_sentence_start(sample: list[Story]) -> None:
    for story in sample:
        assert story.text.endswith(story.ending)
        assert re.search(r'[.!?]"?[ \n]$', story.text.removesuffix(story.ending))
        assert re.match(r'["A-Z]', story.ending)
        assert story.name in story.ending
        assert re.search(rf"\b{story.object}\b", story.ending)
        assert story.facts["hero"] == story.name
        assert story.facts["object"] == story.object
        assert set(story.facts) == PLOT_OF_NAME[story.plot].roles


def test_texts_are_clean(sample: list[Story]) -> None:
    for story in sample:
        assert re.fullmatch(r"[A-Za-z \n.,!?\"']+", story.text), story.text
        assert "  " not in story.text
        assert story.text.count("\n") <= 1
        assert not re.search(r"\s\n|\n\s|\s[.,!?]|^\s|\s$", story.text)
        assert 60 <= len(story.text.split()) <= 150
        for paragraph in story.text.split("\n"):
            assert paragraph.count('"') % 2 == 0
        assert not re.search(r"[.!?] [a-z]|[a-z] [A-Z][a-z]+ [A-Z]", story.text), story.text
    assert any("\n" in story.text for story in sample)
    assert any("\n" not in story.text for story in sample)


def test_vocabulary_is_small(sample: list[Story]) -> None:
    used = {word.lower() for story in sample for word in re.findall(r"[A-Za-z]+", story.text)}
    assert 500 < len(used) < 1200


def test_articles_agree(sample: list[Story]) -> None:
    for story in sample:
        for article, word in re.findall(r"\b([Aa]n?) (\w+)", story.text):
            assert (article.lower() == "an") == (word[0].lower() in "aeiou"), (article, word)


def test_pronouns_agree(sample: list[Story]) -> None:
    # Where everyone is of one gender, nobody's pronoun may be of the other.
    wrong = {
        "girl": re.compile(r"\b(he|him|his|himself|boy)\b", re.I),
        "boy": re.compile(r"\b(she|her|herself|girl)\b", re.I),
    }
    found = Counter[str]()
    for story in sample:
        genders = {words.GENDERS[word] for word in story.facts.values() if word in words.GENDERS}
        if len(genders) == 1:
            (gender,) = genders
            found[gender] += 1
            assert not wrong[gender].search(story.text), story.text
    assert min(found["girl"], found["boy"]) > 300


def test_two_roles_are_never_the_same(sample: list[Story]) -> None:
    for story in sample:
        assert len(set(story.facts.values())) == len(story.facts)
