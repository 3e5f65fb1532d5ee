"""What holds for one kind of tokenizer holds for the other."""

import pytest

from mlx_rev.text.codec import StoryCodec
from mlx_rev.text.order import ORDERS, Order
from mlx_rev.text.sentencepiece import SentencePiece
from mlx_rev.text.tokenizer import Tokenizer
from tests.byte_level import byte_level


@pytest.fixture(scope="session", params=["SentencePiece", "byte-level BPE"])
def tokenizers(request: pytest.FixtureRequest, some_stories: list[str]) -> dict[Order, Tokenizer]:
    """A small vocabulary for each order."""
    learn = SentencePiece.train if request.param == "SentencePiece" else byte_level
    return {order: learn(map(order.reverse, some_stories), 400) for order in ORDERS}


@pytest.fixture(scope="session")
def codecs(tokenizers: dict[Order, Tokenizer]) -> dict[Order, StoryCodec]:
    """A codec for each order; a fixture of its own, for pytest would hand that of all tests on to
    other folders with the vocabularies of this one."""
    return {order: StoryCodec(tokenizers[order], order) for order in ORDERS}
