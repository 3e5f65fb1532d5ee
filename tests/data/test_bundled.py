"""The bundled stories: drawn the same every time, good English, and judged rightly.

`python tests/data/test_bundled.py` writes the rates of the checker on large samples.
"""

from __future__ import annotations

import itertools
import random
import re
import sys
import time
from collections import Counter
from collections.abc import Callable, Iterator

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mlx_rev.data import bundled
from mlx_rev.data.bundled import Story, check, generator, stories, words
from mlx_rev.data.bundled.grammar import FIELD, ROLE_CLASSES, Plot, read_plot, role_of_field
from mlx_rev.data.bundled.patterns import plot_patterns
from mlx_rev.data.bundled.plots import PLOTS
from mlx_rev.errors import DataError

SAMPLE = 3000
PLOT_OF_NAME = {plot.name: plot for plot in PLOTS}


@pytest.fixture(scope="module")
def sample() -> list[Story]:
    return list(stories(seed=7, count=SAMPLE))


# --- helpers that spoil a story ------------------------------------------------------------------


def swapped_endings(corpus: list[Story], rng: random.Random) -> Iterator[str]:
    """Each story with the ending of another story of another combination."""
    for story in corpus:
        while True:
            other = rng.choice(corpus)
            if (other.plot, other.name, other.object) != (story.plot, story.name, story.object):
                break
        yield story.text.removesuffix(story.ending) + other.ending


def replaced_once(text: str, old: str, new: str, rng: random.Random) -> str:
    """The text with one occurrence of a word replaced, and its article made to fit."""
    match = rng.choice(list(re.finditer(rf"\b{old}\b", text)))
    before, after = text[: match.start()], text[match.end() :]
    if old in words.THINGS:
        before = re.sub(r"\b([Aa])n? $", "\\1n " if new[0] in "aeiou" else "\\1 ", before)
    return before + new + after


def with_a_name_replaced(story: Story, rng: random.Random) -> str:
    name = rng.choice([story.facts[role] for role in ("hero", "friend") if role in story.facts])
    # Of the same gender, so that no pronoun gives it away.
    same_gender = words.GIRLS if name in words.GIRLS else words.BOYS
    return replaced_once(story.text, name, rng.choice([n for n in same_gender if n != name]), rng)


def with_an_object_replaced(story: Story, rng: random.Random) -> str:
    thing = rng.choice([story.facts[role] for role in ("object", "other") if role in story.facts])
    kind = PLOT_OF_NAME[story.plot].objects
    return replaced_once(story.text, thing, rng.choice([t for t in kind if t != thing]), rng)


def rates(seed: int, many: int, few: int) -> dict[str, float]:
    """The share of stories accepted, and of spoilt ones rejected."""
    corpus = list(stories(seed=seed, count=many))
    rng = random.Random(seed)
    some = corpus[:few]
    return {
        "accepted": sum(not check(story.text) for story in corpus) / len(corpus),
        "swapped ending": sum(bool(check(t)) for t in swapped_endings(some, rng)) / few,
        "name replaced": sum(bool(check(with_a_name_replaced(s, rng))) for s in some) / few,
        "object replaced": sum(bool(check(with_an_object_replaced(s, rng))) for s in some) / few,
    }


# --- drawing -------------------------------------------------------------------------------------


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


def test_speed_of_the_generator(record_property: Callable[[str, object], None]) -> None:
    start = time.perf_counter()
    made = sum(1 for _ in stories())
    record_property("seconds for the train split", round(time.perf_counter() - start, 2))
    assert made == bundled.TRAIN_COUNT


# --- the plots -----------------------------------------------------------------------------------


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


# --- the language --------------------------------------------------------------------------------


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
        assert 60 <= len(story.text.split()) <= 140
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


# --- the checker ---------------------------------------------------------------------------------


def test_rates() -> None:
    measured = rates(seed=11, many=2000, few=500)
    assert measured["accepted"] == 1.0
    for spoilt in ("swapped ending", "name replaced", "object replaced"):
        assert measured[spoilt] >= 0.99, measured


def test_every_wording_with_every_neighbour_is_accepted() -> None:
    # The longest and the shortest telling of each plot, with its first and its last wordings.
    fields = {"hero": "Mia", "friend": "Tom", "parent": "Dad"}
    pronouns = {
        "": ("she", "her", "her", "girl", "herself"),
        "f_": ("he", "him", "his", "boy", "himself"),
        "p_": ("he", "him", "his", "boy", "himself"),
    }
    for prefix, (he, him, his, boy, himself) in pronouns.items():
        fields |= {
            prefix + "he": he,
            prefix + "He": he.capitalize(),
            prefix + "him": him,
            prefix + "his": his,
            prefix + "His": his.capitalize(),
            prefix + "boy": boy,
            prefix + "himself": himself,
        }
    for plot in PLOTS:
        things = plot.objects[:2]
        fields |= {"object": things[0], "other": things[1], "place": (*plot.places, "")[0]}
        fields |= {f"a_{role}": words.with_article(fields[role]) for role in ("object", "other")}
        for number, optional in itertools.product((0, -1), (True, False)):
            parts = [
                slot.wordings[number].format_map(fields)
                for slot in plot.slots
                if optional or not slot.optional
            ]
            assert check(" ".join(parts)) == []
            assert check("\n".join(parts)) == []
            for place, part in enumerate(parts):
                assert check(" ".join([*parts[: place + 1], *parts[place:]])), part
                if not optional:
                    assert check(" ".join(parts[:place] + parts[place + 1 :])), part


def story_of(plot: str) -> Story:
    return next(story for story in stories() if story.plot == plot and story.name in words.GIRLS)


def test_problems_are_named() -> None:
    story = story_of("stuck in the tree")
    beginning = story.text.removesuffix(story.ending)
    other = next(name for name in words.GIRLS if name not in story.facts.values())
    (problem,) = {
        p.split(":")[0] for p in check(beginning.replace(story.name, other) + story.ending)
    }
    assert problem == f"the ending is about {story.name}, the story about {other}"

    thing = next(thing for thing in words.FLYING if thing != story.object)
    problems = check(beginning.replace(story.object, thing) + story.ending)
    assert problems[0].startswith(f"the ending has the {story.object}, the story the {thing}")

    foreign = story_of("rainy picnic")
    assert (
        "the ending belongs to the plot 'rainy picnic', the beginning to 'stuck in the tree'"
        in check(beginning + foreign.ending)
    )
    assert any(
        "no such sentence at this place: 'The moon ate it.'" in problem
        for problem in check(f"{beginning}The moon ate it. {story.ending}")
    )
    assert any(
        "can not be about the object castle" in problem
        for problem in check(story.text.replace(story.object, "castle"))
    )
    assert any("no plot ends so" in problem for problem in check(beginning))
    assert check(story.ending)
    name = next(name for name in words.BOYS if name not in story.facts.values())
    boy = story.text.replace(story.name, name)
    assert any(f"{name} is a boy, but not in:" in problem for problem in check(boy))
    twin = story.text.replace(story.facts["friend"], story.name)
    assert f"the hero and the friend are both {story.name}" in check(twin)


def test_wrong_article_is_named() -> None:
    story = next(s for s in stories() if f"an {s.object}" in s.text)
    spoilt = story.text.replace(f"an {story.object}", f"a {story.object}")
    assert check(spoilt)[0] == f"wrong article in 'a {story.object}'"
    assert not check(story.text)


def test_white_space_around_a_story_is_no_fault(sample: list[Story]) -> None:
    text = sample[0].text
    assert check(f"\n {text} \n") == []
    assert check(text.replace(". ", ".  ", 1)) != []


FRAGMENTS = st.sampled_from(
    [
        *(
            '"',
            " ",
            ".",
            "\n",
            "a ",
            "an ",
            "\ue000",
            "\ue002",
            "{hero}",
            "A",
            "Tom",
            "kite",
            "Mom",
        ),
        *(sentence + " " for story in stories(count=20) for sentence in story.text.split(". ")),
    ]
)


@given(st.one_of(st.text(), st.lists(FRAGMENTS).map("".join)))
@settings(max_examples=300, deadline=None)
def test_check_takes_any_text(text: str) -> None:
    problems = check(text)
    assert all(isinstance(problem, str) and problem for problem in problems)


@pytest.mark.parametrize(
    "text",
    ["", " \n", "\0", "Lily", '"' * 5000, "a " * 9000, "A. " * 6000, "x" * 1_000_000,
     "Once upon a time, there was a little girl named Lily. " * 300],
    ids=range(9),
)  # fmt: skip
def test_hard_texts_are_refused_quickly(text: str) -> None:
    start = time.perf_counter()
    assert check(text)
    assert time.perf_counter() - start < 5


def main() -> None:
    """Write the figures of the report."""
    start = time.perf_counter()
    train = list(stories())
    seconds = time.perf_counter() - start
    used = {w.lower() for story in train for w in re.findall(r"[A-Za-z]+", story.text)}
    size = sum(len(story.text.encode()) for story in train)
    length = sum(len(story.text.split()) for story in train) / len(train)
    start = time.perf_counter()
    measured = rates(seed=0, many=20_000, few=2_000)
    check_time = (time.perf_counter() - start) / 26_000 * 1000
    sys.stdout.write(
        f"{len(PLOTS)} plots, {len(train)} stories of {length:.0f} words on average, "
        f"{size} bytes, {len(used)} distinct words, made in {seconds:.2f} s\n"
        f"{measured}\n{check_time:.2f} ms a check\n"
    )


if __name__ == "__main__":
    main()
