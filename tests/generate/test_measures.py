"""Stories that are damaged on purpose: each fault is seen, and none where there is none."""

import random
import re
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mlx_rev.data import bundled
from mlx_rev.data.bundled.words import NAMES, PARENTS
from mlx_rev.generate import measures
from mlx_rev.generate.measures import EndedStory
from mlx_rev.text import words

TOLD = list(bundled.stories("valid", count=300))
STORIES = [EndedStory(story.text, story.ending) for story in TOLD]
KNOWN = measures.known_names(story.text for story in bundled.stories("train", count=2000))


def with_body(story: EndedStory, body: str) -> EndedStory:
    return EndedStory(f"{body} {story.ending}", story.ending)


def test_a_body_and_an_ending_are_the_story() -> None:
    for story in STORIES:
        assert story.text.split() == [*story.body.split(), *story.ending.split()]
    assert EndedStory("The end.", "The end.").body == ""


def test_a_repeated_noun_is_seen() -> None:
    whole = [measures.commonest_share(story) for story in STORIES]
    damaged = [
        measures.commonest_share(with_body(story, re.sub(r"\b(the|a) \w+", r"\1 hat", story.body)))
        for story in STORIES
    ]
    assert sum(after > before for before, after in zip(whole, damaged, strict=True)) > 240
    loops = [share > measures.LOOP_SHARE for share in damaged]
    assert sum(loops) > 2 * sum(share > measures.LOOP_SHARE for share in whole)


def test_the_share_is_of_all_words_and_of_content_words_only() -> None:
    story = EndedStory("The hat, the Hat! \"It's the hat's,\" he didn't say. 3 3 3 3", "")
    assert measures.words_of(story.text) == [
        *("the", "hat", "the", "hat", "it's", "the", "hat's", "he", "didn't", "say"),
    ]
    assert measures.commonest_share(story) == pytest.approx(2 / 10)
    assert measures.commonest_share(EndedStory("", "")) == 0
    assert not any(map(measures.is_content_word, ["the", "they'll", "won't", "it's", "i'm"]))
    assert all(map(measures.is_content_word, ["hat", "tom's", "said", "happy"]))


def test_whole_stories_have_no_stray_names() -> None:
    assert not any(measures.has_stray_name(story, KNOWN) for story in STORIES)


def test_names_are_known_from_how_they_are_written() -> None:
    assert set(NAMES) <= KNOWN <= {*NAMES, *PARENTS}
    text = "Then Mommy saw Zog. Now Zog and mommy ran. It was Ann's. I did."
    assert measures.known_names([text]) == {"Zog", "Ann"}
    for times, known in ((10, {"Zog"}), (9, set())):
        assert measures.known_names(["Now Zog ran. " * times, "Then a zog ran."]) == known


def test_a_renamed_hero_is_seen() -> None:
    seen = 0
    for told, story in zip(TOLD, STORIES, strict=True):
        other = next(name for name in NAMES if name not in story.text)
        body, hero = story.body, rf"\b{told.name}\b"
        if told.name in story.ending:
            everywhere = with_body(story, re.sub(hero, other, body))
            assert measures.has_stray_name(everywhere, KNOWN)
            introduced = with_body(story, re.sub(hero, other, body, count=1))
            assert measures.has_stray_name(introduced, KNOWN)
            seen += 1
    assert seen > 100


def test_an_ending_of_another_story_brings_in_strangers() -> None:
    mixed = [
        EndedStory(f"{one.body} {other.ending}", other.ending) for one, other in pairwise(STORIES)
    ]
    named = [story for story in mixed if KNOWN & set(re.findall(r"\w+", story.ending))]
    assert sum(measures.has_stray_name(story, KNOWN) for story in named) > 0.6 * len(named)


@pytest.mark.parametrize(
    ("quoted", "marks"), [('"Hi," he said. "Bye."', '"'), ("“Hi,” he said.", "“”"), ("«Oh»", "«»")]
)
def test_a_removed_quotation_mark_is_seen(quoted: str, marks: str) -> None:
    assert not measures.has_unbalanced_quotes(EndedStory(quoted, ""))
    for place, character in enumerate(quoted):
        without = quoted[:place] + quoted[place + 1 :]
        assert measures.has_unbalanced_quotes(EndedStory(without, "")) == (character in marks)


def test_foreign_words_are_counted() -> None:
    vocabulary = frozenset(word for story in STORIES for word in measures.words_of(story.text))
    for story in STORIES[:50]:
        assert measures.unknown_share(story, vocabulary) == 0
        found = measures.words_of(story.text)
        damaged = EndedStory(" ".join(["Quux", *found[2:], "blorp"]), "")
        assert measures.unknown_share(damaged, vocabulary) == pytest.approx(2 / len(found))


def test_shares_of_a_story_of_one_word_or_none() -> None:
    for text, share in (("Quux.", 1), ("", 0)):
        story = EndedStory(text, "")
        assert measures.unknown_share(story, frozenset({"hat"})) == share
        assert measures.commonest_share(story) == share


def test_repetition_makes_less_distinct() -> None:
    story = EndedStory("a b a b c", "")
    assert [measures.distinct(story, n) for n in (1, 2, 3, 4, 9)] == [
        pytest.approx(3 / 5), pytest.approx(3 / 4), 1.0, 1.0, 1.0
    ]  # fmt: skip
    for one in STORIES[:50]:
        twice = EndedStory(f"{one.text} {one.text}", "")
        assert all(measures.distinct(twice, n) < measures.distinct(one, n) for n in (1, 2, 3))


@given(st.text(alphabet="aB3_'’ .-é\u0301", max_size=30), st.integers(0, 100))
def test_words_are_the_same_found_fast_or_slowly(text: str, seed: int) -> None:
    """What is not ASCII decides on the way, never on the words of what is."""
    ascii_only = "".join(filter(str.isascii, text.replace("’", "'")))
    slowly = [part.strip("'").lower() for part in words.with_marks().parts(ascii_only)[1::2]]
    expected = [word for word in slowly if word[:1].isalpha()]
    assert measures.words_of(ascii_only) == expected
    shuffled = expected + ["é"] * 2
    random.Random(seed).shuffle(shuffled)
    assert measures.words_of(" ".join(shuffled)) == shuffled
