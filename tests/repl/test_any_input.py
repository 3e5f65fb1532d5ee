"""Whatever is typed, there is no traceback, and an ending stays as it is."""

import io
import random
from dataclasses import replace
from pathlib import Path

import pytest
from rich.console import Console

from mlx_rev.config import ModelConfig, SampleConfig
from mlx_rev.errors import RevError
from mlx_rev.generate.teller import Teller
from mlx_rev.model.llama import Llama, initialise
from mlx_rev.model.load import Loaded
from mlx_rev.repl.replies import Says, Tells
from mlx_rev.repl.session import Session
from mlx_rev.repl.view import View
from mlx_rev.text.codec import StoryCodec
from mlx_rev.text.order import BOTH_WAYS, ORDERS, WORD, WORD2, Order
from mlx_rev.ui.console import THEME

PIECES = (
    *("Tom", " ", "\n", "\t", ".", '"', "日本", "🙂", "e\u0301", "\u0301", "\x00", "\x1b[31m"),
    *("\u2581", "\u202e", "\ud7ff", "\udcff", "\uffff", "ﷺ", "🏳️‍🌈", "a" * 50, "'", "[bold]", "[/]"),
    *("/", "/set ", "/tokens ", "/score ", "/candidates ", "/surprise", "/raw"),
    *("/history ", "/save ", "/export ", "/model ", "/compare ", "temperature ", "seed "),
    *("/more", "/cut ", "/edit ", "/undo", "/alternatives ", "/sessions ", "/help ", "--story "),
    *("/begin ", "--judge ", "/info", "?", "/again", "-1", "0", "1", "2", "99", "nan", "1e999"),
)


def fuzz(session: Session, view: View, seed: int, count: int) -> None:
    generator = random.Random(seed)
    for _ in range(count):
        line = "".join(generator.choices(PIECES, k=generator.randint(0, 6)))
        try:
            for reply in session.respond(line):
                view.show(reply)
                if isinstance(reply, Tells):
                    kept = str.endswith if reply.story.leftwards else str.startswith
                    assert kept(reply.story.text, reply.story.prompt)
        except RevError as error:
            view.error(str(error))
        # Keep stories short, whatever was set.
        session.settings = SampleConfig(max_tokens=2, seed=session.settings.seed % 1000)


@pytest.mark.parametrize("order", ORDERS)
def test_no_input_makes_a_traceback(
    order: Order,
    tellers: dict[Order, Teller],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.chdir(tmp_path)
    view = View(Console(file=io.TextIOWrapper(io.BytesIO(), "utf-8"), width=30, theme=THEME))
    fuzz(Session(tellers[order], "tiny", SampleConfig(max_tokens=2)), view, 1, 50)


def test_no_input_to_a_model_of_both_directions_makes_one(
    tiny: ModelConfig,
    codecs: dict[Order, StoryCodec],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.chdir(tmp_path)
    view = View(Console(file=io.TextIOWrapper(io.BytesIO(), "utf-8"), width=30, theme=THEME))
    model = Llama(tiny)
    initialise(model, seed=4)
    teller = Teller(Loaded(model, replace(codecs[WORD2], order=BOTH_WAYS[0])))
    session = Session(teller, "tiny", SampleConfig(max_tokens=2))
    *_, told = session.respond("Tom sat.")
    assert isinstance(told, Tells)
    *_, told = session.respond("/begin A fox ran.")
    assert isinstance(told, Tells)
    fuzz(session, view, 3, 50)


@pytest.mark.slow
@pytest.mark.timeout(1800)
def test_ten_thousand_inputs_make_no_traceback(
    tellers: dict[Order, Teller], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    view = View(Console(file=io.TextIOWrapper(io.BytesIO(), "utf-8"), width=30, theme=THEME))
    session = Session(tellers[WORD], "tiny", SampleConfig(max_tokens=2))
    fuzz(session, view, 2, 10_000)


def test_ten_thousand_emoji(session: Session) -> None:
    ending = "🙂" * 10_000
    *_, told = session.respond(ending)
    assert isinstance(told, Tells)
    assert told.story.text.endswith(ending)


def test_a_long_ending_is_handled_in_words(session: Session) -> None:
    ending = "Tom went home. " * 80
    says, *_, told = session.respond(ending)
    assert isinstance(says, Says)
    assert "it sees only the first 47 tokens" in says.text
    assert isinstance(told, Tells)
    assert told.story.text.endswith(ending)
