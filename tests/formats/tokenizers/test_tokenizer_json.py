"""tokenizer.json against SentencePiece itself, read by the tokenizers library."""

import json
from pathlib import Path

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st
from tokenizers import Tokenizer as Peer

from mlx_rev.errors import FormatError
from mlx_rev.fields import Fields
from mlx_rev.formats.tokenizers.tokenizer_json import (
    is_sentencepiece,
    tokenizer_config,
    tokenizer_from_json,
    tokenizer_json,
)
from mlx_rev.text.order import FORWARD, WORD, Order
from mlx_rev.text.sentencepiece import SentencePiece
from mlx_rev.text.tokenizer import Tokenizer

texts = st.one_of(
    st.text(st.characters(exclude_characters="▁", exclude_categories=["Cs"]), max_size=40),
    st.text(alphabet=" \n\tTom.,\"'é😀1<s>", max_size=40),
)


@pytest.fixture(scope="module")
def peers(tokenizers: dict[Order, Tokenizer]) -> list[tuple[Tokenizer, Peer]]:
    """Vocabularies of ours beside the same ones as the tokenizers library has them."""
    ours = [tokenizers[WORD], tokenizers[FORWARD]]
    return [(own, Peer.from_str(json.dumps(tokenizer_json(own)))) for own in ours]


@given(texts)
@settings(max_examples=300)
@example(" two  spaces ")
@example("\n")
def test_the_ids_are_sentencepieces(peers: list[tuple[Tokenizer, Peer]], text: str) -> None:
    for own, peer in peers:
        if any(mark in text for mark in ("<s>", "</s>", "<unk>")):
            return  # that library reads marks in a text as marks; run.c and we do not
        expected = own.encode(text)
        encoded = peer.encode(text).ids
        if text:
            assert encoded == [1, *expected]
        assert peer.decode(expected) == text


def test_real_stories_with_llamas_vocabulary(shared: Path) -> None:
    own = SentencePiece.load(shared / "llama2c" / "tokenizer.model")
    peer = Peer.from_str(json.dumps(tokenizer_json(own)))
    text = (shared / "tinystories" / "valid.txt").read_text(encoding="utf-8")
    stories = [WORD.reverse(story.strip()) for story in text.split("<|endoftext|>")[:150]]
    for story, expected in zip(stories, own.encode_batch(stories), strict=True):
        assert peer.encode(story).ids == [1, *expected]
        assert peer.decode(expected) == story


@pytest.fixture(scope="module")
def read_back(peers: list[tuple[Tokenizer, Peer]]) -> list[tuple[Tokenizer, Tokenizer]]:
    """Vocabularies of ours beside what is read from the library's files."""
    return [
        (own, tokenizer_from_json(Fields(json.loads(peer.to_str()), "tokenizer.json")))
        for own, peer in peers
    ]


def test_the_pieces_come_back(read_back: list[tuple[Tokenizer, Tokenizer]]) -> None:
    for own, again in read_back:
        assert again.vocab_size == own.vocab_size
        assert again.piece_bytes == own.piece_bytes


@given(texts)
@settings(max_examples=200)
@example(" two  spaces ")
def test_the_sentencepiece_model_comes_back(
    read_back: list[tuple[Tokenizer, Tokenizer]], text: str
) -> None:
    for own, again in read_back:
        assert again.encode(text) == own.encode(text)


def test_llamas_comes_back_with_its_ids_on_real_stories(shared: Path) -> None:
    own = SentencePiece.load(shared / "llama2c" / "tokenizer.model")
    again = tokenizer_from_json(Fields(tokenizer_json(own), "tokenizer.json"))
    text = (shared / "tinystories" / "valid.txt").read_text(encoding="utf-8")[:400_000]
    assert again.encode(text) == own.encode(text)


def test_what_a_space_in_front_is_asked_for_with(tokenizers: dict[Order, Tokenizer]) -> None:
    content = tokenizer_json(tokenizers[WORD])
    assert tokenizer_from_json(Fields(content, "")).adds_space
    for scheme, expected in (("first", True), ("always", True), ("never", False)):
        content |= {"normalizer": None}
        content |= {"pre_tokenizer": {"type": "Metaspace", "prepend_scheme": scheme}}
        assert tokenizer_from_json(Fields(content, "")).adds_space is expected


def test_other_kinds_and_damage(tokenizers: dict[Order, Tokenizer]) -> None:
    content = tokenizer_json(tokenizers[WORD])
    assert is_sentencepiece(Fields(content, ""))
    for model in ({}, {"type": "WordPiece"}, {"type": "BPE", "byte_fallback": False}):
        assert not is_sentencepiece(Fields({"model": model}, ""))
    vocabulary = dict(content["model"]["vocab"])
    del vocabulary["a"]
    for damage in ({"vocab": vocabulary}, {"vocab": None}, {"merges": None}):
        damaged = Fields(content | {"model": content["model"] | damage}, "some.json")
        with pytest.raises(FormatError, match=r"^some\.json: "):
            tokenizer_from_json(damaged)


def test_an_added_token_that_is_no_mark_is_text(tokenizers: dict[Order, Tokenizer]) -> None:
    content = tokenizer_json(tokenizers[WORD])
    added = {"id": 400, "content": "<a b>", "special": False}
    content["added_tokens"].append(content["added_tokens"][0] | added)
    marked = json.loads(json.dumps(content))
    marked["added_tokens"][-1]["special"] = True
    ours, mark = (tokenizer_from_json(Fields(each, "")) for each in (content, marked))
    assert ours.encode("Tom <a b>")[-1] == 400
    assert ours.decode(ours.encode("Tom <a b> Tom")) == "Tom <a b> Tom"
    assert Peer.from_str(json.dumps(content)).decode([400]) == ours.decode([400]) == "<a b>"
    assert mark.decode([400]) == ""
    written = tokenizer_json(ours)
    there = Peer.from_str(json.dumps(written)).encode("Tom <a b>", add_special_tokens=False).ids
    assert there == ours.encode("Tom <a b>")
    assert tokenizer_from_json(Fields(written, "")).encode("<a b> Tom") == ours.encode("<a b> Tom")


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("normalizer", {"type": "Lowercase"}),
        ("normalizer", {"type": "Sequence", "normalizers": [{"type": "NFC"}]}),
        ("normalizer", {"type": "Prepend", "prepend": "_"}),
        ("normalizer", {"type": "Replace", "pattern": {"String": "a"}, "content": "▁"}),
        ("pre_tokenizer", {"type": "Whitespace"}),
        ("pre_tokenizer", {"type": "Metaspace", "replacement": "_"}),
        ("pre_tokenizer", {"type": "Sequence", "pretokenizers": [{"type": "Digits"}]}),
    ],
    ids=str,
)
def test_a_step_that_sentencepiece_does_not_take_is_refused_by_field(
    tokenizers: dict[Order, Tokenizer], field: str, value: object
) -> None:
    content = Fields(tokenizer_json(tokenizers[WORD]) | {field: value}, "some.json")
    with pytest.raises(FormatError, match=rf"^some\.json: {field} is .*, expected "):
        tokenizer_from_json(content)


def test_the_boundary_begins_and_ends(tokenizers: dict[Order, Tokenizer]) -> None:
    config = tokenizer_config(tokenizers[WORD], 1)
    assert config["bos_token"] == config["eos_token"] == "<s>"
