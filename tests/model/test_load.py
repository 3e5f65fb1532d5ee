"""Which way a model is read: what was said of it comes before what its file says."""

import pytest

from mlx_rev.model.load import _codec
from mlx_rev.text.order import ASSUMED, BOTH_WAYS, FORWARD, ORDERS, TOKEN, WORD, Order
from mlx_rev.text.tokenizer import Tokenizer


@pytest.mark.parametrize(
    ("stated", "given", "read"),
    [
        (WORD, None, WORD),
        (WORD, TOKEN, TOKEN),
        (None, TOKEN, TOKEN),
        (None, None, ASSUMED),
        (WORD, FORWARD, FORWARD),
        (BOTH_WAYS[0], FORWARD, FORWARD),
        (BOTH_WAYS[0], TOKEN, TOKEN),
    ],
)
def test_the_order_that_is_given_counts(
    tokenizers: dict[Order, Tokenizer], stated: Order | None, given: Order | None, read: Order
) -> None:
    codec = _codec(tokenizers[ORDERS[0]], stated, given)
    assert codec.order is read
    assert codec.by_others == (stated is given is None)
    # The forward half of a model of both directions has a boundary of its own.
    assert codec.is_opposite == (stated is BOTH_WAYS[0] and given is FORWARD)
