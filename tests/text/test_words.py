import re
import sys
import unicodedata

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from mlx_rev.text import words
from mlx_rev.text.words import WordPattern, is_word_character

STORY = 'Tom said, "Look!"\nHe ran.\n\nThe end.'
ARTICLE = re.compile(r"""([\w\d\']+|\.|"|\?|\!|,)""")
"""As it stands in the article."""
PATTERNS = [words.article(), words.with_marks()]
MARKS = [chr(c) for c in range(sys.maxunicode + 1) if unicodedata.category(chr(c))[0] == "M"]
dense = st.text(
    st.sampled_from([*"ab'.,!? \"\n-é", "\u0301", "\u093f", "\u200d", "\u20dd"]), max_size=40
)
marked = st.text(st.one_of(st.sampled_from(MARKS), st.sampled_from("a'. \"-"), st.characters()))
any_text = st.one_of(st.text(), dense, marked)


@pytest.mark.parametrize("pattern", PATTERNS, ids=["article", "marks"])
@pytest.mark.parametrize(
    ("text", "reversed_text"),
    [
        ("This is a test.", ".test a is This"),
        ("butterfly in the sky.", ".sky the in butterfly"),
        (STORY, '.end The\n\n.ran He\n"!Look" ,said Tom'),
        ("", ""),
        ("don't 12", "12 don't"),
    ],
)
def test_the_articles_examples(pattern: WordPattern, text: str, reversed_text: str) -> None:
    assert pattern.reverse(text) == reversed_text


@pytest.mark.parametrize(
    ("text", "reversed_text"),
    [
        ("एक बार की बात है।", "।है बात की बार एक"),
        ("un e\u0301te\u0301 tre\u0300s chaud.", ".chaud tre\u0300s e\u0301te\u0301 un"),
        ("กาลครั้งหนึ่ง นานมาแล้ว", "นานมาแล้ว กาลครั้งหนึ่ง"),
        ("ஒரு நாள், பூனை", "பூனை ,நாள் ஒரு"),
        ("كَانَ يَا مَا كَانَ", "كَانَ مَا يَا كَانَ"),
        ('a "\u0301b', 'b"\u0301 a'),
    ],
    ids=["Hindi", "French", "Thai", "Tamil", "Arabic", "on a quotation mark"],
)
def test_words_keep_their_marks(text: str, reversed_text: str) -> None:
    pattern = words.with_marks()
    assert pattern.reverse(text) == reversed_text
    assert pattern.reverse(reversed_text) == text
    assert words.article().reverse(text) != reversed_text


@pytest.mark.parametrize("joiner", ["\u200c", "\u200d", "\u00ad", "\u2060"])
def test_what_joins_letters_without_being_a_mark_is_between_words(joiner: str) -> None:
    """Shards and models of word2 are made so: another rule needs another name."""
    pattern, text = words.with_marks(), f"می{joiner}خواهم ماه"
    assert pattern.reverse(text) == f"ماه خواهم{joiner}می"
    assert pattern.reverse(pattern.reverse(text)) == text


@given(any_text)
def test_reversing_is_its_own_inverse(text: str) -> None:
    for pattern in PATTERNS:
        assert pattern.reverse(pattern.reverse(text)) == text


@given(any_text)
@example("a\u0301 b")
def test_the_parts_join_to_the_text_and_none_but_the_first_begins_with_a_mark(text: str) -> None:
    parts = words.with_marks().parts(text)
    assert "".join(parts) == text
    assert not any(part[0] in MARKS for part in parts[1:] if part)


@given(any_text)
def test_only_a_text_that_begins_with_a_mark_is_left_as_it_is(text: str) -> None:
    pattern = words.with_marks()
    if text and text[0] in MARKS:
        assert pattern.reverse(text) == text
    else:
        assert pattern.reverse(text) == "".join(reversed(pattern.parts(text)))


@given(any_text)
def test_text_without_marks_is_split_as_in_the_article(text: str) -> None:
    bare = "".join(character for character in text if character not in MARKS)
    assert words.with_marks().parts(bare) == words.article().parts(bare) == ARTICLE.split(bare)
    assert words.article().parts(text) == ARTICLE.split(text)


def test_every_mark_of_unicode_is_known_and_nothing_else() -> None:
    attached = words.with_marks().attached
    found = [chr(c) for c in range(sys.maxunicode + 1) if attached.match(chr(c))]
    assert found == MARKS


def test_word_characters() -> None:
    assert [character for character in "aé7_' .\n\"-" if is_word_character(character)] == [*"aé7_'"]
