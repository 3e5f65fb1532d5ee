"""Byte-level BPE beside the library that learnt it, and what cannot be one."""

import json
from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from tokenizers import Regex, pre_tokenizers
from tokenizers import Tokenizer as Peer

from mlx_rev.errors import DataError, RevError
from mlx_rev.fields import Fields
from mlx_rev.text.byte_level import ByteLevel
from mlx_rev.text.byte_level_json import is_byte_level, vocabulary_of
from mlx_rev.text.byte_level_vocabulary import BYTES, PRE_TOKENIZERS, spelled
from tests.byte_level import MARKS, ours, peer

texts = st.text(
    st.one_of(st.characters(exclude_categories=["Cs"]), st.sampled_from(" \n\ta1'sé")), max_size=60
)


@pytest.fixture(scope="module")
def theirs(some_stories: list[str]) -> Peer:
    return peer(some_stories)


@given(texts)
def test_the_ids_are_the_librarys(theirs: Peer, text: str) -> None:
    if not any(mark in text for mark in MARKS):
        assert ours(theirs).encode(text) == theirs.encode(text).ids


@pytest.mark.parametrize(
    ("name", "split"),
    [
        ("gpt-2", pre_tokenizers.ByteLevel(add_prefix_space=False)),
        (
            "smollm",
            pre_tokenizers.Sequence(
                [
                    pre_tokenizers.Digits(individual_digits=True),
                    pre_tokenizers.ByteLevel(add_prefix_space=False),
                ]
            ),
        ),
        (
            "default",
            pre_tokenizers.Sequence(
                [
                    *(
                        pre_tokenizers.Split(Regex(step["pattern"]["Regex"]), "isolated")
                        for step in PRE_TOKENIZERS["default"]["pretokenizers"][:-1]
                    ),
                    pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False),
                ]
            ),
        ),
    ],
)
def test_how_a_text_is_split_has_llama_cpps_name(
    some_stories: list[str], name: str, split: Any
) -> None:
    made = peer(some_stories[:20], 300, split)
    known = ours(made).vocabulary
    assert known.pre_tokenizer_name == name
    assert known.pre_tokenizer == PRE_TOKENIZERS[name]
    assert replace(known, whole_words=True).pre_tokenizer_name is None
    text = "It's 1234  'til <<\"12345\">> \n\n\tTom."
    assert ours(made).encode(text) == made.encode(text).ids


def test_a_word_that_is_a_piece_is_taken_whole_where_merges_are_ignored(theirs: Peer) -> None:
    """As in Llama 3: its name for that is ignore_merges."""
    known = ours(theirs).vocabulary
    unmerged = replace(known, merges=(), whole_words=True)
    piece = next(piece for piece in known.pieces[259:] if len(piece) > 3)
    token = known.pieces.index(piece)
    assert ByteLevel(unmerged).encode(spelled(piece).decode()) == [token]
    apart = ByteLevel(replace(unmerged, whole_words=False)).encode(spelled(piece).decode())
    assert len(apart) == len(piece)


def test_a_text_without_a_spelling_is_refused_by_character(theirs: Peer) -> None:
    """SmolLM2 has no piece for six control characters, and what has none would be dropped."""
    known = ours(theirs).vocabulary
    pieces = list(known.pieces)
    pieces[pieces.index(BYTES[4])] = BYTES[4] * 2
    tokenizer = ByteLevel(replace(known, pieces=tuple(pieces)))
    assert tokenizer.decode(tokenizer.encode("ab\x05")) == "ab\x05"
    with pytest.raises(DataError, match=r"U\+0004 at character 3, which .* cannot spell"):
        tokenizer.encode("ab\x04")


def test_pieces_that_are_found_before_merging_are_text(theirs: Peer) -> None:
    known = ours(theirs).vocabulary
    pieces = (*known.pieces, "<tool é>")
    tokenizer = ByteLevel(replace(known, pieces=pieces, verbatim=frozenset({400})))
    ids = tokenizer.encode("a<tool é>b")
    assert 400 in ids
    assert tokenizer.decode(ids) == "a<tool é>b"
    added = [*json.loads(theirs.to_str())["added_tokens"], {"id": 400, "content": "<tool>"}]
    read = vocabulary_of(Fields(changed(theirs, "added_tokens", to=added), "t.json"), 1, 2)
    assert (read.verbatim, read.marks) == ({400}, {0, 1, 2})


def changed(theirs: Peer, *path: str, to: object) -> dict[str, Any]:
    content: dict[str, Any] = json.loads(theirs.to_str())
    place = content
    for name in path[:-1]:
        place = place[name]
    place[path[-1]] = to
    return content


STRIP = {"type": "Whitespace"}
SPACE = {"type": "ByteLevel", "add_prefix_space": True, "use_regex": True}
REMOVED = {
    "type": "Sequence",
    "pretokenizers": [
        {"type": "Split", "pattern": {"String": "x"}, "behavior": "Removed", "invert": False},
        {"type": "ByteLevel", "add_prefix_space": False},
    ],
}


@pytest.mark.parametrize(
    ("path", "to", "said"),
    [
        (("normalizer",), {"type": "NFC"}, "normalizer is .*NFC.*, expected null"),
        (("pre_tokenizer",), STRIP, "tokenizer of kind BPE; expected byte-level"),
        (("pre_tokenizer",), SPACE, "add_prefix_space is True, expected false"),
        (("pre_tokenizer",), {"type": "ByteLevel"}, "add_prefix_space is .*, expected false"),
        (("pre_tokenizer",), REMOVED, "type is 'Split', expected ByteLevel, Digits or Split"),
        (("model", "type"), "Unigram", "tokenizer of kind Unigram"),
        (("model", "end_of_word_suffix"), "</w>", "end_of_word_suffix is '</w>'"),
        (("model", "dropout"), 0.1, "dropout is 0.1"),
        (("model", "merges"), [["a"]], "merges is .*, expected pairs"),
        (("model", "merges"), [["a", "nope"]], "merges 'a' and 'nope'"),
        (("model", "vocab"), {"a": 7}, "ids are not 0 to"),
        (("added_tokens",), [], "beginning-of-text id is 1, expected a mark"),
    ],
)
def test_what_could_not_give_a_text_back_is_refused_by_field(
    theirs: Peer, path: tuple[str, ...], to: object, said: str
) -> None:
    content = Fields(changed(theirs, *path, to=to), "t.json")
    with pytest.raises(RevError, match=f"^t.json.*{said}"):
        ByteLevel(vocabulary_of(content, 1, 2), source="t.json")


def test_what_a_file_leaves_out_is_as_the_library_takes_it(theirs: Peer) -> None:
    byte_level = {"type": "ByteLevel", "add_prefix_space": False, "trim_offsets": True}
    steps = [{"type": "Digits", "individual_digits": False}, byte_level]
    content = changed(theirs, "pre_tokenizer", to={"type": "Sequence", "pretokenizers": steps})
    for name in ("ignore_merges", "dropout", "fuse_unk", "byte_fallback"):
        del content["model"][name]
    own, text = ByteLevel(vocabulary_of(Fields(content, "t.json"), 1, 2)), "Tom's 1234 cats "
    peers = Peer.from_str(json.dumps(content))
    assert own.encode(text) == peers.encode(text).ids


def test_without_a_boundary_it_is_said_where_one_could_stand(theirs: Peer) -> None:
    content = Fields(json.loads(theirs.to_str()), "t.json")
    for forward_boundary in (None, 2):
        with pytest.raises(RevError, match="which token begins a text"):
            vocabulary_of(content, None, forward_boundary)
    template = {
        "type": "Sequence",
        "processors": [
            {"type": "ByteLevel"},
            {
                "type": "TemplateProcessing",
                "single": [{"SpecialToken": {"id": MARKS[2]}}, {"Sequence": {"id": "A"}}],
                "special_tokens": {},
            },
        ],
    }
    content = Fields(changed(theirs, "post_processor", to=template), "t.json")
    known = vocabulary_of(content)
    assert (known.boundary, known.forward_boundary) == (2, 2)
    assert vocabulary_of(content, 0, 1).boundary == 0
    assert is_byte_level(content)


@pytest.mark.parametrize(
    ("piece", "said"),
    [
        ("日", "piece 300, '日', does not stand for bytes"),
        ("a\n", r"piece 300, 'a\\n', does not stand for bytes"),
        ("", "piece 300, '', does not stand for bytes"),
        ("a", "has a piece twice"),
        (MARKS[1], "has a piece twice"),
    ],
)
def test_a_vocabulary_that_makes_no_sense_is_refused(theirs: Peer, piece: str, said: str) -> None:
    known = ours(theirs).vocabulary
    pieces = (*known.pieces[:300], piece, *known.pieces[301:])
    with pytest.raises(DataError, match=f"^t.json: {said}"):
        ByteLevel(replace(known, pieces=pieces, merges=()), source="t.json")


def test_every_byte_has_its_character() -> None:
    assert len(set(BYTES)) == 256
    assert b"".join(map(spelled, BYTES)) == bytes(range(256))
    assert sorted(BYTES) == sorted(pre_tokenizers.ByteLevel.alphabet())
