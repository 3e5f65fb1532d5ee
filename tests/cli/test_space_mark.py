"""U+2581, with which SentencePiece writes a space, is refused for its vocabularies only."""

from dataclasses import replace
from pathlib import Path

import pytest

from mlx_rev.config import ModelConfig
from mlx_rev.formats.convert import convert
from mlx_rev.text.order import WORD, Order
from mlx_rev.text.tokenizer import Tokenizer
from tests.byte_level import byte_level
from tests.conftest import Run
from tests.formats.conftest import drawn

TOLD = [f"A {name} ▁ was red. The {name} ran home." for name in ("cat", "dog", "fox")]
FEW = ("--count", 3, "--max-tokens", 2)


@pytest.fixture
def texts(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """In the folder that commands are run in."""
    monkeypatch.chdir(tmp_path)
    Path("marked.txt").write_text("\n\n".join(TOLD), encoding="utf-8")
    Path("plain.txt").write_text("\n\n".join(TOLD).replace("▁", "_"), encoding="utf-8")
    Path("endings.txt").write_text("\n".join(f"The ▁ {n} ran." for n in "abc"), encoding="utf-8")


@pytest.mark.usefixtures("texts")
def test_it_is_refused_to_sentencepiece(
    run: Run, tiny: ModelConfig, tokenizers: dict[Order, Tokenizer]
) -> None:
    convert(replace(drawn(tiny), tokenizer=tokenizers[WORD], order=WORD), Path("m"), "mlx")
    other = ("--valid", "plain.txt", *FEW)
    for command, said in (
        (("score", "marked.txt", "--model", "m"), "marked.txt: story 1: the text has U+2581"),
        (("score", TOLD[0], "--model", "m"), "the text has U+2581"),
        (("evaluate", "m", "--valid", "marked.txt", *FEW), "marked.txt: story 1: the text has U"),
        (("evaluate", "m", "--endings", "endings.txt", *other), "endings.txt: line 1: the text"),
    ):
        done = run(*command)
        assert done.returncode == 2, done.stderr
        assert said in done.stderr


@pytest.mark.usefixtures("texts")
def test_byte_level_models_are_measured_on_it(
    run: Run, tiny: ModelConfig, some_stories: list[str]
) -> None:
    model = replace(drawn(tiny), tokenizer=byte_level(some_stories[:50]), order=WORD)
    convert(model, Path("m"), "mlx")
    marked = ("--valid", "marked.txt", "--train-text", "marked.txt", "--endings", "endings.txt")
    for command in (
        ("score", "marked.txt", "--model", "m"),
        ("evaluate", "m", *marked, *FEW),
    ):
        done = run(*command)
        assert done.returncode == 0, done.stderr
