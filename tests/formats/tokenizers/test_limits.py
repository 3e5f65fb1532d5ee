"""Tokenizers that are not as llama2.c's: what is padded, what is refused, what is said."""

import io
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import sentencepiece
from tokenizers import Tokenizer as Peer

import mlx_rev
from mlx_rev.config import Dtype
from mlx_rev.errors import FormatError
from mlx_rev.formats import names
from mlx_rev.formats.convert import convert
from mlx_rev.formats.detect import open_model
from mlx_rev.formats.huggingface import write_folder
from mlx_rev.formats.model_file import ModelFile
from mlx_rev.formats.tokenizers.limits import check_bin
from mlx_rev.formats.tokenizers.sentencepiece_model import Kind, Piece, tokenizer_of
from mlx_rev.text.sentencepiece import SentencePiece
from tests.formats.conftest import drawn

TARGETS = {"llama2c": "m.bin", "mlx": "m", "gguf": "m.gguf"}
Made = Callable[..., ModelFile]


@pytest.fixture(scope="module")
def made(some_stories: list[str], talking: ModelFile) -> Made:
    """Make a model with a tokenizer of other settings."""

    def make(**settings: Any) -> ModelFile:
        writer = io.BytesIO()
        options = {
            "model_type": "bpe",
            "byte_fallback": True,
            "normalization_rule_name": "identity",
            "remove_extra_whitespaces": False,
        }
        sentencepiece.SentencePieceTrainer.train(
            sentence_iterator=iter(" ".join(some_stories).split("\n")),
            model_writer=writer,
            vocab_size=400,
            minloglevel=2,
            **{**options, **settings},
        )
        return replace(drawn(talking.config), tokenizer=SentencePiece(writer.getvalue()))

    return make


def padded_folder(folder: Path, talking: ModelFile) -> Path:
    """A model with 464 rows beside a tokenizer of 400 pieces; the last rows would be chosen."""
    model = drawn(replace(talking.config, vocab_size=464))
    weights = {name: weight.copy() for name, weight in model.weights()}
    weights[names.EMBEDDING][400:] *= 3
    known = replace(model, read=weights.__getitem__, tokenizer=talking.tokenizer)
    folder.mkdir()
    write_folder(folder, known)
    return folder


@pytest.mark.parametrize("to", TARGETS)
def test_a_padded_vocabulary_goes_everywhere_and_is_never_told(
    tmp_path: Path, talking: ModelFile, to: str
) -> None:
    source = padded_folder(tmp_path / "padded", talking)
    target = tmp_path / "out" / TARGETS[to]
    convert(open_model(source), target, to, Dtype.FLOAT32)
    (target.parent / "tokenizer.model").unlink(missing_ok=True)
    assert talking.tokenizer is not None
    for path in (source, target):
        teller = mlx_rev.load(path)
        assert teller.codec.tokenizer.vocab_size == 464
        assert teller.codec.tokenizer.encode("They were happy.") == talking.tokenizer.encode(
            "They were happy."
        )
        assert max(teller.tell("They were happy.", temperature=1.0, seed=1).tokens) < 400
    if to == "mlx":
        assert Peer.from_str((target / "tokenizer.json").read_text()).get_vocab_size() == 400


def test_a_vocabulary_of_another_model_is_still_refused(tmp_path: Path, talking: ModelFile) -> None:
    model = drawn(replace(talking.config, vocab_size=2000))
    write_folder(tmp_path, replace(model, tokenizer=talking.tokenizer))
    with pytest.raises(FormatError, match="vocabulary of 2000, but its tokenizer has 400"):
        open_model(tmp_path)


@pytest.mark.parametrize("to", TARGETS)
@pytest.mark.parametrize(
    ("settings", "said"),
    [({"model_type": "unigram"}, "not a BPE model"), ({"pad_id": 3}, "byte pieces at ids 3")],
    ids=["unigram", "shifted"],
)
def test_what_would_be_read_wrongly_is_refused(
    tmp_path: Path, made: Made, to: str, settings: dict[str, Any], said: str
) -> None:
    model = made(**settings)
    if to == "gguf" and "pad_id" in settings:
        convert(model, tmp_path / "m.gguf", to, Dtype.FLOAT32)
        kept, own = open_model(tmp_path / "m.gguf").tokenizer, model.tokenizer
        assert kept is not None
        assert own is not None
        assert kept.encode("a é 🙂") == own.encode("a é 🙂")
        return
    with pytest.raises(FormatError, match=said):
        convert(model, tmp_path / TARGETS[to], to, Dtype.FLOAT32)
    assert not list(tmp_path.iterdir())


def test_run_c_puts_a_space_in_front_of_every_text(tmp_path: Path, made: Made) -> None:
    model = made(add_dummy_prefix=False)
    with pytest.raises(FormatError, match=r"puts no space in front .*run\.c always does"):
        convert(model, tmp_path / "m.bin")
    assert not list(tmp_path.iterdir())
    for target in ("m", "m.gguf"):
        convert(model, tmp_path / target)
        kept = open_model(tmp_path / target).tokenizer
        assert kept is not None
        assert model.tokenizer is not None
        assert kept.encode("They were") == model.tokenizer.encode("They were")


def test_a_checkpoint_of_such_a_tokenizer_has_no_tokenizer_json(tmp_path: Path, made: Made) -> None:
    model = made(model_type="unigram")
    write_folder(tmp_path, model)
    assert not (tmp_path / "tokenizer.json").exists()
    kept = open_model(tmp_path).tokenizer
    assert kept is not None
    assert model.tokenizer is not None
    assert kept.content == model.tokenizer.content


@pytest.mark.parametrize(
    ("settings", "said"),
    [
        ({"normalization_rule_name": "nmt_nfkc"}, "normalises text (nmt_nfkc)"),
        ({"remove_extra_whitespaces": True}, "drops spaces"),
        (
            {"user_defined_symbols": ["Tom"]},
            "before it merges any, which run.c",
        ),
    ],
    ids=["nfkc", "spaces", "symbols"],
)
def test_what_only_sentencepiece_does_is_said(
    tmp_path: Path, made: Made, settings: dict[str, Any], said: str
) -> None:
    to = "gguf"  # symbols stand before the bytes, which only GGUF can tell
    done = convert(made(**settings), tmp_path / "m.gguf", to, Dtype.FLOAT32)
    assert any(said in note for note in done.notes)


def test_a_space_that_no_piece_has_is_put_in_front_all_the_same() -> None:
    marks = [Piece("<unk>", 0, Kind.UNKNOWN), *(Piece(n, 0, Kind.CONTROL) for n in ("<s>", "</s>"))]
    single = [Piece(f"<0x{byte:02X}>", 0, Kind.BYTE) for byte in range(256)]
    known = [*marks, *single, Piece("w", 0, Kind.NORMAL)]
    with_space, without = (
        tokenizer_of(known, adds_space=adds, source="") for adds in (True, False)
    )
    assert (with_space.adds_space, without.adds_space) == (True, False)
    assert check_bin(with_space, "") is with_space
    with pytest.raises(FormatError, match="no space in front"):
        check_bin(without, "")
