"""The checker of the bundled stories judges rightly.

`python tests/data/test_checker.py` writes its rates on large samples.
"""

from __future__ import annotations

import itertools
import random
import re
import sys
import time
from collections.abc import Iterator

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mlx_rev.data.bundled import Story, check, stories, words
from mlx_rev.data.bundled.plots import PLOTS

PLOT_OF_NAME = {plot.name: plot for plot in PLOTS}


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


def test_rates() -> None:
    measured = rates(seed=11, many=800, few=200)
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


@pytest.mark.parametrize("closing", words.CLOSINGS)
def test_a_closing_may_follow_and_is_no_story(closing: str) -> None:
    story = next(story for story in stories() if story.text.endswith("."))
    bare = story.text.removesuffix(" " + closing)
    assert check(f"{bare} {closing}") == []
    assert check(f"{bare} {closing} {closing}")
    assert check(closing) == ["there is no story"]
    spoilt = bare.replace(story.name, next(n for n in words.NAMES if n not in bare), 1)
    assert check(f"{spoilt} {closing}") == check(spoilt) != []


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
        "cannot be about the object castle" in problem
        for problem in check(story.text.replace(story.object, "castle"))
    )
    assert any("no plot ends like this" in problem for problem in check(beginning))
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


def test_white_space_around_a_story_is_no_fault() -> None:
    text = next(stories()).text
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
@settings(max_examples=100, deadline=None)
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
    start = time.process_time()
    assert check(text)
    assert time.process_time() - start < 5


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
