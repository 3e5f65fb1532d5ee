"""How surprised a model is by texts: a token, a sentence, a whole story at a time."""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from itertools import islice

import numpy as np

from mlx_rev.generate.surprise import word_surprises
from mlx_rev.model.llama import Llama
from mlx_rev.model.score import Score, token_nats
from mlx_rev.text.codec import StoryCodec
from mlx_rev.text.sentences import sentence_starts

_PARTS_AT_ONCE = 32
"""Stories, or parts of long ones, between two reports of progress."""
_WINDOWS_OF_A_PART = 16
_BITS = 1 / np.log(2)


@dataclass(frozen=True)
class ScoredText:
    """What a model says of a text."""

    ids: tuple[int, ...]
    """In model order, without boundaries."""
    nats: np.ndarray
    """Of each id, and of the boundary that closes the text: (ids + 1,)."""

    @property
    def bits(self) -> float:
        """Of the whole text."""
        return float(self.nats.sum() * _BITS)


@dataclass(frozen=True)
class Sentence:
    """A sentence of a text, with the white space after it."""

    text: str
    bits: float
    """Without the boundary that closes the text, which belongs to no sentence."""

    @property
    def bits_per_byte(self) -> float:
        """Of its UTF-8 bytes."""
        return self.bits / len(self.text.encode())


def score_encoded(
    model: Llama,
    encoded: Sequence[Sequence[int]],
    progress: Callable[[int], None] = lambda tokens: None,
) -> list[ScoredText]:
    """Score texts that `StoryCodec.enclosed` encoded; `progress` is told how many more tokens are
    done."""
    found: list[list[np.ndarray]] = [[] for _ in encoded]
    parts = _parts(encoded, model.config.context)
    while part := list(islice(parts, _PARTS_AT_ONCE)):
        rows = token_nats(model, [ids for _, ids, _ in part])
        for row, (place, _, counted) in zip(rows, part, strict=True):
            found[place].append(row[counted:])
            progress(len(row) - counted)
    return [
        ScoredText(tuple(ids[1:-1]), np.concatenate(nats))
        for ids, nats in zip(encoded, found, strict=True)
    ]


def total(scored: Sequence[ScoredText], texts: Sequence[str]) -> Score:
    """The score of all texts together."""
    return Score(
        float(sum(one.nats.sum() for one in scored)),
        sum(len(one.nats) for one in scored),
        sum(len(text.encode()) for text in texts),
    )


def by_sentence(codec: StoryCodec, text: str, scored: ScoredText) -> list[Sentence]:
    """The sentences of a text in reading order, which join to it, each with its surprise."""
    bits = scored.nats[:-1] * _BITS
    words = word_surprises(codec, text, scored.ids, bits.tolist())
    ends = np.cumsum([len(word) for word, _ in words], dtype=int)
    starts = sentence_starts(text)
    # A word belongs to the sentence in which its last character is.
    places = np.searchsorted(starts, ends - 1, side="right") - 1
    own = np.bincount(places, [bits for _, bits in words], minlength=len(starts))
    stops = [*starts[1:], len(text)]
    return [
        Sentence(text[start:stop], float(found))
        for start, stop, found in zip(starts, stops, own, strict=True)
    ]


def _parts(encoded: Sequence[Sequence[int]], context: int) -> Iterator[tuple[int, np.ndarray, int]]:
    """Each text, a long one in parts, with its place and how many of a part's targets the part
    before has.

    Parts begin where `token_nats` begins a window, so that it reads the same windows of the
    parts as of the whole.
    """
    overlap = context // 2
    most = context + _WINDOWS_OF_A_PART * (context - overlap)
    for place, ids in enumerate(encoded):
        start, done = 0, 0
        while done < len(ids) - 1:
            part = np.array(ids[start : start + most + 1])
            yield place, part, done - start
            done = start + len(part) - 1
            start = done - overlap
