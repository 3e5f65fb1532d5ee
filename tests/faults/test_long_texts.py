"""A million words told from or scored: in a time that grows with them and no faster."""

import time
from collections.abc import Callable
from pathlib import Path

import pytest

from mlx_rev.config import ModelConfig, SampleConfig
from mlx_rev.generate.teller import Teller
from mlx_rev.model.llama import Llama, initialise
from mlx_rev.model.load import Loaded
from mlx_rev.text.codec import StoryCodec
from mlx_rev.text.order import ORDERS, Order
from tests.conftest import Run

KINDS: dict[str, Callable[[int], str]] = {
    "words": lambda count: " ".join(f"word{number % 1000}" for number in range(count)),
    "one letter": lambda count: "a" * 5 * count,
    "lines": lambda count: "x\n" * count,
    "marks": lambda count: "e" + "\u0301" * 3 * count,
}


def seconds(teller: Teller, ending: str) -> float:
    """Of processor time until three tokens of a story are written."""
    settings = SampleConfig(max_tokens=3)
    started = time.process_time()
    stories = teller.begin([ending], settings)
    for _ in teller.write(stories, settings):
        pass
    assert stories[0].text.endswith(ending) or stories[0].text.startswith(ending)
    assert stories[0].left_out > 1000
    return time.process_time() - started


def told_by(tiny: ModelConfig, codec: StoryCodec) -> Teller:
    model = Llama(tiny)
    initialise(model, seed=4)
    return Teller(Loaded(model, codec))


@pytest.mark.parametrize("kind", KINDS)
def test_ten_thousand_words_take_a_moment(
    kind: str, tiny: ModelConfig, codecs: dict[Order, StoryCodec]
) -> None:
    assert seconds(told_by(tiny, codecs[ORDERS[0]]), KINDS[kind](10_000)) < 2


@pytest.mark.slow
@pytest.mark.timeout(3600)
@pytest.mark.parametrize("order", ORDERS)
@pytest.mark.parametrize("kind", KINDS)
def test_a_million_words_take_no_minute(
    kind: str, order: Order, tiny: ModelConfig, codecs: dict[Order, StoryCodec]
) -> None:
    """Measured: 5 to 7 seconds for words, of which SentencePiece takes nearly all."""
    assert seconds(told_by(tiny, codecs[order]), KINDS[kind](1_000_000)) < 60


@pytest.mark.slow
@pytest.mark.timeout(3600)
def test_a_pipe_and_a_score_of_a_million_words(run: Run, trained: Path, tmp_path: Path) -> None:
    text = KINDS["words"](1_000_000)
    done = run("repl", "--model", trained, "--max-tokens", "3", stdin=f"{text}\nThe end.\n")
    assert done.returncode == 0
    assert "line 1: That is longer than the model can read" in done.stderr
    assert done.stdout.count(text) == 1
    (tmp_path / "long.txt").write_text(text)
    scored = run("score", tmp_path / "long.txt", "--model", trained)
    assert scored.returncode == 0
    assert "scoring" in scored.stderr
