"""What holds for a tokenizer of either kind."""

from pathlib import Path

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from mlx_rev.errors import DataError
from mlx_rev.text.load import load_tokenizer
from mlx_rev.text.order import FORWARD, WORD, Order
from mlx_rev.text.tokenizer import Tokenizer

encodable = st.text(st.characters(exclude_characters="▁", exclude_categories=["Cs"]), max_size=80)
spacy = st.text(alphabet=" \n\tab.é😀<>s/", max_size=30)


@given(st.one_of(encodable, spacy))
@example("a  b ")
@example(" leading")
@example("\n\n")
@example("<s>not a mark</s> <|endoftext|><|begin|>")
@example("\x00")
def test_decode_undoes_encode(tokenizers: dict[Order, Tokenizer], text: str) -> None:
    tokenizer = tokenizers[WORD]
    ids = tokenizer.encode(text)
    assert tokenizer.decode(ids) == text
    assert (
        tokenizer.without_added_space(b"".join(tokenizer.piece_bytes[token] for token in ids))
        == text.encode()
    )
    assert not {tokenizer.boundary, tokenizer.forward_boundary} & set(ids)


@given(st.lists(spacy, max_size=4))
def test_a_batch_is_its_texts(tokenizers: dict[Order, Tokenizer], texts: list[str]) -> None:
    tokenizer = tokenizers[FORWARD]
    assert tokenizer.encode_batch(texts) == [tokenizer.encode(text) for text in texts]


@given(spacy)
def test_after_a_space_a_text_is_that_space_and_the_text(
    tokenizers: dict[Order, Tokenizer], text: str
) -> None:
    tokenizer = tokenizers[FORWARD]
    spelled = [tokenizer.piece_bytes[token] for token in tokenizer.encode_after_space(text)]
    if text:
        assert b"".join(spelled) == f" {text}".encode()


def test_what_is_no_unicode_is_refused_by_place(tokenizers: dict[Order, Tokenizer]) -> None:
    with pytest.raises(DataError, match="lone surrogate at character 2"):
        tokenizers[WORD].encode("a\ud800")


def test_the_marks_spell_nothing(tokenizers: dict[Order, Tokenizer]) -> None:
    tokenizer = tokenizers[WORD]
    marks = tokenizer.boundary, tokenizer.forward_boundary
    assert marks == (1, 2)
    assert [tokenizer.piece_bytes[mark] for mark in marks] == [b"", b""]
    assert len(tokenizer.piece_bytes) == tokenizer.vocab_size == 400
    assert {bytes([byte]) for byte in range(256)} <= set(tokenizer.piece_bytes)
    assert tokenizer.decode([1, *tokenizer.encode("Tom ran."), 2]) == "Tom ran."


def test_what_is_saved_is_the_same_tokenizer(
    tokenizers: dict[Order, Tokenizer], some_stories: list[str], tmp_path: Path
) -> None:
    tokenizer, path = tokenizers[WORD], tmp_path / "saved"
    tokenizer.save(path)
    again = load_tokenizer(path)
    assert again.content == tokenizer.content
    assert again.fingerprint == tokenizer.fingerprint != tokenizers[FORWARD].fingerprint
    assert again.encode_batch(some_stories[:20]) == tokenizer.encode_batch(some_stories[:20])
    assert (again.boundary, again.forward_boundary) == (1, 2)


def test_what_cannot_be_read_is_said(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="cannot be read"):
        load_tokenizer(tmp_path / "missing")
