import io
import re
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
import sentencepiece
from hypothesis import given
from hypothesis import strategies as st

from mlx_rev.errors import DataError
from mlx_rev.text.load import load_tokenizer
from mlx_rev.text.order import FORWARD, WORD, Order
from mlx_rev.text.sentencepiece import SPACE_MARK, SentencePiece, _lines
from mlx_rev.text.tokenizer import BOUNDARY

encodable = st.text(st.characters(exclude_characters="▁", exclude_categories=["Cs"]), max_size=80)
spacy = st.text(alphabet=" \n\tab.é😀<>s/", max_size=30)


@pytest.fixture(scope="module")
def tokenizers(some_stories: list[str]) -> dict[Order, SentencePiece]:
    """A small vocabulary for each order."""
    return {
        order: SentencePiece.train(map(order.reverse, some_stories), 400)
        for order in (WORD, FORWARD)
    }


@pytest.fixture(scope="module")
def llamas(shared: Path) -> SentencePiece:
    """Llama's own vocabulary, of 32,000 pieces."""
    return SentencePiece.load(shared / "llama2c" / "tokenizer.model")


@given(st.one_of(encodable, spacy))
def test_llamas_vocabulary_is_lossless_too(llamas: SentencePiece, text: str) -> None:
    assert llamas.decode(llamas.encode(text)) == text


def test_decode_agrees_with_sentencepiece(
    tokenizers: dict[Order, SentencePiece], some_stories: list[str]
) -> None:
    tokenizer = tokenizers[FORWARD]
    processor = sentencepiece.SentencePieceProcessor(model_proto=tokenizer.content)
    for story, ids in zip(some_stories, tokenizer.encode_batch(some_stories), strict=True):
        assert ids == processor.encode(story)
        assert tokenizer.decode(ids) == processor.decode(ids) == story


@given(spacy, spacy)
def test_encode_inside_is_what_follows_a_newline(
    tokenizers: dict[Order, SentencePiece], before: str, text: str
) -> None:
    tokenizer = tokenizers[FORWARD]
    whole = tokenizer.encode(before + "\n" + text)
    inside = tokenizer.encode_inside(text)
    assert whole[len(whole) - len(inside) :] == inside


@pytest.mark.parametrize("text", ["a▁b", "\ud800"])
def test_what_could_not_come_back_is_refused(
    tokenizers: dict[Order, SentencePiece], text: str
) -> None:
    with pytest.raises(DataError, match=r"U\+2581|surrogate"):
        tokenizers[WORD].encode(text)


def test_training_is_repeatable_and_the_fingerprint_tells_models_apart(
    some_stories: list[str], tokenizers: dict[Order, SentencePiece]
) -> None:
    again = SentencePiece.train(map(WORD.reverse, some_stories), 400)
    assert again.fingerprint == tokenizers[WORD].fingerprint
    assert again.fingerprint != tokenizers[FORWARD].fingerprint


def test_marks_are_llamas(tokenizers: dict[Order, SentencePiece]) -> None:
    processor = sentencepiece.SentencePieceProcessor(model_proto=tokenizers[WORD].content)
    assert (processor.unk_id(), processor.bos_id(), processor.eos_id()) == (0, BOUNDARY, 2)
    assert processor.id_to_piece(3 + 0x41) == "<0x41>"


def test_save_and_load(tokenizers: dict[Order, SentencePiece], tmp_path: Path) -> None:
    tokenizer = tokenizers[WORD]
    tokenizer.save(tmp_path / "t.model")
    assert SentencePiece.load(tmp_path / "t.model").fingerprint == tokenizer.fingerprint


def test_what_is_no_model_is_refused(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="cannot be read"):
        SentencePiece.load(tmp_path / "missing.model")
    (tmp_path / "bad.model").write_bytes(b"not a model at all")
    with pytest.raises(DataError, match="not a SentencePiece model"):
        SentencePiece.load(tmp_path / "bad.model")


def test_an_empty_file_is_said_to_be_empty(
    tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "tokenizer.model").touch()
    for load in (SentencePiece.load, load_tokenizer):
        with pytest.raises(DataError, match=r"tokenizer\.model: is empty; expected"):
            load(tmp_path / "tokenizer.model")
    assert capfd.readouterr() == ("", "")


@pytest.mark.parametrize("character", ["o", "é", "😀"])
def test_lines_that_are_too_long_are_learnt_from(
    monkeypatch: pytest.MonkeyPatch, character: str
) -> None:
    monkeypatch.setattr("mlx_rev.text.sentencepiece._LONGEST_LINE", 100)
    words = [f"w{character * 3}"] * 200
    learnt = SentencePiece.train([" ".join(words)], 265)
    assert learnt.fingerprint == SentencePiece.train(words, 265).fingerprint
    assert SentencePiece.train([character * 500], 262).vocab_size == 262


def test_a_line_is_cut_only_where_it_is_too_long(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("mlx_rev.text.sentencepiece._LONGEST_LINE", 100)
    assert list(_lines(["a b " * 25])) == ["a b " * 25]
    assert list(_lines(["é " * 34])) == [*[" ".join("é" * 13)] * 2, "é " * 8]


def test_too_little_text_for_the_vocabulary() -> None:
    with pytest.raises(DataError, match="too small for a vocabulary of 4000"):
        SentencePiece.train(["one two three"], 4000)


def test_vocabularies_that_cannot_be_learnt_are_said_with_those_that_can() -> None:
    """Each bound said works, and one beyond it does not."""
    texts = ["".join(chr(0x4E00 + 7 * row + column) for column in range(30)) for row in range(30)]
    for asked in (300, 100_000):
        with pytest.raises(DataError, match=r"\d+ to \d+ work") as caught:
            SentencePiece.train(texts, asked)
        least, most = map(int, re.findall(r"(\d+) to (\d+) work", str(caught.value))[0])
        assert SentencePiece.train(texts, least).vocab_size == least
        assert SentencePiece.train(texts, most).vocab_size == most
        for beyond in (least - 1, most + 1):
            with pytest.raises(DataError):
                SentencePiece.train(texts, beyond)
    with pytest.raises(DataError, match="there is no text"):
        SentencePiece.train([], 300)


def model_with(**settings: object) -> bytes:
    """A .model file of a few words, learnt with these settings of SentencePiece's."""
    writer = io.BytesIO()
    sentencepiece.SentencePieceTrainer.train(
        sentence_iterator=iter(["Tom ran home.", "The dog was happy."] * 20),
        model_writer=writer,
        model_type="bpe",
        vocab_size=290,
        byte_fallback=True,
        remove_extra_whitespaces=False,
        normalization_rule_name="identity",
        minloglevel=2,
        **settings,
    )
    return writer.getvalue()


def test_a_model_whose_stories_begin_with_another_id_is_refused() -> None:
    with pytest.raises(DataError, match=r"^t\.model: its beginning.* id.* 2, expected 1"):
        SentencePiece(model_with(unk_id=0, bos_id=2, eos_id=1), source="t.model")


def test_where_no_space_is_put_in_front_none_is_taken_away() -> None:
    tokenizer = SentencePiece(model_with(add_dummy_prefix=False))
    assert not tokenizer.adds_space
    for text in ("Tom", " Tom", "  Tom"):
        assert tokenizer.decode(tokenizer.encode(text)) == text
        assert tokenizer.encode_inside(text) == tokenizer.encode(text)
    adding = SentencePiece(model_with())
    assert adding.adds_space
    assert adding.encode_inside(" Tom") == adding.encode("Tom") != adding.encode_inside("Tom")


def test_what_each_kind_of_piece_spells(tokenizers: dict[Order, SentencePiece]) -> None:
    tokenizer = tokenizers[WORD]
    pieces = tokenizer.piece_bytes
    assert len(pieces) == tokenizer.vocab_size == 400
    assert pieces[:3] == (" ⁇ ".encode(), b"", b"")
    assert pieces[3:259] == tuple(bytes([byte]) for byte in range(256))
    assert not any(SPACE_MARK.encode() in piece or not piece for piece in pieces[3:])
    assert tokenizer.decode([BOUNDARY, *tokenizer.encode("Tom ran."), 2]) == "Tom ran."
    assert tokenizer.decode([3 + 0xFF]) == "\ufffd"


def test_a_text_that_cannot_be_learnt_from_is_the_error_that_is_raised() -> None:
    with pytest.raises(DataError, match=r"U\+2581 .* at character 3;"):
        SentencePiece.train(["fine", "no▁"], 300)

    def broken() -> Iterator[str]:
        yield "fine"
        raise ValueError("the disk is gone")

    with pytest.raises(ValueError, match="the disk is gone"):
        SentencePiece.train(broken(), 300)


def test_a_vocabulary_is_learnt_from_so_much_text_and_no_more(
    some_stories: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """The text that passes the limit is the last one that is read; bytes count, not characters."""
    texts = ["é\n\n" + story for story in some_stories]
    read: list[str] = []

    def reading() -> Iterator[str]:
        for text in texts:
            read.append(text)
            yield text

    sizes = np.cumsum([len(text.replace("\n", "").encode()) for text in texts])
    monkeypatch.setattr("mlx_rev.text.sentencepiece.TRAINING_BYTES", int(sizes[99]))
    limited = SentencePiece.train(reading(), 400)
    assert len(read) == 101
    monkeypatch.undo()
    assert limited.fingerprint == SentencePiece.train(texts[:101], 400).fingerprint


def test_what_is_learnt_and_what_is_not(some_stories: list[str]) -> None:
    """Runs of spaces and words of long lines are; numbers are spelled digit by digit."""
    texts = [
        *some_stories[:100],
        *["In 2023, 2023, 2023 and 2023.", "a      b      c"] * 50,
        "zyzzyva " * 2000,
    ]
    pieces = SentencePiece.train(texts, 600).piece_bytes
    assert any(piece.strip() == b"zyzzyva" for piece in pieces)
    assert b"  " in pieces
    assert not any(len(re.findall(rb"\d", piece)) > 1 for piece in pieces)
