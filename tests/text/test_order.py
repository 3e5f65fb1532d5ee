import pytest
from hypothesis import given
from hypothesis import strategies as st

from mlx_rev.text.order import Order, is_word_character, reverse_words

STORY = 'Tom said, "Look!"\nHe ran.\n\nThe end.'


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
def test_word_order_is_the_articles(text: str, reversed_text: str) -> None:
    assert reverse_words(text) == reversed_text


@given(st.text())
def test_word_reversal_is_its_own_inverse(text: str) -> None:
    assert Order.WORD.restore(Order.WORD.reverse(text)) == text


@given(st.text(alphabet="ab'.,!? \"\n-é\u0301", max_size=40))
def test_word_reversal_is_its_own_inverse_where_parts_are_dense(text: str) -> None:
    assert reverse_words(reverse_words(text)) == text


@given(st.sampled_from(Order), st.text(), st.lists(st.integers()))
def test_restore_undoes_reverse(reversal: Order, text: str, ids: list[int]) -> None:
    assert reversal.restore(reversal.reverse(text)) == text
    assert reversal.restore_ids(reversal.reverse_ids(ids)) == ids


def test_only_token_reversal_turns_ids_and_only_word_reversal_turns_text() -> None:
    assert [reversal.reverse_ids([1, 2, 3]) for reversal in Order] == [
        [1, 2, 3],
        [3, 2, 1],
        [1, 2, 3],
    ]
    assert [reversal.reverse("a b") for reversal in Order] == ["b a", "a b", "a b"]


def test_only_a_forward_model_grows_rightwards() -> None:
    assert [reversal.grows_leftwards for reversal in Order] == [True, True, False]


def test_word_characters() -> None:
    assert [character for character in "aé7_' .\n\"-" if is_word_character(character)] == [*"aé7_'"]
