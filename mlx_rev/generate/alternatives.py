"""What else could have stood at a place of a story."""

from dataclasses import dataclass

import mlx.core as mx
import numpy as np

from mlx_rev.config import SampleConfig
from mlx_rev.generate.decode import begin_stories, kept_prompt
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
    pieces = codec.tokenizer.piece_bytes
    writable = np.array([bool(piece) for piece in pieces])
    writable[[0, codec.boundary]] = False, True
    joins = np.array(codec.joins_prompt(beside, begun.spelling))
    logits = _next_logits(teller, begun.spelling)
    weights = unnormalised(np.where(writable & ~joins, logits, -np.inf)).astype(np.float64)
    probabilities = weights / weights.sum()
    found: dict[str, Alternative] = {}
    for token in np.argsort(-probabilities, kind="stable")[:count]:
        tokens = (
            (int(token),)
            if token == codec.boundary
            else _finished(teller, beside, begun.spelling, int(token))
        )
        growth = codec.growth(beside, begun.spelling)
        for each in tokens:
            growth.push(pieces[each])
        if token == codec.boundary:
            growth.finish()
        text = growth.text + beside if begun.leftwards else beside + growth.text
        alternative = Alternative(growth.text, text, float(probabilities[token]))
        if alternative.generated.strip() or token == codec.boundary:
            found.setdefault(alternative.generated, alternative)
    return list(found.values())


def _finished(
    teller: Teller, beside: str, spelling: tuple[int, ...], token: int
) -> tuple[int, ...]:
    """A token with the likeliest ones that finish its word or its character, or follow a gap."""
    codec = teller.codec
    tokens: tuple[int, ...] = (token,)
    for _ in range(LONGEST_WORD):
        growth = codec.growth(beside, spelling)
        for each in tokens:
            growth.push(codec.tokenizer.piece_bytes[each])
        likeliest = int(_next_logits(teller, spelling + tokens).argmax())
        blank = not growth.text.strip()
        if likeliest == codec.boundary or not (
            blank or codec.joins_prompt(growth.text + beside, spelling + tokens)[likeliest]
        ):
            return tokens
        tokens = (*tokens, likeliest)
    return tokens


def _next_logits(teller: Teller, ids: tuple[int, ...]) -> np.ndarray:
    """The logits (V,) after some ids, the boundary first."""
    read = kept_prompt(ids, teller.model.config.context)
    cache = new_cache(teller.model.config, 1, teller.model.config.context)
    logits = teller.model.next_logits(mx.array([read]), cache, mx.array([[0]]))
    row: np.ndarray = np.array(logits)[0]
    return row
