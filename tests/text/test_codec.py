import re
from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mlx_rev.errors import DataError
from mlx_rev.text.byte_level import ByteLevel
from mlx_rev.text.codec import StoryCodec
from mlx_rev.text.order import BOTH_WAYS, FORWARD, ORDERS, TOKEN, WORD, WORD2, Order
from mlx_rev.text.sentencepiece import SentencePiece
from mlx_rev.text.tokenizer import BOUNDARY

SENTENCE_START = re.compile(r'(?<=[.!?"] )(?=\S)|(?<=\n)(?=\S)')


@given(st.sampled_from(ORDERS), st.text(alphabet="ab .\n\"'é😀", max_size=40))
def test_decode_undoes_encode(codecs: dict[Order, StoryCodec], order: Order, story: str) -> None:
    codec = codecs[order]
    assert codec.decode(codec.encode(story)) == story


@pytest.mark.parametrize("order", ORDERS)
def test_white_space_round_an_ending_is_not_fed(
    codecs: dict[Order, StoryCodec], order: Order
) -> None:
    plain, spaced = codecs[order].prompt("The end."), codecs[order].prompt(" \nThe end.\n ")
    assert spaced.text == " \nThe end.\n "
    assert spaced.spellings == plain.spellings


@pytest.mark.parametrize("text", ["", "  \n"])
@pytest.mark.parametrize("order", ORDERS)
def test_an_empty_ending_is_the_boundary_alone(
    codecs: dict[Order, StoryCodec], order: Order, text: str
) -> None:
    assert codecs[order].prompt(text).spellings == ((BOUNDARY,),)


def spelled_as_in_the_story(codec: StoryCodec, stories: list[str]) -> tuple[int, int, int]:
    """Endings from every sentence start: how many there are, how many have a spelling that is
    the story's own, and how many would have it with the first spelling alone."""
    endings = healed = unhealed = 0
    for story in stories:
        whole = (BOUNDARY, *codec.encode(story))
        for start in SENTENCE_START.finditer(story):
            spellings = codec.prompt(story[start.start() :]).spellings
            own = [whole[: len(spelling)] == spelling for spelling in spellings]
            endings += 1
            healed += any(own)
            unhealed += own[0]
    return endings, healed, unhealed


def test_word_endings_are_spelled_as_they_stood(
    codecs: dict[Order, StoryCodec], some_stories: list[str]
) -> None:
    endings, healed, _ = spelled_as_in_the_story(codecs[WORD], some_stories[:100])
    assert endings > 300
    assert healed == endings


def test_token_endings_are_spelled_as_they_stood(
    codecs: dict[Order, StoryCodec], some_stories: list[str]
) -> None:
    """Those after a space by the first spelling, those after a newline by the second."""
    stories = [story.replace(". ", ".\n", 1) for story in some_stories[:60]]
    endings, healed, unhealed = spelled_as_in_the_story(codecs[TOKEN], stories)
    assert endings > 200
    assert healed >= 0.99 * endings
    assert 0.5 * endings < unhealed < 0.95 * endings


@pytest.mark.parametrize("vocabulary", ["own", "llama"])
def test_healed_token_endings_are_spelled_as_they_stood_in_real_stories(
    shared: Path, vocabulary: str
) -> None:
    text = (shared / "tinystories" / "valid.txt").read_text(encoding="utf-8")
    stories = [story.strip() for story in text.split("<|endoftext|>")[:75]]
    if vocabulary == "own":
        tokenizer = SentencePiece.train(stories, 512)
    else:
        tokenizer = SentencePiece.load(shared / "llama2c" / "tokenizer.model")
    endings, healed, unhealed = spelled_as_in_the_story(StoryCodec(tokenizer, TOKEN), stories)
    assert endings > 1000
    assert healed >= 0.999 * endings
    assert unhealed < 0.95 * endings


def first_words(codec: StoryCodec, ending: str) -> list[bytes]:
    prompt = codec.prompt(ending)
    joins = codec.joins_prompt(ending, prompt.spellings[0])
    return [
        piece for piece, joined in zip(codec.tokenizer.piece_bytes, joins, strict=True) if joined
    ]


def test_letters_may_not_follow_the_endings_first_word(codecs: dict[Order, StoryCodec]) -> None:
    blocked = first_words(codecs[WORD], "butterfly in the sky.")
    assert b"s" in blocked
    assert b"\xc3" in blocked
    assert b" s" not in blocked
    assert b"." not in blocked


def test_nothing_is_blocked_before_punctuation_or_after_an_opening(
    codecs: dict[Order, StoryCodec],
) -> None:
    assert first_words(codecs[WORD], '"Yes," he said.') == []
    assert first_words(codecs[FORWARD], "Once upon a ti") == []


@pytest.mark.parametrize(
    ("order", "prompt", "free"),
    [
        (FORWARD, "Once upon a time\n", (b" s", b" ")),
        (WORD, " butterfly", (b" s", b" ")),
        (WORD2, "\nbutterfly", (b" s", b" ")),
        (TOKEN, " butterfly", (b"s", b" s", b" ", b",")),
    ],
)
def test_white_space_that_was_typed_comes_first(
    codecs: dict[Order, StoryCodec], order: Order, prompt: str, free: tuple[bytes, ...]
) -> None:
    """In token order the ending's own token has it."""
    blocked = first_words(codecs[order], prompt)
    assert [piece not in blocked for piece in (b"s", b" s", b" ", b",")] == [
        piece in free for piece in (b"s", b" s", b" ", b",")
    ]
    assert TOKEN.spaceless(b"butter")(b"s")
    assert not TOKEN.spaceless(b"butter")(b"s\n")


def test_a_mark_may_not_come_first_next_to_anything(codecs: dict[Order, StoryCodec]) -> None:
    codec = codecs[WORD2]
    lead_of_a_mark = "\u0301".encode()[:1]
    for ending in ("butterfly.", '"Yes," he said.'):
        assert lead_of_a_mark in first_words(codec, ending)
    assert b"s" not in first_words(codec, '"Yes," he said.')
    for ending, letters_join in (("butterfly", True), ('"', False)):
        joins = codec.order.joining(ending, ending[-1:].encode())
        assert joins("\u0301s".encode())
        assert joins(b"s") == letters_join


@pytest.mark.parametrize("order", ORDERS)
@pytest.mark.parametrize(("unfit", "said"), [("▁", r"U\+2581"), ("\ud800", "lone surrogate")])
def test_a_position_is_counted_in_what_was_typed(
    codecs: dict[Order, StoryCodec], order: Order, unfit: str, said: str
) -> None:
    typed = f"  One day{unfit} Tom went home. "
    if unfit == "▁" and isinstance(codecs[order].tokenizer, ByteLevel):
        assert codecs[order].decode(codecs[order].encode(typed)) == typed
        return
    for encode in (codecs[order].encode, codecs[order].prompt):
        with pytest.raises(DataError, match=f"{said}.* at character 10[; ]"):
            encode(typed)


@pytest.mark.parametrize("order", [WORD, WORD2])
def test_an_ending_of_one_token_is_an_ending_too(
    codecs: dict[Order, StoryCodec], order: Order
) -> None:
    codec = codecs[order]
    [spelling] = codec.prompt("a").spellings
    assert len(spelling) == 2
    assert b"s" in first_words(codec, "a")
    growth = codec.growth("a", spelling)
    growth.push(b" in")
    assert growth.text == "in "


@pytest.mark.parametrize("order", ORDERS)
def test_anything_may_follow_an_empty_ending(codecs: dict[Order, StoryCodec], order: Order) -> None:
    codec = codecs[order]
    for ending in ("", " \n"):
        joins = codec.joins_prompt(ending, codec.prompt(ending).spellings[0])
        assert joins == [False] * codec.tokenizer.vocab_size


def test_letters_may_not_come_before_the_first_word_of_an_ending_without_a_space() -> None:
    """What a model that reads tokens in reverse writes first stands in front of the ending."""
    joins = TOKEN.joining("Tom ran.", b"Tom")
    assert [joins(piece) for piece in (b"he", b"1", b"he ", b".", b"")] == [True] * 2 + [False] * 3
    assert joins(b"\xa9")  # half a character, which may become a letter
    assert joins(b"\xa9he")
    assert not joins(b"\xa9 ")
    for ending, last_piece in (("Tom ran.", b" Tom"), ('"Yes."', b'"')):
        joins = TOKEN.joining(ending, last_piece)
        assert [joins(piece) for piece in (b"he", b"1", b"he ", b".")] == [False] * 4


def test_a_story_ends_with_its_boundary_or_a_forward_one_by_others_with_theirs(
    codecs: dict[Order, StoryCodec],
) -> None:
    byte_level = isinstance(codecs[FORWARD].tokenizer, ByteLevel)
    assert codecs[FORWARD].ends == ({1, 2} if byte_level else {1})
    for order in (WORD, TOKEN):
        assert codecs[order].ends == {1}
    theirs = replace(codecs[FORWARD], by_others=True)
    assert theirs.ends == {1, 2}
    assert theirs.enclosed([""]) == [[1, 2 if byte_level else 1]]
    assert codecs[FORWARD].enclosed([""]) == [[1, 1]]
    [both] = [order for order in BOTH_WAYS if order.one_way == TOKEN.one_way]
    opposite = StoryCodec(codecs[TOKEN].tokenizer, both).opposite
    assert opposite is not None
    assert (opposite.boundary, opposite.ends) == (2, {2})
