import pytest

from mlx_rev.text.codec import StoryCodec
from mlx_rev.text.order import BOTH_WAYS, WORD2, Order


@pytest.fixture
def codec(codecs: dict[Order, StoryCodec]) -> StoryCodec:
    """Of both directions."""
    [both] = [order for order in BOTH_WAYS if order.one_way == WORD2.one_way]
    return StoryCodec(codecs[WORD2].tokenizer, both)
