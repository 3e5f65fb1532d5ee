"""A beginning and an ending: what comes between is written from both sides until they meet.

A forward model goes on from the beginning, a backward one comes from the ending. Both are cut where
sentences end, and every pair of cuts is judged at the seam: the forward model says how surprising
the first sentence behind it is, the backward model the same of the last one in front of it. The
least surprising seam would join what fits everywhere. So of the good seams, those no worse than
most sentence boundaries in what was written, the one is taken whose two sides need each other most.
Only texts pass between the models, so their vocabularies may differ.
"""

from collections.abc import Generator, Iterator, Sequence
from dataclasses import dataclass, replace
from itertools import chain

import numpy as np

from mlx_rev.config import SampleConfig
from mlx_rev.errors import ConfigError
from mlx_rev.generate.judge import Judge, ignore, judge_of
from mlx_rev.generate.measures import EndedStory, has_unbalanced_quotes
from mlx_rev.generate.story import Story
from mlx_rev.generate.teller import Teller
from mlx_rev.text.sentences import first_sentences, last_sentences, sentence_starts, sentences

_COUNT = 4
"""Stories from each side. The seams to judge are as many as (stories x cuts) squared."""
_CUTS = 5
"""Of each story, those nearest to what was given."""
_ROUNDS = 3
SEEDS_OF_MEETING = _COUNT * _ROUNDS
"""How many seeds one meeting may use."""
_GOOD = 0.9
"""A seam is good if it is no worse than this share of the boundaries inside what was written."""
_BITS = 1 / np.log(2)


@dataclass(frozen=True, kw_only=True)
class Meeting:
    """A story between a beginning and an ending, which are in it byte for byte."""

    beginning: str
    before: str
    """What the forward model wrote, up to the seam."""
    after: str
    """What the backward model wrote, from the seam on."""
    ending: str
    seam_bits_per_byte: float
    """The surprise of the sentences on both sides of the seam, each given the other side."""
    good: bool
    """Whether that is no worse than at nine in ten sentence boundaries within what was written."""
    rounds: int
    """How often both sides were written."""

    @property
    def text(self) -> str:
        """The whole story."""
        return self.beginning + self.before + self.after + self.ending


@dataclass(frozen=True)
class Attempt:
    """How far a round is that looks for a Meeting."""

    stories: tuple[Story, Story]
    """The first from the beginning and the first from the ending, of those that it writes."""
    round: int
    """Which round, the first being 1."""
    rounds: int
    """How many there are at most."""
    judged: float | None = None
    """The share of its seams that is judged; None while stories are written."""


def meet(
    backward: Teller,
    forward: Teller,
    beginning: str,
    ending: str,
    settings: SampleConfig | None = None,
    *,
    rounds: int = _ROUNDS,
) -> Meeting:
    """The best story between the two that is found in at most `rounds` rounds; the first round that
    has a good seam is the last.

    Story i of round r has the seed `settings.seed` + 4 r + i; without settings each model takes its
    own. Raises ConfigError for a model of the wrong direction, or where one of the texts is empty
    or too long.
    """
    steps = meeting(backward, forward, beginning, ending, settings, rounds=rounds)
    return next(step for step in steps if isinstance(step, Meeting))


def meeting(
    backward: Teller,
    forward: Teller,
    beginning: str,
    ending: str,
    settings: SampleConfig | None = None,
    *,
    rounds: int = _ROUNDS,
) -> Iterator[Attempt | Meeting]:
    """What `meet` does, step by step: an Attempt whenever the stories of a round have grown by a
    token, or seams were judged; at last the Meeting."""
    for teller, leftwards, way in ((backward, True, "backwards"), (forward, False, "forwards")):
        if teller.grows_leftwards != leftwards:
            raise ConfigError(f"to meet in the middle takes a model that reads {way}, too")
    if not beginning.strip() or not ending.strip():
        raise ConfigError("to meet in the middle takes both a beginning and an ending")
    judges = judge_of(forward, turned=False), judge_of(backward, turned=False)
    tried: list[Meeting] = []
    while not tried or (len(tried) < rounds and not tried[-1].good):
        openings, onwards = _side(forward, beginning, settings or forward.settings, len(tried))
        endings, back = _side(backward, ending, settings or backward.settings, len(tried))
        attempt = Attempt((openings[0], endings[0]), len(tried) + 1, rounds)
        for _ in chain(onwards, back):
            yield attempt
        tried.append((yield from _round(openings, endings, judges, attempt)))
    best = tried[-1] if tried[-1].good else min(tried, key=lambda one: one.seam_bits_per_byte)
    yield replace(best, rounds=len(tried))


def _side(
    teller: Teller, prompt: str, settings: SampleConfig, number: int
) -> tuple[list[Story], Iterator[Story]]:
    """The stories of a round for one prompt, and the writing of them: no longer than half a
    context, as the other half is the other side's."""
    half = teller.model.config.context // 2
    seed = settings.seed + number * _COUNT
    limited = replace(settings, seed=seed, max_tokens=min(settings.max_tokens or half, half))
    stories = teller.begin([prompt] * _COUNT, limited)
    return stories, teller.write(stories, limited)


def _round(
    openings: Sequence[Story],
    endings: Sequence[Story],
    judges: tuple[Judge, Judge],
    attempt: Attempt,
) -> Generator[Attempt, None, Meeting]:
    """The best seam of what was written; the attempt whenever some more were judged."""
    lefts = list(dict.fromkeys(left for story in openings for left in _lefts(story)))
    rights = list(dict.fromkeys(right for story in endings for right in _rights(story)))
    for number, surprise in enumerate(seam_surprise(judges, lefts, rights), 1):  # noqa: B007
        yield replace(attempt, judged=number / (len(lefts) + len(rights)))
    for unfit in (_repeats(lefts, rights), _unbalanced(lefts, rights)):
        if np.isfinite(surprise[~unfit]).any():
            surprise[unfit] = np.inf
    inside = [halves for story in (*openings, *endings) if (halves := _halves(story.text))]
    usual = np.zeros(1)
    for usual in paired_surprise(judges, *zip(*inside, strict=True)) if inside else ():  # noqa: B007
        yield replace(attempt, judged=1.0)
    most = np.quantile(usual, _GOOD)
    place = chosen_seam(surprise, float(most))
    left, right = lefts[place[0]], rights[place[1]]
    beginning, ending = openings[0].prompt, endings[0].prompt
    return Meeting(
        beginning=beginning,
        before=left[len(beginning) :],
        after=right[: len(right) - len(ending)],
        ending=ending,
        seam_bits_per_byte=float(surprise[place]),
        good=bool(surprise[place] <= most),
        rounds=1,
    )


def chosen_seam(surprise: np.ndarray, most: float) -> tuple[int, int]:
    """Which seam to take, given the surprise (lefts, rights) of each; inf if it cannot be taken.

    Of those up to `most` it is the one that is least surprising beside other seams of the same left
    and the same right side; if there is none, the least surprising.
    """
    good = surprise <= most
    if not good.any():
        best = int(surprise.argmin())
    else:
        known = np.ma.masked_invalid(surprise)
        alone = known.mean(axis=1)[:, None] + known.mean(axis=0)[None]
        best = int(np.where(good, (known - alone).filled(np.inf), np.inf).argmin())
    row, column = np.unravel_index(best, surprise.shape)
    return int(row), int(column)


def _repeats(lefts: Sequence[str], rights: Sequence[str]) -> np.ndarray:
    """Whether a sentence stands on both sides: (lefts, rights)."""
    told = [set(map(str.strip, sentences(text))) for text in lefts]
    to_come = [set(map(str.strip, sentences(text))) for text in rights]
    return np.array([[not one.isdisjoint(other) for other in to_come] for one in told])


def _unbalanced(lefts: Sequence[str], rights: Sequence[str]) -> np.ndarray:
    """Whether a quotation is left open where both sides are joined: (lefts, rights)."""
    return np.array(
        [
            [has_unbalanced_quotes(EndedStory(left + right, right)) for right in rights]
            for left in lefts
        ]
    )


def seam_surprise(
    judges: tuple[Judge, Judge], lefts: Sequence[str], rights: Sequence[str]
) -> Iterator[np.ndarray]:
    """How surprising it is that each right side follows each left one: (lefts, rights), in bits per
    byte of the sentence behind the seam and that in front of it, each given the other side.

    The first judge reads forwards, the second backwards. As that takes seconds, there is an array
    whenever another side was read; only the last one is complete.
    """
    forward, backward = judges
    heads, tails = [first_sentences(text) for text in rights], list(map(_last_sentences, lefts))
    size = np.array([[len(tail.encode()) + len(head.encode()) for head in heads] for tail in tails])
    nats = np.zeros(size.shape)
    for row, behind in enumerate(_nats(forward, lefts, heads)):
        nats[row] += behind
        yield nats * _BITS / size
    for column, in_front in enumerate(_nats(backward, rights, tails)):
        nats[:, column] += in_front
        yield nats * _BITS / size


def paired_surprise(
    judges: Sequence[Judge], lefts: Sequence[str], rights: Sequence[str]
) -> Iterator[np.ndarray]:
    """The same of each left side and its own right side, (N,): with only one judge, of the one
    sentence that it reads on to. Here too, only the last array is complete."""
    heads, tails = list(map(first_sentences, rights)), list(map(_last_sentences, lefts))
    read = [(judge, lefts, heads) if judge.forward else (judge, rights, tails) for judge in judges]
    size = sum(np.array([len(text.encode()) for text in texts]) for _, _, texts in read)
    nats = np.zeros(len(lefts))
    for judge, contexts, texts in read:
        for place, (context, text) in enumerate(zip(contexts, texts, strict=True)):
            nats[place] += judge.joined_nats([context.strip()], [text], ignore)[1][0]
            yield nats * _BITS / size


def _nats(judge: Judge, contexts: Sequence[str], texts: Sequence[str]) -> Iterator[np.ndarray]:
    """For each context (texts,); a text that occurs several times is judged once."""
    places = {text: place for place, text in enumerate(dict.fromkeys(texts))}
    order = [places[text] for text in texts]
    for context in contexts:
        yield judge.adjoining_nats([context.strip()], list(places), ignore)[0, order]


def _lefts(story: Story) -> list[str]:
    """What is left of each cut of a story that goes on from its prompt, with the space there."""
    text, least = story.text, len(story.prompt)
    cuts = [start for start in sentence_starts(text) if start >= least]
    return [text[:cut] for cut in cuts[:_CUTS]] or [f"{text} "]


def _rights(story: Story) -> list[str]:
    """What is right of each cut of a story that leads to its prompt."""
    text, most = story.text, len(story.text) - len(story.prompt)
    cuts = [start for start in sentence_starts(text)[1:] if start <= most]
    return [text[cut:] for cut in cuts[::-1][:_CUTS]] or [text]


def _halves(text: str) -> tuple[str, str] | None:
    """A text cut at the sentence end in its middle; None for a single sentence."""
    starts = sentence_starts(text)[1:]
    if not starts:
        return None
    cut = starts[len(starts) // 2]
    return text[:cut], text[cut:]


def _last_sentences(text: str) -> str:
    return last_sentences(text.strip())
