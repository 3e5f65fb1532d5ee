"""Which of several stories for one ending is best: one direction proposes, the other chooses.

The likeliest story is not the best one: likelihood rewards loops, under a judge too. So a story is
held against what real stories have, and what counts is how much its ending has to do with it:

- the ending: under a judge that reads the other way, log P(ending | story). As the ending is the
  same for all, that is their pointwise mutual information but for a constant. Without a judge it is
  the same quantity in the proposer's own direction, log P(story | ending) - log P(story).
- likelihood: how far a story is from the middle of the candidates, in bits per byte, either way.
- repetition and faults: only what is beyond nine tenths of real stories counts.

The weights were chosen on 39 held-out endings of TinyStories, eight stories each by stories1m at
temperature 0.8, with stories260K as the judge. On 30 others a content word was over 8% of all words
in 24% of the stories, in 7% of those chosen with the judge and in 3% of those chosen without, but
in 43% of the likeliest under the model itself and in 30% of the likeliest under the judge; 8% of
the stories had no beginning, none of those chosen. The ending took the judge 0.98 bits per byte
after all stories, 0.94 after those chosen with it, and 0.98 after those chosen without. At the
model's own settings, the best of eight chosen without a judge, for 28 endings: stories260K, which
had no part in it, recognised 57% of the endings rather than 29%, and 54% of those of real stories.

Proposing with one direction and weighing with the other is what LEDOM (2507.01335) and TRLM
(2412.02626) do, the other way round: they add the two log-likelihoods.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from mlx_rev.errors import ConfigError
from mlx_rev.generate import measures
from mlx_rev.generate.judge import Judge, ignore
from mlx_rev.generate.measures import EndedStory
from mlx_rev.generate.story import Story
from mlx_rev.model.llama import Llama
from mlx_rev.model.score import token_nats
from mlx_rev.text.codec import StoryCodec

_COMMON, _COMMON_UNIT = 0.071, 0.016
_PAIRS, _PAIRS_UNIT = 0.83, 0.05
"""The 90th percentile of the commonest content word's share, and the 10th of the share of different
pairs of words, of 200 TinyStories; the units are their standard deviations."""
_CUT, _OPEN_QUOTE = 3.0, 2.0
ENDING_UNIT = 0.063
"""Bits per byte: the spread of an ending's surprise among eight stories for it."""
_GAIN_UNIT = 10.0
"""Bits: the same of what an ending adds to the likelihood of a story."""
_BITS = 1 / np.log(2)


@dataclass(frozen=True, kw_only=True)
class Candidate:
    """A story, and why it stands where it does among others for the same prompt."""

    story: Story
    score: float
    """The sum of `parts`; higher is better."""
    parts: dict[str, float]
    """What makes up the score: ending, likelihood, repetition, faults."""
    bits_per_byte: float
    """Of what was written, under the model that wrote it."""
    judge_bits_per_byte: float | None
    """Of the whole story, under the judge; None without one."""
    ending_bits: float
    """How much likelier the story and its ending make each other. With a judge: minus the surprise
    of the ending after the story, which is that but for a constant."""
    commonest_share: float
    """Of all words, the share of the commonest content word; a loop has over 0.08."""
    distinct_pairs: float
    """Different pairs of words among all."""


def ranked(
    model: Llama, codec: StoryCodec, stories: Sequence[Story], judge: Judge | None = None
) -> tuple[Candidate, ...]:
    """Stories that `model` wrote for one prompt as candidates, the best first.

    A judge has to read towards the prompt: forwards for endings. Raises ConfigError for one that
    does not, or for an ending too long for it.
    """
    if not stories:
        return ()
    if judge is not None:
        check_towards(judge, codec)
    texts = [EndedStory(story.text, story.prompt) for story in stories]
    own = np.array([_per_byte(sum(story.surprises), story.generated) for story in stories])
    judged = None
    if judge is None:
        bits = _added_by_prompt(model, codec, stories)
        ending, likelihood = bits / _GAIN_UNIT, own
    else:
        bits, judged = _judged(judge, stories)
        size = max(1, len(stories[0].prompt.encode()))
        ending, likelihood = bits / size / ENDING_UNIT, judged
    spread = max(float(likelihood.std()), 1e-6)
    common = np.array([measures.commonest_share(text) for text in texts])
    pairs = np.array([measures.distinct(text, 2) for text in texts])
    repeated = np.array([repetition(text) for text in texts])
    parts = {
        "ending": ending - ending.mean(),
        "likelihood": -np.abs(likelihood - np.median(likelihood)) / spread,
        "repetition": -repeated,
        "faults": -np.array([_faults(*pair) for pair in zip(stories, texts, strict=True)]),
    }
    scores = sum(parts.values())
    candidates = [
        Candidate(
            story=story,
            score=float(scores[place]),
            parts={name: float(values[place]) for name, values in parts.items()},
            bits_per_byte=float(own[place]),
            judge_bits_per_byte=None if judged is None else float(judged[place]),
            ending_bits=float(bits[place]),
            commonest_share=float(common[place]),
            distinct_pairs=float(pairs[place]),
        )
        for place, story in enumerate(stories)
    ]
    return tuple(sorted(candidates, key=lambda candidate: -candidate.score))


def check_towards(judge: Judge, codec: StoryCodec) -> None:
    """Raise ConfigError for a judge that does not read towards the prompt of a model's stories."""
    if judge.forward != codec.order.grows_leftwards:
        way = "forwards" if codec.order.grows_leftwards else "backwards"
        raise ConfigError(f"judge {judge.name}: expected a model that reads {way}")


def repetition(story: EndedStory) -> float:
    """How much more a story repeats words and pairs of words than nine in ten real ones, in units
    of their spread; 0 for those nine."""
    common, pairs = measures.commonest_share(story), measures.distinct(story, 2)
    return max(0, common - _COMMON) / _COMMON_UNIT + max(0, _PAIRS - pairs) / _PAIRS_UNIT


def likeliest(stories: Sequence[Story]) -> Story:
    """The story that surprised its own model least for each byte that it wrote."""
    return min(stories, key=lambda story: _per_byte(sum(story.surprises), story.generated))


def _judged(judge: Judge, stories: Sequence[Story]) -> tuple[np.ndarray, np.ndarray]:
    """Minus the surprise of the prompt next to each story, in bits, and the bits per byte of each
    story with its prompt."""
    prompt = stories[0].prompt.strip()
    bodies = [story.generated.strip() for story in stories]
    if prompt:
        nats, of_prompt = judge.joined_nats(bodies, [prompt] * len(bodies), ignore)
    else:
        nats, of_prompt = judge.text_nats(bodies, ignore), np.zeros(len(stories))
    pairs = zip(nats, stories, strict=True)
    whole = np.array([_per_byte(own * _BITS, story.text) for own, story in pairs])
    return -of_prompt * _BITS, whole


def _added_by_prompt(model: Llama, codec: StoryCodec, stories: Sequence[Story]) -> np.ndarray:
    """log2 P(story | prompt) - log2 P(story) of each story under the model that wrote it, where
    P(story) is as if what was written stood at the boundary."""
    if not stories[0].prompt.strip():
        return np.zeros(len(stories))
    rows = token_nats(model, [np.array([codec.boundary, *story.tokens]) for story in stories])
    alone = np.array([row.sum() for row in rows]) * _BITS
    given: np.ndarray = np.array([sum(story.surprises) for story in stories])
    added: np.ndarray = alone - given
    return added


def _faults(story: Story, text: EndedStory) -> float:
    """What a reader sees at once: no beginning, a quotation left open."""
    cut = story.finished != "boundary"
    return _CUT * cut + _OPEN_QUOTE * measures.has_unbalanced_quotes(text)


def _per_byte(bits: float, text: str) -> float:
    return bits / max(1, len(text.encode()))
