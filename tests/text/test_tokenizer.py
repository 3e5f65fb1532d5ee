import re
from pathlib import Path

import pytest
import sentencepiece
from hypothesis import example, given
from hypothesis import strategies as st

from mlx_rev.errors import DataError
from mlx_rev.text.order import FORWARD, WORD, Order
from mlx_rev.text.tokenizer import BOUNDARY, Tokenizer

encodable = st.text(st.characters(exclude_characters="▁", exclude_categories=["Cs"]), max_size=80)
spacy = st.text(alphabet=" \n\tab.é😀<>s/", max_size=30)


@given(st.one_of(encodable, spacy))
@example("a  b ")
@example(" leading")
@example("\n\n")
@example("<s>not a mark</s>")
@example("\x00")
def test_decode_undoes_encode(tokenizers: dict[Order, Tokenizer], text: str) -> None:
    tokenizer = tokenizers[WORD]
    assert tokenizer.decode(tokenizer.encode(text)) == text


@given(st.one_of(encodable, spacy))
def test_llamas_vocabulary_is_lossless_too(shared: Path, text: str) -> None:
    tokenizer = Tokenizer.load(shared / "llama2c" / "tokenizer.model")
    assert tokenizer.decode(tokenizer.encode(text)) == text


def test_decode_agrees_with_sentencepiece(
    tokenizers: dict[Order, Tokenizer], some_stories: list[str]
) -> None:
    tokenizer = tokenizers[FORWARD]
    processor = sentencepiece.SentencePieceProcessor(model_proto=tokenizer.model)
    for story, ids in zip(some_stories, tokenizer.encode_batch(some_stories), strict=True):
        assert ids == processor.encode(story)
        assert tokenizer.decode(ids) == processor.decode(ids) == story


@given(spacy, spacy)
def test_encode_inside_is_what_follows_a_newline(
    tokenizers: dict[Order, Tokenizer], before: str, text: str
) -> None:
    tokenizer = tokenizers[FORWARD]
    whole = tokenizer.encode(before + "\n" + text)
    inside = tokenizer.encode_inside(text)
    assert whole[len(whole) - len(inside) :] == inside


@pytest.mark.parametrize("text", ["a▁b", "\ud800"])
def test_what_could_not_come_back_is_refused(tokenizers: dict[Order, Tokenizer], text: str) -> None:
    with pytest.raises(DataError, match=r"U\+2581|surrogate"):
        tokenizers[WORD].encode(text)


def test_training_is_repeatable_and_the_fingerprint_tells_models_apart(
    some_stories: list[str], tokenizers: dict[Order, Tokenizer]
) -> None:
    again = Tokenizer.train(map(WORD.reverse, some_stories), 400)
    assert again.fingerprint == tokenizers[WORD].fingerprint
    assert again.fingerprint != tokenizers[FORWARD].fingerprint


def test_marks_are_llamas(tokenizers: dict[Order, Tokenizer]) -> None:
    processor = sentencepiece.SentencePieceProcessor(model_proto=tokenizers[WORD].model)
    assert (processor.unk_id(), processor.bos_id(), processor.eos_id()) == (0, BOUNDARY, 2)
    assert processor.id_to_piece(3 + 0x41) == "<0x41>"


def test_save_and_load(tokenizers: dict[Order, Tokenizer], tmp_path: Path) -> None:
    tokenizer = tokenizers[WORD]
    tokenizer.save(tmp_path / "t.model")
    assert Tokenizer.load(tmp_path / "t.model").fingerprint == tokenizer.fingerprint


def test_what_is_no_model_is_refused(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="cannot be read"):
        Tokenizer.load(tmp_path / "missing.model")
    (tmp_path / "bad.model").write_bytes(b"not a model at all")
    with pytest.raises(DataError, match="not a SentencePiece model"):
        Tokenizer.load(tmp_path / "bad.model")


def test_too_little_text_for_the_vocabulary() -> None:
    with pytest.raises(DataError, match="too small for a vocabulary of 4000"):
        Tokenizer.train(["one two three"], 4000)


def test_vocabularies_that_cannot_be_learnt_are_said_with_those_that_can() -> None:
    """Each bound said works, and one beyond it does not."""
    texts = ["".join(chr(0x4E00 + 7 * row + column) for column in range(30)) for row in range(30)]
    for asked in (300, 100_000):
        with pytest.raises(DataError, match=r"\d+ to \d+ work") as caught:
            Tokenizer.train(texts, asked)
        least, most = map(int, re.findall(r"(\d+) to (\d+) work", str(caught.value))[0])
        assert Tokenizer.train(texts, least).vocab_size == least
        assert Tokenizer.train(texts, most).vocab_size == most
        for beyond in (least - 1, most + 1):
            with pytest.raises(DataError):
                Tokenizer.train(texts, beyond)
    with pytest.raises(DataError, match="there is no text"):
        Tokenizer.train([], 300)
