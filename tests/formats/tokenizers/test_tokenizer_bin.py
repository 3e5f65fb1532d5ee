"""tokenizer.bin as run.c reads it, padded vocabularies and early files too."""

import hashlib
import struct
from pathlib import Path

import pytest

from mlx_rev.errors import FormatError
from mlx_rev.formats.detect import built_in_model
from mlx_rev.formats.sidecar import Sidecar
from mlx_rev.formats.tokenizers import tokenizer_bin
from mlx_rev.formats.tokenizers.detect import is_tokenizer, read_tokenizer
from mlx_rev.formats.tokenizers.sentencepiece_model import Kind, padded, pieces_of
from mlx_rev.text.order import WORD
from mlx_rev.text.sentencepiece import SentencePiece
from mlx_rev.text.tokenizer import Tokenizer
from tests.formats.tokenizers import run_c

TEXTS = [
    "They all lived happily ever after.",
    "a  b\n c",
    "7 é 🙂 <unused 2050>",
    "<0x00 unused 2050>",
    "",
]


@pytest.fixture(scope="module")
def built_in() -> Tokenizer:
    return SentencePiece.load(built_in_model() / "tokenizer.model")


def test_run_c_encodes_as_we_do(built_in: Tokenizer) -> None:
    vocabulary = run_c.build_tokenizer(tokenizer_bin.to_bytes(built_in), built_in.vocab_size)
    for text in map(WORD.reverse, TEXTS):
        assert run_c.encode(vocabulary, text) == built_in.encode(text)


def test_a_padded_vocabulary_is_read_never_merged_and_never_printed(built_in: Tokenizer) -> None:
    wide = padded(built_in, 2064)
    vocabulary = run_c.build_tokenizer(tokenizer_bin.to_bytes(wide), 2064)
    for text in map(WORD.reverse, TEXTS):
        assert run_c.encode(vocabulary, text) == built_in.encode(text)
    for token in range(built_in.vocab_size, 2064):
        assert vocabulary.scores[token] < run_c.LEAST_MERGED
        assert len(vocabulary.pieces[token].decode()) > 1
        assert run_c.printed(vocabulary, 5, token) == b""
    assert run_c.printed(vocabulary, 5, 3 + ord("a")) == b"a"


def test_padding_comes_back(tmp_path: Path, built_in: Tokenizer) -> None:
    wide = padded(built_in, 2064)
    path = tmp_path / "tokenizer.bin"
    path.write_bytes(tokenizer_bin.to_bytes(wide))
    again = tokenizer_bin.read(path)
    assert pieces_of(again) == pieces_of(wide)
    assert [piece.kind for piece in pieces_of(again)[built_in.vocab_size :]] == [Kind.UNUSED] * 16
    assert tokenizer_bin.to_bytes(again) == path.read_bytes()


def test_padding_of_no_bytes_as_it_was_written_before_is_read(
    tmp_path: Path, built_in: Tokenizer
) -> None:
    wide = padded(built_in, 2050)
    before = tokenizer_bin.to_bytes(built_in) + struct.pack("<fi", 0.0, 0) * 2
    path = tmp_path / "tokenizer.bin"
    path.write_bytes(before)
    again = tokenizer_bin.read(path)
    assert pieces_of(again) == pieces_of(wide)
    described = Sidecar(None, "0" * 64, hashlib.sha256(before).hexdigest(), None, {})
    assert described.fits(again)


def test_an_early_file_is_read_or_named(tmp_path: Path, built_in: Tokenizer) -> None:
    content = tokenizer_bin.to_bytes(built_in)
    path = tmp_path / "tokenizer.bin"
    path.write_bytes(content[4:])
    assert is_tokenizer(path)
    assert tokenizer_bin.to_bytes(read_tokenizer(path)) == content
    pieces = [piece.text.encode() for piece in pieces_of(built_in)]
    path.write_bytes(b"".join(struct.pack("<i", len(piece)) + piece for piece in pieces))
    assert is_tokenizer(path)
    with pytest.raises(FormatError, match=r"early.*mlx-rev convert tokenizer\.model"):
        read_tokenizer(path)
