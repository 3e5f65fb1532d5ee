import pytest

from mlx_rev.config import ModelConfig, SampleConfig
from mlx_rev.generate.surprise import word_surprises
from mlx_rev.generate.teller import Teller
from mlx_rev.model.llama import Llama, initialise
from mlx_rev.model.load import Loaded
from mlx_rev.text.codec import StoryCodec
from mlx_rev.text.order import FORWARD, ORDERS, WORD, Order


@pytest.mark.parametrize("order", ORDERS)
def test_words_join_to_the_text_and_keep_every_bit(
    order: Order, codecs: dict[Order, StoryCodec]
) -> None:
    codec = codecs[order]
    text = 'Tom was happy. "Look!" he said, and ran home.'
    tokens = codec.encode(text)
    words = word_surprises(codec, text, tokens, [1.0] * len(tokens))
    assert "".join(word for word, _ in words) == text
    assert sum(bits for _, bits in words) == pytest.approx(len(tokens))
    assert all(bits > 0 for word, bits in words if word.strip())


def test_a_words_bits_are_those_of_its_own_tokens(codecs: dict[Order, StoryCodec]) -> None:
    codec = codecs[WORD]
    text = "Tom was happy."
    tokens = codec.encode(text)
    spelled = [codec.tokenizer.piece_bytes[token].decode() for token in tokens]
    marked = [7.0 if piece == "om" else 0.0 for piece in spelled]
    assert sum(marked) == 7.0
    assert dict(word_surprises(codec, text, tokens, marked))["Tom"] == 7.0


@pytest.mark.parametrize("order", ORDERS)
@pytest.mark.parametrize("prompt", ["Sam went home.", " \nSam went home. "])
def test_a_story_that_was_told(
    order: Order, prompt: str, tiny: ModelConfig, codecs: dict[Order, StoryCodec]
) -> None:
    model = Llama(tiny)
    initialise(model, seed=1)
    teller = Teller(Loaded(model, codecs[order]))
    *_, story = teller.stream([prompt], SampleConfig(seed=2, max_tokens=20))
    words = word_surprises(teller.codec, story.generated, story.tokens, story.surprises)
    assert "".join(word for word, _ in words) == story.generated


def test_what_is_no_more_than_a_gap_has_the_bits_of_a_gap(
    codecs: dict[Order, StoryCodec],
) -> None:
    for order in ORDERS:
        codec, text = codecs[order], "Tom ran.\n\nSam sat."
        tokens = codec.encode(text)
        pieces = [codec.tokenizer.piece_bytes[token] for token in tokens]
        marked = [0.0 if piece.strip() else 1.0 for piece in pieces]
        assert sum(marked) >= 2
        words = word_surprises(codec, text, tokens, marked)
        assert all(bits == 0 for word, bits in words if word.strip())


def test_bits_of_white_space_that_was_typed_instead_shift_no_word(
    codecs: dict[Order, StoryCodec],
) -> None:
    codec = codecs[FORWARD]
    tokens = codec.tokenizer.encode_inside("\n" * 5) + codec.tokenizer.encode_after_space(
        "was happy"
    )
    bits = [float(len(codec.tokenizer.piece_bytes[token].strip())) for token in tokens]
    assert word_surprises(codec, "was happy", tokens, bits) == [
        ("was", 3),
        (" ", 0),
        ("happy", 5),
    ]


def test_what_begins_with_a_space_keeps_it(codecs: dict[Order, StoryCodec]) -> None:
    """As what is written after an opening does."""
    codec = codecs[FORWARD]
    tokens = codec.tokenizer.encode_after_space("was happy")
    bits = [float(len(codec.tokenizer.piece_bytes[token].strip())) for token in tokens]
    words = word_surprises(codec, " was happy", tokens, bits)
    assert words == [(" ", 0), ("was", 3), (" ", 0), ("happy", 5)]
