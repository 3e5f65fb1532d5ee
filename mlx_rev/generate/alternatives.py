"""What else could have stood at a place of a story."""

from dataclasses import dataclass

import mlx.core as mx
import numpy as np

from mlx_rev.config import SampleConfig
from mlx_rev.generate.decode import begin_stories, kept_prompt, never_written
from mlx_rev.generate.sampler import unnormalised
from mlx_rev.generate.teller import Teller
from mlx_rev.model.cache import new_cache

LONGEST_WORD = 12
"""Tokens in which a word is finished; no ordinary one has more."""


@dataclass(frozen=True)
class Alternative:
    """What the model would write next to a text."""

    generated: str
    """Its text, with the gap between it and what it is written next to; nothing where the story
    would end there."""
    text: str
    """The two together."""
    probability: float
    """Of its first token."""


def alternatives(teller: Teller, beside: str, count: int) -> list[Alternative]:
    """The `count` likeliest next tokens where a text stands, the likeliest first.

    Where the order allows no more letters next to a word once it is a prompt, a token that begins a
    word is followed by the likeliest that finish it, so that each alternative can be one. `beside`
    is an ending or, for a forward model, an opening. Raises DataError for what cannot be encoded.
    """
    model, codec = teller.model, teller.codec
    [begun] = begin_stories(model, codec, [beside], SampleConfig(temperature=0))
    forbidden = np.array(codec.joins_prompt(beside, begun.spelling)) | never_written(codec)
    logits = _next_logits(teller, begun.spelling)
    weights = unnormalised(np.where(forbidden, -np.inf, logits)).astype(np.float64)
    probabilities = weights / weights.sum()
    found: dict[str, Alternative] = {}
    # Some are no more than gaps, or one word spelled in two ways.
    for token in map(int, np.argsort(-probabilities, kind="stable")[: 4 * count]):
        generated = _whole(teller, beside, begun.spelling, token)
        if probabilities[token] == 0 or not (generated.strip() or token in codec.ends):
            continue
        text = generated + beside if begun.leftwards else beside + generated
        alternative = Alternative(generated, text, float(probabilities[token]))
        found.setdefault(generated, alternative)
        if len(found) == count:
            break
    return list(found.values())


def _whole(teller: Teller, beside: str, spelling: tuple[int, ...], token: int) -> str:
    """What a token spells, with the likeliest that finish its word or its character, or that come
    after it if it is a gap."""
    codec, growth = teller.codec, teller.codec.growth(beside, spelling)
    pieces = codec.tokenizer.piece_bytes
    growth.push(pieces[token])
    if token in codec.ends:
        growth.finish()
        return growth.text
    read = (*spelling, token)
    for _ in range(LONGEST_WORD):
        likeliest = int(_next_logits(teller, read).argmax())
        unfinished = (
            not growth.text.strip() or (codec.joins_prompt(growth.text + beside, read)[likeliest])
        )
        if likeliest in codec.ends or not unfinished:
            break
        growth.push(pieces[likeliest])
        read = (*read, likeliest)
    return growth.text


def _next_logits(teller: Teller, ids: tuple[int, ...]) -> np.ndarray:
    """The logits (V,) after some ids, the boundary first."""
    read = kept_prompt(ids, teller.model.config.context)
    cache = new_cache(teller.model.config, 1, teller.model.config.context)
    row: np.ndarray = teller.reader(mx.array([read]), cache, mx.array([[0]]))[0]
    return row
