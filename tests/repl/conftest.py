import pytest

from mlx_rev.config import ModelConfig, SampleConfig
from mlx_rev.generate.teller import Teller
from mlx_rev.model.llama import Llama, get_weights, initialise, set_weights
from mlx_rev.model.load import Loaded
from mlx_rev.repl.replies import Reply
from mlx_rev.repl.session import Session
from mlx_rev.text.codec import StoryCodec
from mlx_rev.text.order import WORD, Order


@pytest.fixture(scope="session")
def tellers(tiny: ModelConfig, codecs: dict[Order, StoryCodec]) -> dict[Order, Teller]:
    """A small model with weights drawn at random, in each order."""
    model = Llama(tiny)
    initialise(model, seed=4)
    set_weights(model, {n: w * 6 if w.ndim > 1 else w for n, w in get_weights(model).items()})
    return {order: Teller(Loaded(model, codec)) for order, codec in codecs.items()}


@pytest.fixture
def session(tellers: dict[Order, Teller]) -> Session:
    """A conversation with the word-reversed one, whose stories are short."""
    return Session(tellers[WORD], "tiny", SampleConfig(max_tokens=12, seed=3))


def last(session: Session, line: str) -> Reply:
    """What is said last in answer to a line."""
    return list(session.respond(line))[-1]
