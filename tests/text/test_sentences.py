import time
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mlx_rev.data import bundled
from mlx_rev.text.sentences import last_sentences, sentence_starts, sentences

stories = st.text(alphabet='ab .!?"\n。！”」', max_size=60)


def test_sentences_of_every_kind() -> None:
    assert sentences('Tom said, "Look!" He ran… Home.\nNo stop here\n\nEnd.') == [
        'Tom said, "Look!"',
        "He ran…",
        "Home.",
        "No stop here",
        "End.",
    ]
    assert sentences("3.5 km e.g.this") == ["3.5 km e.g.this"]
    assert sentences("狐狸来了。他走了！") == ["狐狸来了。", "他走了！"]
    assert sentences(" ") == []


@pytest.mark.parametrize(
    "expected",
    [
        ["他说：“走吧。”", "然后他走了。"],
        ["他走了。", "“你好。”", "她说。"],
        ["「行こう。」", "と言った。"],
        ["『「行こう。」』", "と言った。"],
        ["真的？！", "是的。"],
    ],
)
def test_what_closes_a_quotation_belongs_to_its_sentence(expected: list[str]) -> None:
    assert sentences("".join(expected)) == expected
    assert sentences("\n".join(expected)) == expected


def test_straight_quotes_close_where_white_space_follows() -> None:
    assert sentences('उसने "कहा।" फिर वह "गया।"') == ['उसने "कहा।"', 'फिर वह "गया।"']
    assert sentences('他走了。"你好') == ["他走了。", '"你好']


@pytest.mark.parametrize("run", [" ", " \n", "\n", "。", "。”"])
def test_a_long_run_takes_no_longer_than_other_text(run: str) -> None:
    begun = time.process_time()
    sentences(f"a{run * 50_000}b")
    assert time.process_time() - begun < 5


@given(stories)
def test_nothing_but_white_space_is_lost(text: str) -> None:
    assert "".join("".join(sentences(text)).split()) == "".join(text.split())


@given(stories)
def test_a_text_is_cut_where_its_sentences_start(text: str) -> None:
    """All of it; no part is without a sentence unless the text is."""
    starts = sentence_starts(text)
    parts = [text[start:stop] for start, stop in pairwise([*starts, len(text)])]
    assert "".join(parts) == text
    found = [part.strip() for part in parts if text.strip()]
    assert found == [sentence.strip() for sentence in sentences(text)]


def test_white_space_is_the_sentences_in_front_of_it_but_at_the_beginning() -> None:
    assert sentence_starts("\n Tom ran.  He sat. \n") == [0, 12]
    assert sentence_starts("\n A. He sat.") == [0, 5]
    assert sentence_starts("") == [0]


@pytest.mark.parametrize(
    ("story", "ending"),
    [
        ("They went home happy.", "They went home happy."),
        ("A cat sat. They went home happy.", "They went home happy."),
        ("A cat sat. They went home happy. The end.", "They went home happy. The end."),
        ("A cat sat.\n\nThey went home happy.\nThe end. ", "They went home happy.\nThe end. "),
        ("They went.", "They went."),
        ("", ""),
        ("很久以前有一只狐狸。他们从此过上了幸福的生活。", "他们从此过上了幸福的生活。"),
    ],
)
def test_an_ending_is_long_enough_to_say_something(story: str, ending: str) -> None:
    assert last_sentences(story) == ending


@given(stories)
def test_a_story_ends_with_its_ending(story: str) -> None:
    assert story.endswith(last_sentences(story))


def test_the_bundled_stories_end_within_their_plots_ending() -> None:
    for story in bundled.stories("valid", count=200):
        ending = last_sentences(story.text)
        assert story.ending.endswith(ending)
        assert sentences(ending) == sentences(story.text)[-len(sentences(ending)) :]
