from typing import get_args

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mlx_rev.config import ReversalMode
from mlx_rev.errors import ConfigError
from mlx_rev.text.order import (
    BACKWARD_NAMES,
    BOTH_WAYS,
    FORWARD,
    ORDER_NAMES,
    ORDERS,
    TOKEN,
    WORD,
    WORD2,
    Order,
    order_named,
)


@given(st.sampled_from(ORDERS), st.text(), st.lists(st.integers()))
def test_restore_undoes_reverse(order: Order, text: str, ids: list[int]) -> None:
    assert order.restore(order.reverse(text)) == text
    assert order.restore_ids(order.reverse_ids(ids)) == ids


def test_what_each_order_turns_round() -> None:
    turned = {order: (order.reverse("e\u0301 b"), order.reverse_ids([1, 2, 3])) for order in ORDERS}
    assert turned == {
        WORD2: ("b e\u0301", [1, 2, 3]),
        WORD: ("b\u0301 e", [1, 2, 3]),
        TOKEN: ("e\u0301 b", [3, 2, 1]),
        FORWARD: ("e\u0301 b", [1, 2, 3]),
    }


def test_only_a_forward_model_grows_rightwards() -> None:
    assert [order for order in ORDERS if not order.grows_leftwards] == [FORWARD]


def test_names_are_those_of_the_options_and_fit_in_the_header_of_a_shard() -> None:
    assert get_args(ReversalMode) == ORDER_NAMES
    assert all(len(order.one_way.encode()) <= 8 for order in ORDERS)
    assert [order_named(name) for name in ORDER_NAMES] == [*ORDERS, *BOTH_WAYS]
    with pytest.raises(ConfigError, match="'sideways', expected word2, word, token, none"):
        order_named("sideways")
    leftwards = [order.name for order in ORDERS if order.grows_leftwards]
    assert BACKWARD_NAMES.replace(" or ", ", ") == ", ".join(leftwards)


def test_a_backward_order_can_be_that_of_a_model_of_both_directions() -> None:
    for both, alone in zip(BOTH_WAYS, (WORD2, WORD, TOKEN), strict=True):
        assert type(both) is type(alone)
        assert both.name == f"{alone.name},none"
        assert both.also_forward
        assert not alone.also_forward


def test_orders_that_see_the_same_text_share_a_vocabulary_and_no_others_do() -> None:
    text = "e\u0301 b."
    for one in ORDERS:
        for other in ORDERS:
            same = one.reverse(text) == other.reverse(text)
            assert (one.vocabulary == other.vocabulary) == same
