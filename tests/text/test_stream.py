from hypothesis import given
from hypothesis import strategies as st

from mlx_rev.text.codec import StoryCodec
from mlx_rev.text.order import Order
from mlx_rev.text.stream import StoryStream

text = st.text(alphabet="ab .,\n\"'é😀", max_size=40)


@given(st.sampled_from(Order), text)
def test_a_story_from_nothing_comes_back_whole(
    codecs: dict[Order, StoryCodec], reversal: Order, story: str
) -> None:
    codec = codecs[reversal]
    prompt = codec.prompt("")
    stream = StoryStream(codec, prompt, prompt.spellings[0])
    for token in codec.encode(story):
        stream.push(token)
    stream.finish()
    assert stream.generated == stream.story == story


@given(st.sampled_from([Order.WORD, Order.TOKEN]), text, text)
def test_every_frame_ends_as_typed_and_is_whole_characters(
    codecs: dict[Order, StoryCodec], reversal: Order, before: str, ending: str
) -> None:
    codec = codecs[reversal]
    prompt = codec.prompt(ending)
    stream = StoryStream(codec, prompt, prompt.spellings[0])
    for token in codec.encode(before):
        stream.push(token)
        assert stream.story == stream.generated + ending
        assert "\ufffd" not in stream.generated


def test_growth_of_a_word_reversed_story(codecs: dict[Order, StoryCodec]) -> None:
    codec = codecs[Order.WORD]
    prompt = codec.prompt("was happy.")
    stream = StoryStream(codec, prompt, prompt.spellings[0])
    frames = []
    for token in codec.tokenizer.encode_inside(" Tom .day One"):
        stream.push(token)
        frames.append(stream.story)
    assert frames[-1] == "One day. Tom was happy."
    assert all(frame.endswith("was happy.") for frame in frames)


def test_a_half_character_is_held_back(codecs: dict[Order, StoryCodec]) -> None:
    codec = codecs[Order.WORD]
    prompt = codec.prompt("end")
    stream = StoryStream(codec, prompt, prompt.spellings[0])
    frames = []
    for byte in " 😀".encode():
        stream.push(codec.tokenizer.piece_bytes.index(bytes([byte])))
        frames.append(stream.generated)
    assert frames == [" ", " ", " ", " ", " 😀"]
    stream.push(codec.tokenizer.piece_bytes.index(b"\xf0"))
    stream.finish()
    assert stream.generated.count("\ufffd") == 1


def test_the_space_of_a_token_reversed_ending_is_shown_in_front_of_it(
    codecs: dict[Order, StoryCodec],
) -> None:
    codec = codecs[Order.TOKEN]
    story = "Tom ran. He was happy."
    prompt = codec.prompt("He was happy.")
    spelling = prompt.spellings[0]
    stream = StoryStream(codec, prompt, spelling)
    for token in codec.encode(story)[len(spelling) - 1 :]:
        stream.push(token)
    stream.finish()
    assert stream.story == story
