"""From logits to a token, in NumPy: on a CPU its exp is ten times faster than MLX's, and on a GPU
with unified memory the logits need no copy.

Logits and weights are (B, vocabulary), float32. Weights are unnormalised probabilities. A token
that may not be chosen has the logit -inf and the weight 0.
"""

from collections.abc import Sequence

import numpy as np

from mlx_rev.config import SampleConfig

REPETITION_WINDOW = 64
"""Tokens that the repetition penalty looks back on."""
COLDEST = 1e-6
"""Below this temperature only the likeliest token remains, and float32 would overflow."""


def penalise(logits: np.ndarray, recent: np.ndarray, penalty: float) -> np.ndarray:
    """Make the tokens of `recent` (B, n) less likely; ids below 0 stand for none.

    Keskar et al., "CTRL" (2019): positive logits are divided by the penalty, negative multiplied.
    """
    if penalty == 1:
        return logits
    rows, places = np.nonzero(recent >= 0)
    repeated = recent[rows, places]
    penalised, own = logits.copy(), logits[rows, repeated]
    penalised[rows, repeated] = np.where(own > 0, own / penalty, own * penalty)
    return penalised


def unnormalised(logits: np.ndarray) -> np.ndarray:
    """The unnormalised probabilities of logits, the likeliest token's being 1."""
    weights: np.ndarray = np.exp(logits - logits.max(axis=-1, keepdims=True))
    return weights


def keep_top_k(weights: np.ndarray, k: int) -> np.ndarray:
    """Only the k likeliest tokens, and those as likely as the last of them."""
    size = weights.shape[-1]
    if k == 0 or k >= size:
        return weights
    threshold = np.partition(weights, size - k, axis=-1)[:, size - k, None]
    return np.where(weights >= threshold, weights, np.float32(0))


def keep_min_p(weights: np.ndarray, p: float) -> np.ndarray:
    """Tokens at least p times as likely as the likeliest (Nguyen et al., 2024)."""
    if p == 0:
        return weights
    return np.where(weights >= p * weights.max(axis=-1, keepdims=True), weights, np.float32(0))


def draw(
    weights: np.ndarray, candidates: np.ndarray, top_p: float, random: np.random.Generator
) -> int:
    """A token of one row (vocabulary,), drawn by its weight among `candidates` (weights too) that
    are in the nucleus: the smallest set of likeliest tokens that has `top_p` of all weight
    (Holtzman et al., 2020).

    The nucleus is never listed, so nothing is sorted. A token is drawn from all candidates; it is
    in the nucleus if those likelier than it have less than `top_p` of the weight. If it is not,
    neither are the less likely ones, and one is drawn from the rest: what is accepted in the end
    has the nucleus's own distribution.
    """
    total = weights.sum(dtype=np.float64)
    while True:
        cumulative = np.cumsum(candidates, dtype=np.float64)
        # Kept below the last sum, to which the product may be rounded up.
        point = min(random.random() * cumulative[-1], np.nextafter(cumulative[-1], 0))
        token = int(np.searchsorted(cumulative, point, side="right"))
        likelier = weights > weights[token]
        if top_p >= 1 or weights[likelier].sum(dtype=np.float64) < top_p * total:
            return token
        candidates = np.where(likelier, candidates, np.float32(0))


def sample(
    logits: np.ndarray,
    recent: np.ndarray,
    random: Sequence[np.random.Generator],
    config: SampleConfig,
) -> np.ndarray:
    """The next token of each row, (B,): penalty, temperature, top-k, top-p, min-p, choice.

    Each row draws from its own generator.
    """
    logits = penalise(logits, recent, config.repetition_penalty)
    if config.temperature < COLDEST:
        likeliest: np.ndarray = logits.argmax(axis=-1)
        return likeliest
    weights = keep_top_k(unnormalised(logits / np.float32(config.temperature)), config.top_k)
    candidates = keep_min_p(weights, config.min_p)
    rows = zip(weights, candidates, random, strict=True)
    return np.array([draw(own, left, config.top_p, source) for own, left, source in rows])


def surprise(logits: np.ndarray, chosen: np.ndarray) -> np.ndarray:
    """-log2 of the probability of the chosen tokens (B,), in bits: (B,)."""
    below = logits.max(axis=-1) - np.take_along_axis(logits, chosen[:, None], axis=-1)[:, 0]
    total = unnormalised(logits).sum(axis=-1, dtype=np.float64)
    bits: np.ndarray = below.astype(np.float64) / np.log(2) + np.log2(total)
    return bits
