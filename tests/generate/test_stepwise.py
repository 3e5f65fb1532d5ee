"""A story a sentence at a time: what grows is what a story is, and what the judge takes stays."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from types import SimpleNamespace
from typing import cast

import numpy as np
import pytest

from mlx_rev.config import ModelConfig
from mlx_rev.errors import ConfigError
from mlx_rev.generate import sampler, stepwise
from mlx_rev.generate.judge import judge_of
from mlx_rev.generate.teller import Teller
from mlx_rev.model.llama import Llama, get_weights, initialise, set_weights
from mlx_rev.model.load import Loaded
from mlx_rev.model.score import token_nats
from mlx_rev.text.codec import StoryCodec
from mlx_rev.text.order import BOTH_WAYS, FORWARD, ORDERS, WORD2, Order

ENDING = "Tom ran home."


@dataclass(frozen=True)
class LetterJudge:
    """Is surprised by whatever follows anything but letters like these."""

    likes: str
    name: str = "letters"
    forward: bool = True

    def text_nats(self, texts: Sequence[str], progress: object) -> np.ndarray:
        raise NotImplementedError

    ending_nats = adjoining_nats = text_nats

    def joined_nats(
        self, contexts: Sequence[str], texts: Sequence[str], progress: object
    ) -> tuple[np.ndarray, np.ndarray]:
        share = [-100 * sum(c in self.likes for c in own) / (len(own) + 1) for own in contexts]
        return np.zeros(len(contexts)), np.array(share)


def telling(config: ModelConfig, codec: StoryCodec, scale: float = 6.0) -> Teller:
    model = Llama(replace(config, n_layers=1))
    initialise(model, seed=4)
    scaled = {n: w * scale if w.ndim > 1 else w for n, w in get_weights(model).items()}
    set_weights(model, scaled)
    return Teller(Loaded(model, codec))


@pytest.mark.parametrize("order", ORDERS)
@pytest.mark.parametrize("count", [1, 5])
def test_every_token_was_drawn_where_it_stands(
    tiny: ModelConfig, codecs: dict[Order, StoryCodec], order: Order, count: int
) -> None:
    """Its surprise is that of the whole sequence: no cache has anything of another proposal."""
    teller = telling(tiny, codecs[order])
    judge = LetterJudge("aeiou", forward=order.grows_leftwards)
    texts = []
    for seed in range(2):
        settings = {"seed": seed, "temperature": 1.5, "repetition_penalty": 1.2}
        grown = [
            (story, story.text, len(story.tokens))
            for story in teller.tell_by_sentence(ENDING, count, judge, **settings)
        ]
        story = grown[-1][0]
        assert [tokens for *_, tokens in grown] == sorted({tokens for *_, tokens in grown})
        kept = str.endswith if order.grows_leftwards else str.startswith
        assert all(kept(text, ENDING) for _, text, _ in grown)
        assert story.finished in ("boundary", "length")
        assert len(story.spelling) + len(story.tokens) <= tiny.context
        whole = np.array([*story.spelling, *story.tokens])
        bits = token_nats(teller.model, [whole])[0][len(story.spelling) - 1 :] / np.log(2)
        assert list(story.surprises) == pytest.approx(bits, abs=2e-3)
        texts.append(story.text)
    assert len(set(texts)) == 2
    last = [*teller.tell_by_sentence(ENDING, count, judge, **settings)][-1]
    assert last.text == texts[-1]


def proposed(text: str, bits: float = 2.0, stopped: str | None = None) -> stepwise._Proposal:
    """A proposal as if it had been written."""
    fake = SimpleNamespace(growth=SimpleNamespace(text=text), surprises=[bits], stopped=stopped)
    return cast(stepwise._Proposal, fake)


def test_what_the_judge_says_decides_then_what_is_typical_and_not_repeated(
    tiny: ModelConfig, codecs: dict[Order, StoryCodec]
) -> None:
    [story] = telling(tiny, codecs[WORD2]).begin(["The dog saw a fox and went away."])
    texts = ["A bee sees trees. ", "An owl asks a cat. ", "Six pigs mix milk. "]
    for likes, place in (("e", 0), ("a", 1), ("i", 2)):
        assert stepwise._best(story, [*map(proposed, texts)], LetterJudge(likes)) == place
    odd = [proposed(texts[0], bits) for bits in (9, 2, 3)]
    assert stepwise._best(story, odd, LetterJudge("")) == 2
    loop = [proposed("Dog, dog, dog, dog! "), proposed("A cat and a hen sat. ")]
    assert stepwise._best(story, loop, LetterJudge("")) == 1
    assert stepwise._best(story, loop[:1], LetterJudge("")) == 0


@pytest.mark.parametrize("order", ORDERS)
def test_what_is_taken_is_a_sentence_whatever_the_others_have_written_meanwhile(
    tiny: ModelConfig,
    codecs: dict[Order, StoryCodec],
    order: Order,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Proposals of different lengths, so that rows are left behind in caches of their own."""
    known = ("Tom ran.", "The dog was very happy and it ran to the park.", "Sam saw a cat.")
    codec = codecs[order]
    teller, judge = telling(tiny, codec), LetterJudge("aeiou", forward=order.grows_leftwards)
    scripts: dict[np.random.Generator, Iterator[int]] = {}

    def scripted(
        logits: np.ndarray, recent: object, random: Sequence[np.random.Generator], config: object
    ) -> np.ndarray:
        for own in random:
            text = known[int(own.integers(3))] if own not in scripts else ""
            ids = codec.prompt(f"{text} {text}").spellings[0][1:] if text else ()
            scripts.setdefault(own, iter([*ids, *codec.ends]))
        return np.array([next(scripts[own], 9) for own in random])

    monkeypatch.setattr(sampler, "sample", scripted)
    told, parts = "", set()
    for story in teller.tell_by_sentence(ENDING, 5, judge, max_tokens=60):
        leftwards = order.grows_leftwards
        part = story.generated.removesuffix(told) if leftwards else story.generated[len(told) :]
        told = story.generated
        if story.finished is None:
            parts.add(part.strip())
    assert parts <= set(known)
    assert len(parts) > 1
    whole = np.array([*story.spelling, *story.tokens])
    bits = token_nats(teller.model, [whole])[0][len(story.spelling) - 1 :] / np.log(2)
    assert list(story.surprises) == pytest.approx(bits, abs=2e-3)


def test_whether_a_story_stops_is_left_to_chance() -> None:
    goes, ends, cut = (proposed("", stopped=reason) for reason in (None, "boundary", "length"))
    alike = stepwise._alike
    assert alike([goes, ends, goes], nearly_full=False) == [goes, goes]
    assert alike([ends, goes, ends], nearly_full=False) == [ends, ends]
    assert alike([goes, ends, cut], nearly_full=True) == [ends]
    assert alike([cut, goes, goes], nearly_full=True) == [cut]


def test_what_a_sentence_has_to_explain_is_next_to_it() -> None:
    text = "A b c. " + "He was there. " * 10 + "The end came."
    assert stepwise._near(text, leftwards=True).startswith("A b c. He was there.")
    assert stepwise._near(text, leftwards=False).endswith("He was there. The end came.")
    for leftwards in (True, False):
        assert 120 <= len(stepwise._near(text, leftwards=leftwards)) < 140
    assert stepwise._near("One.", leftwards=True) == "One."
    assert stepwise._near("", leftwards=True) == ""


@pytest.mark.parametrize(
    "text",
    ["the dog ran and " * 40, "狗跑回家了，" * 40, "ж 🐕" * 90],
    ids=["English", "Chinese", "mixed"],
)
def test_of_text_without_sentences_the_part_next_to_it_is_explained(text: str) -> None:
    text = f"a{text}z"
    first, last = (stepwise._near(text, leftwards=leftwards) for leftwards in (True, False))
    assert text.startswith(first)
    assert text.endswith(last)
    for near in (first, last):
        assert 230 < len(near.encode()) <= 240
    assert (
        stepwise._near(text, leftwards=True, most=20)
        == first.encode()[:20].decode(errors="ignore").strip()
    )


@pytest.mark.parametrize("order", [WORD2, FORWARD])
def test_an_ending_without_a_full_stop_fits_into_the_judge(
    tiny: ModelConfig, codecs: dict[Order, StoryCodec], order: Order
) -> None:
    """In another vocabulary, or from the other end, it may have more tokens than the story."""
    teller = telling(tiny, codecs[order])
    judge = replace(
        judge_of(telling(tiny, codecs[FORWARD if order is WORD2 else WORD2])),
        encode=lambda text: [3 + byte for byte in text.encode()],
    )
    [*_, story] = teller.tell_by_sentence("the dog ran and " * 12, 3, judge, max_tokens=12)
    assert len(story.tokens) <= 12


def test_it_takes_a_judge_that_reads_the_other_way(
    tiny: ModelConfig, codecs: dict[Order, StoryCodec]
) -> None:
    backward, forward = telling(tiny, codecs[WORD2]), telling(tiny, codecs[FORWARD])
    for own, other in ((backward, forward), (forward, backward)):
        [*_, story] = own.tell_by_sentence("Tom ran.", 2, other, max_tokens=6)
        assert len(story.tokens) <= 6
        with pytest.raises(ConfigError, match="expected a model that reads"):
            next(own.tell_by_sentence("Tom ran.", 2, judge_of(own)))
        with pytest.raises(ConfigError, match="takes a judge that reads the other way"):
            own.tell_by_sentence("Tom ran.", 2)
    both = telling(tiny, StoryCodec(codecs[WORD2].tokenizer, BOTH_WAYS[0]))
    assert [*both.tell_by_sentence("Tom ran.", 2, max_tokens=6)]
    with pytest.raises(ConfigError, match="0 sentences to choose from"):
        both.tell_by_sentence("Tom ran.", 0)
