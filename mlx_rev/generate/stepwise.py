"""A story a sentence at a time: several are written for the next place, and one of them stays.

A backward model proposes, and of its proposals that is taken before which the text so far is least
surprising to a judge that reads the other way; beside it counts how typical a sentence is for the
one who proposed it, and what the story then repeats. Whether the story begins there is left to
chance, as the model would have it: openings explain what follows so well that choosing among them
and other sentences would make every story short. Only where the context is nearly full is any
beginning taken that there is.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from itertools import accumulate, pairwise

import mlx.core as mx
import numpy as np

from mlx_rev.backend import PlainReader, Reader
from mlx_rev.config import SampleConfig
from mlx_rev.errors import ConfigError
from mlx_rev.generate import sampler
from mlx_rev.generate.decode import begin_stories, never_written
from mlx_rev.generate.judge import Judge, ignore
from mlx_rev.generate.measures import EndedStory
from mlx_rev.generate.rerank import repetition
from mlx_rev.generate.story import StopReason, Story
from mlx_rev.model.cache import Cache, chosen_rows, new_cache
from mlx_rev.model.llama import Llama
from mlx_rev.text.codec import StoryCodec
from mlx_rev.text.sentences import sentence_starts
from mlx_rev.text.stream import Growth

_LONGEST = 64
"""Tokens of one proposal."""
_EXPLAINED = 120
"""Characters of the text so far that a sentence has to explain, to the end of a sentence: those
next to it, so that the cost does not grow with the story."""
_MOST_EXPLAINED = 240
"""UTF-8 bytes of it, however long the sentence is: a token has one or more, and the judge has to
have room for them."""
_SPARE = 16
"""Tokens of the context that those leave."""


@dataclass
class _Proposal:
    """A sentence that might come next."""

    growth: Growth
    random: np.random.Generator
    tokens: list[int] = field(default_factory=list)
    surprises: list[float] = field(default_factory=list)
    stopped: StopReason | None = None
    whole: bool = False
    """Whether nothing is to be added: it has its sentence, or it stopped."""
    home: tuple[Cache, int] | None = None
    """A cache that has what it read, and its row there."""

    def add(self, token: int, piece: bytes, surprise: float, ends: bool) -> None:
        """Add a token, unless it begins another sentence."""
        self.growth.push(piece)
        if self.tokens and not ends and len(sentence_starts(self.growth.text.lstrip())) > 1:
            self.whole = True
            return
        self.tokens.append(token)
        self.surprises.append(surprise)
        self.whole, self.stopped = ends, "boundary" if ends else None


def write_by_sentence(
    model: Llama,
    codec: StoryCodec,
    prompt: str,
    count: int,
    judge: Judge,
    config: SampleConfig,
    reader: Reader | None = None,
) -> Iterator[Story]:
    """Write one story, yielded whenever it has grown by a sentence: the best of `count`.

    The judge has to read towards the prompt: forwards for an ending. Raises ConfigError for one
    that does not, and what `begin_stories` raises.
    """
    if judge.forward != codec.order.grows_leftwards:
        way = "forwards" if codec.order.grows_leftwards else "backwards"
        raise ConfigError(f"judge {judge.name}: expected a model that reads {way}")
    [story] = begin_stories(model, codec, [prompt], config)
    writer = _Writer(model, codec, story, config, reader or PlainReader(model))
    most = min(_MOST_EXPLAINED, max(model.config.context - _SPARE, 1))
    while story.finished is None:
        proposals = writer.propose(count)
        alike = _alike(proposals, nearly_full=writer.nearly_full)
        writer.take(alike[_best(story, alike, judge, most)])
        yield story


class _Writer:
    """A story, and what the model has read of it."""

    def __init__(
        self, model: Llama, codec: StoryCodec, story: Story, config: SampleConfig, reader: Reader
    ) -> None:
        self._codec, self._story, self._config, self._read = codec, story, config, reader
        self._cache = new_cache(model.config, 1, model.config.context)
        self._room = model.config.context - len(story.spelling)
        if config.max_tokens:
            self._room = min(self._room, config.max_tokens)
        self._unread = story.spelling
        self._never = never_written(codec)
        self._rounds = 0

    @property
    def nearly_full(self) -> bool:
        """Whether there is hardly room for another sentence."""
        return self._room < 2 * _LONGEST

    def propose(self, count: int) -> list[_Proposal]:
        """So many sentences that may come next, written together."""
        codec, story = self._codec, self._story
        written = (*story.spelling, *story.tokens)
        # A text that only stands there to be next to something.
        beside = story.prompt if written == story.spelling else " "
        proposals = [
            _Proposal(
                codec.growth(beside, written),
                np.random.default_rng([story.seed, self._rounds, place]),
            )
            for place in range(count)
        ]
        forbidden = self._never
        if written == story.spelling:
            forbidden = forbidden | np.array(codec.joins_prompt(story.prompt, story.spelling))
        start = mx.zeros((1, 1), dtype=mx.int32)
        logits = self._read(mx.array([self._unread], dtype=mx.int32), self._cache, start)
        logits = np.repeat(np.asarray(logits), count, axis=0)
        cache, rows = chosen_rows(self._cache, [0] * count), proposals
        recent = _recent(written, count)
        for step in range(limit := min(_LONGEST, self._room)):
            masked = np.where(forbidden, -np.inf, logits)
            chosen = sampler.sample(masked, recent, [own.random for own in rows], self._config)
            surprises = sampler.surprise(logits, chosen)
            for proposal, token, bits in zip(rows, chosen.tolist(), surprises, strict=True):
                if not proposal.whole:
                    piece = codec.tokenizer.piece_bytes[token]
                    proposal.add(token, piece, float(bits), token in codec.ends)
            left = [place for place, own in enumerate(rows) if not own.whole]
            if not left or step == limit - 1:
                break
            if 4 * len(left) <= 3 * len(rows):
                _settle(rows, cache)
                rows, recent, chosen = [rows[row] for row in left], recent[left], chosen[left]
                cache = chosen_rows(cache, left)
            recent = np.concatenate([recent[:, 1:], chosen[:, None]], axis=1)
            start = mx.zeros((len(rows), 1), dtype=mx.int32)
            logits = self._read(mx.array(chosen[:, None].astype(np.int32)), cache, start)
            forbidden = self._never
        _settle(rows, cache)
        for proposal in proposals:
            if proposal.stopped is None and len(proposal.tokens) == self._room:
                proposal.stopped = "length"
        return proposals

    def take(self, proposal: _Proposal) -> None:
        """Add a proposal to the story."""
        story, pieces = self._story, self._codec.tokenizer.piece_bytes
        for token, bits in zip(proposal.tokens, proposal.surprises, strict=True):
            story.grow(token, pieces[token], bits)
        if proposal.stopped is not None:
            story.stop(proposal.stopped)
        self._room -= len(proposal.tokens)
        self._rounds += 1
        self._unread = (proposal.tokens[-1],)
        if proposal.home is not None:
            cache, row = proposal.home
            self._cache = chosen_rows(cache, [row])
        # What was read of others, or of the sentence after it, is written over.
        offset = mx.array(len(story.spelling) + len(story.tokens) - 1)
        for layer in self._cache:
            layer.offset = offset


def _settle(rows: Sequence[_Proposal], cache: Cache) -> None:
    """Note where what was read of proposals is kept."""
    for place, proposal in enumerate(rows):
        proposal.home = cache, place


def _recent(ids: Sequence[int], count: int) -> np.ndarray:
    """The last of some ids in each of `count` rows, as the repetition penalty takes them."""
    tail = ids[-sampler.REPETITION_WINDOW :]
    padded = [-1] * (sampler.REPETITION_WINDOW - len(tail)) + [*tail]
    return np.array([padded] * count)


def _alike(proposals: Sequence[_Proposal], *, nearly_full: bool) -> list[_Proposal]:
    """Those that stop where the first one does, or go on as it does."""
    reason = proposals[0].stopped
    if nearly_full and any(own.stopped == "boundary" for own in proposals):
        reason = "boundary"
    return [own for own in proposals if own.stopped == reason]


def _best(
    story: Story, proposals: Sequence[_Proposal], judge: Judge, most: int = _MOST_EXPLAINED
) -> int:
    """The place of the proposal to take, which has to explain so many bytes at most."""
    if len(proposals) == 1:
        return 0
    texts = [own.growth.text for own in proposals]
    near = _near(story.text, leftwards=story.leftwards, most=most)
    scores = np.zeros(len(texts))
    if near:
        stripped = [text.strip() for text in texts]
        nats = judge.joined_nats(stripped, [near] * len(texts), ignore)[1]
        scores -= _in_units(nats)
    bits = np.array([np.mean(own.surprises) for own in proposals])
    scores -= np.abs(_in_units(bits - np.median(bits)))
    for place, text in enumerate(texts):
        whole = text + story.text if story.leftwards else story.text + text
        scores[place] -= repetition(EndedStory(whole, story.prompt))
    return int(scores.argmax())


def _in_units(values: np.ndarray) -> np.ndarray:
    """Values in units of their spread."""
    scaled: np.ndarray = values / max(float(values.std()), 1e-6)
    return scaled


def _near(text: str, *, leftwards: bool, most: int = _MOST_EXPLAINED) -> str:
    """The sentences of a text that are next to what comes: some _EXPLAINED characters, and of a
    long sentence `most` bytes."""
    starts = [*sentence_starts(text), len(text)]
    parts = [text[start:stop] for start, stop in pairwise(starts)]
    parts = parts if leftwards else parts[::-1]
    enough = sum(length < _EXPLAINED for length in accumulate(map(len, parts))) + 1
    near = "".join(parts[:enough] if leftwards else parts[:enough][::-1]).strip().encode()
    near = near[:most] if leftwards else near[-most:]
    return near.decode(errors="ignore").strip()
