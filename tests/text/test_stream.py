import pytest
from hypothesis import given
from hypothesis import strategies as st

from mlx_rev.text.codec import StoryCodec
from mlx_rev.text.order import ORDERS, TOKEN, WORD, WORD2, Order
from mlx_rev.text.stream import Growth
from mlx_rev.text.tokenizer import BOUNDARY
from mlx_rev.text.words import WordPattern

text = st.text(alphabet="ab .,\n\"'é😀\u0301", max_size=40)


def begun(codec: StoryCodec, ending: str) -> Growth:
    return codec.growth(ending, codec.prompt(ending).spellings[0])


def grown(codec: StoryCodec, ids: list[int], *, finish: bool) -> str:
    growth = codec.growth("", (BOUNDARY,))
    for token in ids:
        growth.push(codec.tokenizer.piece_bytes[token])
    if finish:
        growth.finish()
    return growth.text


@given(st.sampled_from(ORDERS), text)
def test_a_story_from_nothing_comes_back_whole(
    codecs: dict[Order, StoryCodec], order: Order, story: str
) -> None:
    codec = codecs[order]
    assert grown(codec, codec.encode(story), finish=True) == story


@given(st.sampled_from(ORDERS), st.lists(st.integers(0, 399), max_size=30), st.data())
def test_at_every_token_the_text_is_that_of_the_tokens(
    codecs: dict[Order, StoryCodec], order: Order, ids: list[int], data: st.DataObject
) -> None:
    codec = codecs[order]
    if data.draw(st.booleans()):
        ids = codec.encode(data.draw(text))
    looked_at = codec.growth("", (BOUNDARY,))
    for count, token in enumerate(ids, 1):
        looked_at.push(codec.tokenizer.piece_bytes[token])
        decoded = codec.decode(ids[:count])
        assert grown(codec, ids[:count], finish=True) == decoded
        # Asking for the text in between changes nothing.
        assert looked_at.text == grown(codec, ids[:count], finish=False)
        spelled = b"".join(map(codec.tokenizer.piece_bytes.__getitem__, ids[:count]))
        if order is not TOKEN and whole_characters(spelled):
            assert looked_at.text == decoded
        if order is TOKEN and not spelled_half(codec, ids[:count]):
            # The space that the tokenizer puts in front is taken away when all is there.
            assert codec.tokenizer.without_added_space(looked_at.text.encode()).decode() == decoded


def whole_characters(spelled: bytes) -> bool:
    try:
        spelled.decode()
    except UnicodeDecodeError:
        return False
    return True


def spelled_half(codec: StoryCodec, ids: list[int]) -> bool:
    """Whether the text of token-reversed ids begins within a character."""
    spelled = b"".join(map(codec.tokenizer.piece_bytes.__getitem__, ids[::-1]))
    return bool(spelled) and 0x80 <= spelled[0] < 0xC0


@given(st.sampled_from([WORD2, WORD, TOKEN]), text, text)
def test_a_growing_story_is_whole_characters(
    codecs: dict[Order, StoryCodec], order: Order, before: str, ending: str
) -> None:
    codec = codecs[order]
    growth = begun(codec, ending)
    for token in codec.encode(before):
        growth.push(codec.tokenizer.piece_bytes[token])
        assert "\ufffd" not in growth.text


@pytest.mark.parametrize("order", [WORD2, WORD])
def test_growth_of_a_word_reversed_story(codecs: dict[Order, StoryCodec], order: Order) -> None:
    codec = codecs[order]
    growth = begun(codec, "was happy.")
    for token in codec.tokenizer.encode_inside(" Tom .day One"):
        growth.push(codec.tokenizer.piece_bytes[token])
    assert growth.text == "One day. Tom "


def test_a_mark_joins_the_word_before_it_in_the_order_of_writing(
    codecs: dict[Order, StoryCodec],
) -> None:
    frames = {}
    for order in (WORD2, WORD):
        growth = begun(codecs[order], "x.")
        frames[order] = []
        for piece in (" cafe", "\u0301", "s", " the"):
            growth.push(piece.encode())
            frames[order].append(growth.text)
    assert frames[WORD2] == ["cafe ", "cafe\u0301 ", "cafe\u0301s ", "the cafe\u0301s "]
    assert frames[WORD] == ["cafe ", "\u0301cafe ", "s\u0301cafe ", "the s\u0301cafe "]


def test_a_half_character_is_held_back(codecs: dict[Order, StoryCodec]) -> None:
    growth = begun(codecs[WORD], "end")
    frames = []
    for byte in " 😀".encode():
        growth.push(bytes([byte]))
        frames.append(growth.text)
    assert frames == [" ", " ", " ", " ", " 😀"]
    growth.push(b"\xf0")
    growth.finish()
    assert growth.text.count("\ufffd") == 1


@pytest.mark.parametrize(
    ("story", "ending", "follows"),
    [
        ("Tom ran. He was happy.", "He was happy.", "a space"),
        ("Tom ran. He was happy.", " He was happy.", "a space"),
        ("Tom ran.\nHe was happy.", "He was happy.", "a newline"),
    ],
)
def test_the_space_of_a_token_reversed_ending_is_shown_in_front_of_it_once(
    codecs: dict[Order, StoryCodec], story: str, ending: str, follows: str
) -> None:
    codec = codecs[TOKEN]
    spelling = codec.prompt(ending).spellings[follows == "a newline"]
    growth = codec.growth(ending, spelling)
    for token in codec.encode(story)[len(spelling) - 1 :]:
        growth.push(codec.tokenizer.piece_bytes[token])
    growth.finish()
    assert growth.text + ending == story


@pytest.mark.parametrize("order", ORDERS)
@pytest.mark.parametrize("typed", [" ", "  ", "\n"])
def test_white_space_that_was_typed_at_the_seam_is_all_there_is(
    codecs: dict[Order, StoryCodec], order: Order, typed: str
) -> None:
    codec, parts = codecs[order], ("Tom ran.", "He was happy.")
    given, written = parts[::-1] if order.grows_leftwards else parts
    prompt = typed + given if order.grows_leftwards else given + typed
    spelling = codec.prompt(prompt).spellings[0]
    growth = codec.growth(prompt, spelling)
    for token in codec.encode(" ".join(parts))[len(spelling) - 1 :]:
        growth.push(codec.tokenizer.piece_bytes[token])
    growth.finish()
    assert growth.text == written


def characters_split(monkeypatch: pytest.MonkeyPatch, order: Order, tokens: int) -> int:
    """How many characters are split into words while a story of so many tokens grows, its text
    asked for at every token."""
    split: list[int] = []
    parts = WordPattern.parts

    def counting(pattern: WordPattern, text: str) -> list[str]:
        split.append(len(text))
        return parts(pattern, text)

    class Tokens:
        adds_space = True

    with monkeypatch.context() as patched:
        patched.setattr(WordPattern, "parts", counting)
        growth = order.growth(Tokens(), b".")  # type: ignore[arg-type]
        for number in range(tokens):
            growth.push((b" abcd", b"efgh", b"., ")[number % 3])
            assert growth.text
    return sum(split)


@pytest.mark.parametrize("order", [WORD2, WORD])
def test_a_token_costs_that_token(monkeypatch: pytest.MonkeyPatch, order: Order) -> None:
    once, twice = (characters_split(monkeypatch, order, tokens) for tokens in (300, 600))
    assert once == 4 * 300
    assert twice == 2 * once
