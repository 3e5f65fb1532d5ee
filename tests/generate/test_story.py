import pytest

from mlx_rev.config import ModelConfig, SampleConfig
from mlx_rev.generate.story import Story
from mlx_rev.generate.teller import Teller
from mlx_rev.model.llama import Llama, initialise
from mlx_rev.model.load import Loaded
from mlx_rev.text.codec import StoryCodec
from mlx_rev.text.order import ORDERS, TOKEN, WORD2, Order
from mlx_rev.text.sentencepiece import SentencePiece
from mlx_rev.text.stream import Leftwards, Rightwards


@pytest.fixture(scope="module")
def tellers(tiny: ModelConfig, codecs: dict[Order, StoryCodec]) -> dict[Order, Teller]:
    model = Llama(tiny)
    initialise(model, seed=4)
    return {order: Teller(Loaded(model, codec)) for order, codec in codecs.items()}


def test_a_story_grows_on_its_side_of_the_prompt() -> None:
    backward = Story(
        prompt=" end.", spelling=(1,), leftwards=True, growth=Leftwards(b"", drops_space=True)
    )
    forward = Story(
        prompt="Once ", spelling=(1,), leftwards=False, growth=Rightwards(drops_space=False)
    )
    for story in (backward, forward):
        story.grow(7, b"he", 1.0)
        story.grow(8, b" t", 3.0)
        assert story.finished is None
        assert (story.tokens, story.surprises, story.mean_surprise) == ((7, 8), (1.0, 3.0), 2.0)
    assert (backward.text, backward.generated) == (" the end.", " the")
    assert (forward.text, forward.generated) == ("Once he t", "he t")
    assert backward.parts == (("", True), (" the", False), (" end.", True))
    assert forward.parts == (("Once ", True), ("", True), ("he t", False))
    # Of a story between a beginning and an ending both were given.
    backward.beginning = " t"
    assert backward.parts == ((" t", True), ("he", False), (" end.", True))
    backward.stop("boundary")
    forward.stop("stopped")
    assert (str(backward), backward.finished) == ("the end.", "boundary")
    assert (str(forward), forward.finished) == ("Once he t", "stopped")


@pytest.mark.parametrize("order", ORDERS)
def test_a_growing_story_is_one_record(order: Order, tellers: dict[Order, Teller]) -> None:
    settings = SampleConfig(seed=5, max_tokens=8)
    endings = ["The dog was happy.", "", "The dog was happy."]
    given = list(tellers[order].stream(endings, settings))
    stories = {story.index: story for story in given}
    assert [story.prompt for _, story in sorted(stories.items())] == endings
    assert [stories[index].seed for index in range(3)] == [5, 6, 7]
    assert all(given.count(story) == len(story.tokens) for story in stories.values())
    told = tellers[order].tell_all(endings, seed=5, max_tokens=8)
    assert [story.text for story in told] == [stories[index].text for index in range(3)]


@pytest.mark.parametrize(("order", "spellings"), [(WORD2, 1), (TOKEN, 2)])
def test_an_ending_is_encoded_once(
    order: Order, spellings: int, tellers: dict[Order, Teller], monkeypatch: pytest.MonkeyPatch
) -> None:
    encoded: list[str] = []
    encode_batch = SentencePiece.encode_batch

    def counting(tokenizer: SentencePiece, texts: list[str]) -> list[list[int]]:
        encoded.extend(text for text in texts if len(text) > 1)
        return encode_batch(tokenizer, texts)

    monkeypatch.setattr(SentencePiece, "encode_batch", counting)
    stories = tellers[order].begin(["The dog was happy."] * 4)
    for _ in tellers[order].write(stories, SampleConfig(max_tokens=2)):
        pass
    assert len(encoded) == spellings


@pytest.mark.parametrize("order", ORDERS)
def test_the_text_is_put_together_only_when_it_is_asked_for(
    order: Order, tellers: dict[Order, Teller], monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: list[str] = []
    for name in ("text", "generated", "tokens", "surprises"):
        whole = getattr(Story, name).fget

        def counting(story: Story, name: str = name, whole: object = whole) -> object:
            asked.append(name)
            return whole(story)  # type: ignore[operator]

        monkeypatch.setattr(Story, name, property(counting))
    [story] = tellers[order].begin(["The dog was happy."], SampleConfig(max_tokens=30))
    for _ in tellers[order].write([story], SampleConfig(max_tokens=30)):
        assert not asked
    assert story.text
    assert asked == ["text", "generated"]


def test_the_pace_is_of_tokens_over_seconds_and_nothing_is_divided_by_nothing() -> None:
    story = Story(prompt="", spelling=(1,), leftwards=False, growth=Rightwards(drops_space=False))
    assert (story.tokens_per_second, story.mean_surprise) == (0, 0)
    for token in range(6):
        story.grow(token, b"a", 1.0)
    assert story.tokens_per_second == 0
    story.seconds = 1.5
    assert story.tokens_per_second == 4


def test_a_model_tells_with_its_own_settings_where_no_others_are_given(
    tellers: dict[Order, Teller], codecs: dict[Order, StoryCodec]
) -> None:
    own = SampleConfig(max_tokens=2, seed=8)
    teller = Teller(Loaded(tellers[WORD2].model, codecs[WORD2], own))
    *_, streamed = teller.stream(["The dog was happy."])
    told = teller.tell("The dog was happy.")
    assert told.tokens == streamed.tokens
    assert (told.length, told.seed, streamed.seed) == (2, 8, 8)
    other = teller.tell("The dog was happy.", max_tokens=1)
    assert (other.length, other.seed) == (1, 8)
