"""Write stories token by token: one, or a batch of them."""

import time
from collections.abc import Iterator, Sequence

import mlx.core as mx
import numpy as np

from mlx_rev.backend import PlainReader, Reader
from mlx_rev.config import SampleConfig, validate
from mlx_rev.generate import sampler
from mlx_rev.generate.story import Story
from mlx_rev.model.cache import chosen_rows, new_cache
from mlx_rev.model.llama import Llama
from mlx_rev.model.score import token_nats
from mlx_rev.text.codec import StoryCodec
from mlx_rev.text.words import BYTE_ORDER_MARK


def kept_prompt(spelling: Sequence[int], context: int) -> tuple[int, ...]:
    """The part of a prompt that is read: all of it or, if it is longer than half the context, the
    boundary and the last tokens, those next to which the story grows."""
    room = context // 2
    if len(spelling) <= room:
        return tuple(spelling)
    return (spelling[0], *spelling[len(spelling) - room + 1 :])


def begin_stories(
    model: Llama, codec: StoryCodec, endings: Sequence[str], config: SampleConfig
) -> list[Story]:
    """A story for each ending, no token written yet; story i has the seed `config.seed` + i.

    A byte-order mark is no part of an ending. One that several stories share is encoded once.
    Raises ConfigError for impossible settings, and DataError for an ending that cannot be encoded.
    """
    validate(config)
    endings = [ending.removeprefix(BYTE_ORDER_MARK) for ending in endings]
    prompts = {ending: codec.prompt(ending).spellings for ending in dict.fromkeys(endings)}
    nats = {ending: _prompt_nats(model, spellings) for ending, spellings in prompts.items()}
    stories = []
    for index, ending in enumerate(endings):
        seed = config.seed + index
        whole = prompts[ending][_choose_spelling(nats[ending], config.temperature, seed)]
        kept = kept_prompt(whole, model.config.context)
        stories.append(
            Story(
                prompt=ending,
                spelling=kept,
                left_out=len(whole) - len(kept),
                leftwards=codec.order.grows_leftwards,
                growth=codec.growth(ending, whole),
                index=index,
                seed=seed,
            )
        )
    return stories


def write_stories(
    model: Llama,
    codec: StoryCodec,
    stories: Sequence[Story],
    config: SampleConfig,
    reader: Reader | None = None,
) -> Iterator[Story]:
    """Write stories that `begin_stories` began, all at once: each is yielded whenever it has grown
    by a token.

    A story depends only on its prompt and its seed, not on what is written beside it (except for
    rounding). Stories with the same prompt read it once. A story ends at the boundary token, or
    after `max_tokens`, or when its own context is full: the padding in front of a short prompt is
    none of it. `reader` replaces `model.next_logits`.
    """
    if not stories:
        return
    read = reader or PlainReader(model)
    started = time.perf_counter()
    longest = max(len(story.spelling) for story in stories)
    steps = max(_limit(story, model.config.context, config) for story in stories)
    prompts, prompt_of = _different(stories)
    padding = mx.array([[longest - len(prompt)] for prompt in prompts])
    tokens = mx.array(
        [[codec.boundary] * (longest - len(prompt)) + [*prompt] for prompt in prompts]
    )
    cache = new_cache(model.config, len(prompts), longest + max(0, steps))
    never = never_written(codec)
    joins = [codec.joins_prompt(story.prompt, story.spelling) for story in stories]
    forbidden = np.array(joins) | never
    rows = [(story, np.random.default_rng(story.seed)) for story in stories]
    recent = _recent(stories)
    pieces = codec.tokenizer.piece_bytes
    for step in range(steps):
        logits = read(tokens, cache, padding)
        if step == 0 and len(prompts) < len(stories):
            logits = logits[prompt_of]
            cache, padding = chosen_rows(cache, prompt_of), padding[mx.array(prompt_of)]
        random = [source for _, source in rows]
        chosen = sampler.sample(np.where(forbidden, -np.inf, logits), recent, random, config)
        surprises = sampler.surprise(logits, chosen)
        for row, (story, _) in enumerate(rows):
            if story.finished is not None:
                continue
            token = int(chosen[row])
            story.grow(token, pieces[token], float(surprises[row]))
            story.seconds = time.perf_counter() - started
            if token in codec.ends:
                story.stop("boundary")
            elif step + 1 == _limit(story, model.config.context, config):
                story.stop("length")
            handed_over = time.perf_counter()
            yield story
            started += time.perf_counter() - handed_over
        recent = np.concatenate([recent[:, 1:], chosen[:, None]], axis=1)
        left = [row for row, (story, _) in enumerate(rows) if story.finished is None]
        if not left:
            return
        if 4 * len(left) <= 3 * len(rows):  # what is done costs as much as what grows
            rows, recent, chosen = [rows[row] for row in left], recent[left], chosen[left]
            cache, padding = chosen_rows(cache, left), padding[mx.array(left)]
        tokens = mx.array(chosen[:, None].astype(np.int32))
        forbidden = never[None]


def _limit(story: Story, context: int, config: SampleConfig) -> int:
    """How many tokens a story may have."""
    room = context - len(story.spelling)
    return min(room, config.max_tokens) if config.max_tokens else room


def _different(stories: Sequence[Story]) -> tuple[list[tuple[int, ...]], list[int]]:
    """The different spellings of prompts, and for each story which of them is its own."""
    places: dict[tuple[int, ...], int] = {}
    own = [places.setdefault(story.spelling, len(places)) for story in stories]
    return list(places), own


def _recent(stories: Sequence[Story]) -> np.ndarray:
    """The last ids of each prompt, for the repetition penalty: (B, REPETITION_WINDOW), padded with
    -1 in front."""
    recent = np.full((len(stories), sampler.REPETITION_WINDOW), -1)
    for row, story in zip(recent, stories, strict=True):
        tail = story.spelling[-sampler.REPETITION_WINDOW :]
        row[len(row) - len(tail) :] = tail
    return recent


def _prompt_nats(model: Llama, spellings: Sequence[Sequence[int]]) -> np.ndarray:
    """How much each spelling of a prompt surprises the model; zero if there is only one."""
    if len(spellings) == 1:
        return np.zeros(1)
    kept = [np.array(kept_prompt(spelling, model.config.context)) for spelling in spellings]
    return np.array([row.sum() for row in token_nats(model, kept)])


def _choose_spelling(nats: np.ndarray, temperature: float, seed: int) -> int:
    """Which of the prompt's spellings to use: they exclude one another, so their probabilities
    under the model are the odds."""
    if len(nats) == 1:
        return 0
    if temperature == 0:
        return int(np.argmin(nats))
    odds = np.exp((nats.min() - nats) / temperature)
    generator = np.random.default_rng([seed, len(odds)])
    return int(generator.choice(len(odds), p=odds / odds.sum()))


def never_written(codec: StoryCodec) -> np.ndarray:
    """Ids that add no text and end no story, and the unknown piece: (vocabulary,)."""
    never = np.array([not piece for piece in codec.tokenizer.piece_bytes])
    if codec.tokenizer.unknown is not None:
        never[codec.tokenizer.unknown] = True
    never[[*codec.ends]] = False
    return never
