"""Write stories token by token: one, or a batch of them, as an iterator of events."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Literal

import mlx.core as mx
import numpy as np

from mlx_rev.backend import Reader
from mlx_rev.config import SampleConfig, validate
from mlx_rev.generate import sampler
from mlx_rev.model.cache import new_cache
from mlx_rev.model.llama import Llama
from mlx_rev.model.score import token_nats
from mlx_rev.text.codec import Prompt, StoryCodec
from mlx_rev.text.stream import StoryStream
from mlx_rev.text.tokenizer import BOUNDARY

Ending = Literal["boundary", "length"]


@dataclass(frozen=True)
class StoryEvent:
    """A story has grown by one token, or is done."""

    index: int
    """Which story of the batch."""
    token: int
    """The new token; the boundary when the story's other end is reached."""
    surprise: float
    """Of the token under the model, before temperature and masks, in bits."""
    story: str
    """The whole story so far in reading order, the prompt as typed in its place."""
    generated: str
    """The story without the prompt."""
    finished: Ending | None
    """boundary: the story is whole; length: there was no more room."""


@dataclass(frozen=True)
class _Start:
    """A prompt made ready: the spelling chosen, cut to what fits."""

    spelling: tuple[int, ...]
    stream: StoryStream
    blocked: np.ndarray
    """(vocabulary,) bool: what may not come first."""


def kept_prompt(spelling: Sequence[int], context: int) -> tuple[int, ...]:
    """The part of a prompt that is read: all of it, or where it is longer than half the context,
    the boundary and the last tokens, those next to which the story grows."""
    room = context // 2
    if len(spelling) <= room:
        return tuple(spelling)
    return (spelling[0], *spelling[len(spelling) - room + 1 :])


def write_stories(
    model: Llama,
    codec: StoryCodec,
    prompts: Sequence[Prompt],
    config: SampleConfig,
    reader: Reader | None = None,
) -> Iterator[StoryEvent]:
    """Write a story for each prompt, all at once; events come in the order in which tokens do.

    Story i depends on its prompt and on seed + i only, not on what is written beside it (but for
    rounding). A story ends at the boundary token, or after `max_tokens`, or when the context is
    full. `reader` stands in for `model.next_logits`. Raises ConfigError for settings that are
    impossible.
    """
    read = model.next_logits if reader is None else reader
    validate(config)
    starts = [
        _start(model, codec, prompt, config, config.seed + index)
        for index, prompt in enumerate(prompts)
    ]
    context = model.config.context
    longest = max(len(start.spelling) for start in starts)
    room = context - longest
    steps = min(room, config.max_tokens) if config.max_tokens else room
    padding = mx.array([[longest - len(start.spelling)] for start in starts])
    tokens = mx.array(
        [[BOUNDARY] * (longest - len(start.spelling)) + [*start.spelling] for start in starts]
    )
    never = _never_written(codec)
    forbidden = np.stack([start.blocked | never for start in starts])
    random = [np.random.default_rng(config.seed + index) for index in range(len(starts))]
    cache = new_cache(model.config, len(starts), context)
    recent = np.full((len(starts), sampler.REPETITION_WINDOW), -1)
    for row, start in enumerate(starts):
        tail = start.spelling[-sampler.REPETITION_WINDOW :]
        recent[row, len(recent[row]) - len(tail) :] = tail
    running = set(range(len(starts)))
    for step in range(steps):
        scores = np.array(read(tokens, cache, padding))
        chosen = sampler.sample(np.where(forbidden, -np.inf, scores), recent, random, config)
        surprises = sampler.surprise(scores, chosen)
        for index in sorted(running):
            event = _event(
                index,
                starts[index].stream,
                int(chosen[index]),
                float(surprises[index]),
                last=step == steps - 1,
            )
            if event.finished:
                running.discard(index)
            yield event
        if not running:
            return
        recent = np.concatenate([recent[:, 1:], chosen[:, None]], axis=1)
        tokens = mx.array(chosen[:, None])
        forbidden = never[None]


def _start(
    model: Llama, codec: StoryCodec, prompt: Prompt, config: SampleConfig, seed: int
) -> _Start:
    spelling = prompt.spellings[_choose_spelling(model, prompt, config.temperature, seed)]
    blocked = np.array(codec.joins_prompt(prompt, spelling))
    stream = StoryStream(codec, prompt, spelling)
    return _Start(kept_prompt(spelling, model.config.context), stream, blocked)


def _choose_spelling(model: Llama, prompt: Prompt, temperature: float, seed: int) -> int:
    """Which of the prompt's spellings to take: they exclude each other, so their probabilities
    under the model are the odds."""
    if len(prompt.spellings) == 1:
        return 0
    kept = [np.array(kept_prompt(spelling, model.config.context)) for spelling in prompt.spellings]
    nats = np.array([row.sum() for row in token_nats(model, kept)])
    if temperature == 0:
        return int(np.argmin(nats))
    odds = np.exp((nats.min() - nats) / temperature)
    generator = np.random.default_rng([seed, len(odds)])
    return int(generator.choice(len(odds), p=odds / odds.sum()))


def _event(
    index: int, stream: StoryStream, token: int, surprise: float, *, last: bool
) -> StoryEvent:
    finished: Ending | None = "length" if last else None
    if token == BOUNDARY:
        finished = "boundary"
        stream.finish()
    else:
        stream.push(token)
    return StoryEvent(index, token, surprise, stream.story, stream.generated, finished)


def _never_written(codec: StoryCodec) -> np.ndarray:
    """Ids that add no text and are not the boundary, and the unknown piece: (vocabulary,)."""
    never = np.array([not piece for piece in codec.tokenizer.piece_bytes])
    never[0] = True
    never[BOUNDARY] = False
    return never
