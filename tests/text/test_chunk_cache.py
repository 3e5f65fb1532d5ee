"""Looking chunks up gives the tokenizer's own ids, for every text and every tokenizer."""

import io
import pickle
import random
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import sentencepiece
from hypothesis import example, given, settings
from hypothesis import strategies as st

from mlx_rev.errors import DataError
from mlx_rev.formats.tokenizers.sentencepiece_model import Kind, Piece, pieces_of, tokenizer_of
from mlx_rev.text.byte_level import ByteLevel
from mlx_rev.text.byte_level_vocabulary import PRE_TOKENIZERS, WHOLE_WORDS
from mlx_rev.text.chunk_cache import ChunkCache, id_type
from mlx_rev.text.codec import StoryCodec
from mlx_rev.text.order import FORWARD, ORDERS, WORD, WORD2, Order
from mlx_rev.text.sentencepiece import SentencePiece, model_proto
from mlx_rev.text.tokenizer import Tokenizer
from tests.byte_level import byte_level

FRAGMENTS = (
    *("a", "b", "ab", "Tom", "s", "_", "5", "12", "'s", "'", "don't"),
    *(".", ",", "?", "!", '"', "...", '."', ":", ";", "-", "--", "(", ")", "“", "”", "<s>"),
    *(" ", " ", " ", " ", "  ", "   ", "\n", "\n\n", "\n\n\n", "\r\n", "\t", "\x1c", "\u00a0"),
    *("\u3000", "\u2028", "\x85", "\x00", "\u0301", "\u0301\u0302", "\u0903", "\u20dd", "é"),
    *("日本", "😀", "\u200d", "\ufeff", "ﷺ", "ﱞ"),
)
texts = st.lists(st.sampled_from(FRAGMENTS), max_size=14).map("".join)
stories = st.lists(texts, min_size=1, max_size=6)
some = random.Random(0)
HOSTILE = ["".join(some.choices(FRAGMENTS, k=12)) for _ in range(600)]
"""A corpus from which pieces are learnt that lie across everything that they may."""


def slowly(codec: StoryCodec, stories: Sequence[str]) -> list[list[int]]:
    return [[*ids, codec.boundary] for ids in codec.encode_batch(stories)]


def by_chunks(
    codec: StoryCodec, stories: Sequence[str], cache: ChunkCache | None = None
) -> list[list[int]]:
    encoded = (cache or ChunkCache(codec)).encode(stories)
    tokens = np.frombuffer(encoded.tokens, id_type(codec.tokenizer.vocab_size))
    *ends, total = np.cumsum(encoded.lengths).tolist()
    assert len(encoded.lengths) == len(stories)
    assert len(tokens) == total
    return [part.tolist() for part in np.split(tokens, ends)]


def changed(tokenizer: SentencePiece, **fields: object) -> SentencePiece:
    """The tokenizer with other fields of its normalizer."""
    model = model_proto().ModelProto.FromString(tokenizer.content)
    for name, value in fields.items():
        setattr(model.normalizer_spec, name, value)
    return SentencePiece(model.SerializeToString())


def with_pieces(tokenizer: SentencePiece, *texts: str, kind: Kind = Kind.NORMAL) -> SentencePiece:
    """The tokenizer with pieces that are merged before all others."""
    pieces = {piece.text: piece for piece in pieces_of(tokenizer)}
    for number, text in enumerate(texts):
        pieces[text] = Piece(text, 1.0 + number, kind)
    return tokenizer_of([*pieces.values()], adds_space=True, source="made")


def of_kind(**options: object) -> SentencePiece:
    """A SentencePiece model of another kind than ours."""
    content = io.BytesIO()
    sentencepiece.SentencePieceTrainer.train(
        sentence_iterator=iter(["a b, ab a.", "b a b ab?"] * 9),
        model_writer=content,
        minloglevel=2,
        hard_vocab_limit=False,
        **{"model_type": "bpe", "vocab_size": 14, **options},
    )
    return SentencePiece(content.getvalue())


@pytest.fixture(scope="module")
def learnt(some_stories: list[str]) -> SentencePiece:
    return SentencePiece.train([*map(WORD.reverse, some_stories[:100]), *HOSTILE], 500)


@pytest.fixture(scope="module")
def kinds(learnt: SentencePiece) -> dict[str, Tokenizer]:
    """Tokenizers that have cuts."""
    made: dict[str, Tokenizer] = {
        "ours": learnt,
        "no space in front": changed(learnt, add_dummy_prefix=False),
        "llama2.c's": changed(learnt, remove_extra_whitespaces=True),
        "runs of spaces": with_pieces(learnt, "▁▁", "▁▁▁▁", "▁▁a"),
        "newlines in pieces": with_pieces(learnt, ".\n", "\n\n", ".\n\n", "\na"),
        "without bytes": of_kind(normalization_rule_name="identity"),
        "a newline that is a piece": with_pieces(of_kind(), "\n"),
        "found first": with_pieces(learnt, "<s", "ab", kind=Kind.USER_DEFINED),
    }
    known = byte_level(HOSTILE, 600).vocabulary
    for name, steps in PRE_TOKENIZERS.items():
        made[name] = ByteLevel(replace(known, pre_tokenizer=steps, whole_words=name in WHOLE_WORDS))
    return made


KINDS = (
    *("ours", "no space in front", "llama2.c's", "runs of spaces", "newlines in pieces"),
    *("found first", "without bytes", "a newline that is a piece"),
)
BYTE_LEVEL = tuple(PRE_TOKENIZERS)
CUTS = {"newlines in pieces": " ", "llama-bpe": " ", "without bytes": " "}


@pytest.mark.parametrize("kind", [*KINDS, *BYTE_LEVEL])
@pytest.mark.parametrize("order", ORDERS)
@settings(max_examples=6)
@given(stories)
@example(["a b", "a -b", "-b", "b a", "x\n-b a", "a -b"])
@example(["a\nb", "a \nb", "a\n b", "a\n\nb", "a\n\n\nb", "a\n \nb", "\nb", "a\n", "a b"])
@example(
    [
        "Tom.\n\nTom ab.\nTom",
        "ab. Tom\n\n",
        " ab. Tom",
        "ab.  Tom",
        "\u0301a b",
        "a\u0301 b",
        "-\u0301 b a",
        "b a\n-",
        "-\na b",
    ]
)
def test_ids_are_the_tokenizers_own(
    kinds: dict[str, Tokenizer], order: Order, kind: str, stories: list[str]
) -> None:
    codec = StoryCodec(kinds[kind], order)
    assert codec.tokenizer.cuts == CUTS.get(kind, " \n")
    expected = slowly(codec, stories)
    for most in (3, 1000):
        cache = ChunkCache(codec, most=most)
        assert by_chunks(codec, stories, cache) == expected
        assert by_chunks(codec, stories[::-1], cache) == expected[::-1]


@pytest.mark.parametrize(
    ("made", "cuts", "text"),
    [
        (lambda known: with_pieces(known, "a▁b", "▁b"), "", "5a b"),
        (lambda known: with_pieces(known, "a▁"), "", "ab a b"),
        (lambda known: with_pieces(known, ".\n"), " ", "a.\nb"),
        (lambda known: with_pieces(known, "a▁b", kind=Kind.USER_DEFINED), "", "a b a"),
        (lambda known: of_kind(treat_whitespace_as_suffix=True), "", None),
        (lambda known: changed(known, escape_whitespaces=False), "", None),
        (
            lambda known: changed(known, add_dummy_prefix=False, remove_extra_whitespaces=True),
            "",
            "a a",
        ),
        (lambda known: of_kind(model_type="unigram"), "", None),
        (lambda known: of_kind(normalization_rule_name="nmt_nfkc"), "", None),
    ],
)
def test_where_it_might_not_hold_a_text_is_not_cut(
    learnt: SentencePiece,
    made: Callable[[SentencePiece], SentencePiece],
    cuts: str,
    text: str | None,
) -> None:
    tokenizer = made(learnt)
    assert tokenizer.cuts == cuts
    if text is None:
        return
    codec = StoryCodec(tokenizer, FORWARD)
    assert by_chunks(codec, [text]) == slowly(codec, [text])
    vars(tokenizer)["cuts"] = " \n"
    assert by_chunks(codec, [text]) != slowly(codec, [text])


def test_a_byte_level_vocabulary_may_have_longer_pieces_and_other_splits() -> None:
    known = byte_level(HOSTILE, 400).vocabulary
    unknown = {"type": "Split", "pattern": {"Regex": "a b"}, "behavior": "Isolated"}
    both = {"type": "Sequence", "pretokenizers": [unknown, *known.pre_tokenizer["pretokenizers"]]}
    assert ByteLevel(known).cuts == " \n"
    assert ByteLevel(replace(known, pre_tokenizer=both)).cuts == ""
    for piece, cuts in (("a b", ""), ("<tool>", " \n")):
        pieces = (*known.pieces, piece)
        more = replace(known, pieces=pieces, verbatim=frozenset({len(known.pieces)}))
        codec, text = StoryCodec(ByteLevel(more), FORWARD), f"a b <tool>a {piece} b"
        assert codec.tokenizer.cuts == cuts
        assert by_chunks(codec, [text]) == slowly(codec, [text])


@pytest.mark.parametrize("order", ORDERS)
@pytest.mark.parametrize("vocabulary", ["Llama's", "byte-level BPE", "ours"])
def test_real_stories(shared: Path, some_stories: list[str], order: Order, vocabulary: str) -> None:
    text = (shared / "tinystories" / "valid.txt").read_text(encoding="utf-8")
    stories = [story.strip() for story in text.split("<|endoftext|>")]
    if vocabulary == "Llama's":
        tokenizer: Tokenizer = SentencePiece.load(shared / "llama2c" / "tokenizer.model")
    elif vocabulary == "ours":
        tokenizer = SentencePiece.train(map(order.reverse, stories[:100]), 512)
    else:
        tokenizer = byte_level(map(order.reverse, stories[:100]))
    codec = StoryCodec(tokenizer, order)
    assert len(stories) > 1200
    stories = stories[: 400 if vocabulary == "Llama's" else 150]
    assert by_chunks(codec, stories) == slowly(codec, stories)


def test_wide_ids() -> None:
    padding = [f"x{number}" for number in range(1 << 16)]
    tokenizer = with_pieces(of_kind(byte_fallback=True, vocab_size=280), *padding, "▁aba")
    codec = StoryCodec(tokenizer, FORWARD)
    assert by_chunks(codec, ["aba a"]) == slowly(codec, ["aba a"])
    assert max(codec.encode("aba a")) >= 1 << 16


@pytest.mark.parametrize("order", ORDERS)
@pytest.mark.parametrize(("unfit", "said"), [("▁", r"U\+2581"), ("\ud800", "lone surrogate")])
def test_the_place_of_what_cannot_be_encoded_is_that_in_its_story(
    learnt: SentencePiece, order: Order, unfit: str, said: str
) -> None:
    codec = StoryCodec(learnt, order)
    cache = ChunkCache(codec)
    odd = "He said: - so it is."
    with pytest.raises(DataError, match=f"{said}.* at character 8[; ]"):
        cache.encode([odd, f"One day{unfit} Tom ran.", odd])
    # What was met before the error is not taken for something else.
    for stories in (["Tom ran: - off."], [odd], ["Tom ran."]):
        assert by_chunks(codec, stories, cache) == slowly(codec, stories)


def test_known_chunks_are_not_encoded_again_and_not_kept_for_ever(
    learnt: SentencePiece, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: list[str] = []
    encode = SentencePiece.encode

    def counted(self: SentencePiece, text: str) -> list[int]:
        asked.extend(text.split())
        return encode(self, text)

    codec = StoryCodec(learnt, WORD2)
    cache = ChunkCache(codec, most=12)
    monkeypatch.setattr(SentencePiece, "encode", counted)
    cache.encode(["Tom and Sam ran.", "Sam and Sam and Tom ran."])
    assert sorted(asked) == [".ran", "Sam", "Tom", "and"]
    cache.encode([" ".join("abcdefgh"), "Sam and Tom said: a b."])
    assert {".b", "a:", "said", *"abcdefgh"} == set(asked[4:])
    cache.encode(["Sam ran."])  # more than twelve by now
    assert sorted(asked[-2:]) == [".ran", "Sam"]
    before = len(asked)
    ChunkCache(codec, pickle.loads(pickle.dumps(cache.known))).encode(["Sam ran."])
    assert len(asked) == before


def test_many_ids_of_few_chunks_are_not_kept_for_ever(learnt: SentencePiece) -> None:
    codec = StoryCodec(learnt, WORD2)
    cache = ChunkCache(codec, most=12)
    long = "qx" * 200
    assert by_chunks(codec, [long], cache) == slowly(codec, [long])
    assert len(cache.known.starts) <= 12
    assert len(cache.known.ids) > 16 * 12
    assert by_chunks(codec, ["Tom ran."], cache) == slowly(codec, ["Tom ran."])
    assert len(cache.known.ids) < 30
