"""How surprised a model is by stories: nats per token and bits per byte."""

import math
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

import mlx.core as mx
import numpy as np

from mlx_rev.model.llama import Llama
from mlx_rev.model.scorer import Scorer

_ROW_MULTIPLE = 64
"""Windows are padded to a multiple of this, so that few shapes occur."""
_BATCH_POSITIONS = 2048
"""Positions scored at once: 8192 take a fifth longer on a CPU, as their arrays fit no cache."""


@dataclass(frozen=True)
class Score:
    """The surprise of some stories, summed."""

    nats: float
    """Of all story tokens and each story's closing boundary."""
    tokens: int
    text_bytes: int
    """UTF-8 bytes of the original text."""

    @property
    def nats_per_token(self) -> float:
        """Mean surprise of a token."""
        return self.nats / self.tokens

    @property
    def bits_per_byte(self) -> float:
        """Comparable across vocabularies, unlike nats per token."""
        return self.nats / (math.log(2) * self.text_bytes)


@dataclass(frozen=True)
class _Window:
    story: int
    start: int
    """Of the inputs, within the story and its boundaries."""
    stop: int
    counted_from: int
    """Targets before this one were counted in an earlier window."""


def score_stories(model: Llama, stories: Sequence[np.ndarray], text_bytes: int) -> Score:
    """Score stories, each an array of ids in model order with a boundary at both ends."""
    nats = token_nats(model, stories)
    return Score(sum(float(row.sum()) for row in nats), sum(map(len, nats)), text_bytes)


def token_nats(model: Llama, stories: Sequence[np.ndarray]) -> list[np.ndarray]:
    """For each story, the surprise of every token after the first, in nats (float64)."""
    return nats_of(
        model.ops.scorer(model), stories, at_once=_BATCH_POSITIONS, multiple=_ROW_MULTIPLE
    )


def nats_of(
    scorer: Scorer,
    texts: Sequence[Sequence[int] | np.ndarray],
    *,
    at_once: int,
    multiple: int = 1,
    progress: Callable[[float], None] = lambda share: None,
) -> list[np.ndarray]:
    """For each text, in ids, the surprise of every id after the first, in nats (float64).

    A text longer than the context is read in windows that overlap by half; an id is counted once,
    in the first window that has it. `at_once` positions are read together, in rows whose length is
    a `multiple`; `progress` is told which share of all is done.
    """
    nats = [np.zeros(len(text) - 1) for text in texts]
    windows = [
        window
        for index, text in enumerate(texts)
        for window in _windows(index, len(text) - 1, scorer.context)
    ]
    done, total = 0, sum(window.stop - window.start for window in windows)
    for batch in _batches(windows, scorer.context, at_once, multiple):
        width = _padded(batch[0], scorer.context, multiple)
        inputs = np.ones((len(batch), width), np.int32)
        targets = np.zeros((len(batch), width), np.int32)
        for row, window in enumerate(batch):
            text, length = texts[window.story], window.stop - window.start
            inputs[row, :length] = text[window.start : window.stop]
            targets[row, :length] = text[window.start + 1 : window.stop + 1]
        rows = scorer.nats(mx.array(inputs), mx.array(targets))
        for own, window in zip(rows, batch, strict=True):
            counted = slice(window.counted_from - window.start, window.stop - window.start)
            nats[window.story][window.counted_from : window.stop] = own[counted]
        done += sum(window.stop - window.start for window in batch)
        progress(done / total)
    return nats


def _windows(story: int, targets: int, context: int) -> Iterator[_Window]:
    start, counted = 0, 0
    while counted < targets:
        stop = min(start + context, targets)
        yield _Window(story, start, stop, counted)
        start, counted = stop - context // 2, stop


def _batches(
    windows: list[_Window], context: int, at_once: int, multiple: int
) -> Iterator[list[_Window]]:
    """Windows of like length together, the longest first, so that little is padding."""
    batch: list[_Window] = []
    for window in sorted(windows, key=lambda window: window.start - window.stop):
        width = _padded(batch[0] if batch else window, context, multiple)
        if batch and (len(batch) + 1) * width > at_once:
            yield batch
            batch = []
        batch.append(window)
    if batch:
        yield batch


def _padded(window: _Window, context: int, multiple: int = _ROW_MULTIPLE) -> int:
    length = window.stop - window.start
    return min(-(-length // multiple) * multiple, context)
