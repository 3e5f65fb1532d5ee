"""From logits to a token: small pure functions over a batch, (B, vocabulary).

A token that may not be chosen has the logit -inf.
"""

import mlx.core as mx

from mlx_rev.config import SampleConfig

REPETITION_WINDOW = 64
"""Tokens that the repetition penalty looks back on."""


def penalise(logits: mx.array, recent: mx.array, penalty: float) -> mx.array:
    """Make the tokens of `recent` (B, n) less likely; ids below 0 stand for none.

    Keskar et al., "CTRL" (2019): positive logits are divided by the penalty, negative multiplied.
    """
    if penalty == 1 or recent.shape[1] == 0:
        return logits
    vocabulary = mx.arange(logits.shape[-1])
    repeated = (recent[:, :, None] == vocabulary).any(axis=1)
    penalised = mx.where(logits > 0, logits / penalty, logits * penalty)
    return mx.where(repeated, penalised, logits)


def keep_top_k(logits: mx.array, k: int) -> mx.array:
    """Only the k likeliest tokens; equals of the last one stay too."""
    if k == 0 or k >= logits.shape[-1]:
        return logits
    threshold = mx.min(mx.topk(logits, k, axis=-1), axis=-1, keepdims=True)
    return mx.where(logits >= threshold, logits, -mx.inf)


def keep_top_p(logits: mx.array, p: float) -> mx.array:
    """The fewest likeliest tokens whose probabilities reach p (Holtzman et al., 2020)."""
    if p >= 1:
        return logits
    probabilities = mx.softmax(logits, axis=-1)
    descending = -mx.sort(-probabilities, axis=-1)
    before = mx.cumsum(descending, axis=-1) - descending
    threshold = mx.min(mx.where(before < p, descending, mx.inf), axis=-1, keepdims=True)
    return mx.where(probabilities >= threshold, logits, -mx.inf)


def keep_min_p(logits: mx.array, p: float) -> mx.array:
    """Tokens at least p times as likely as the likeliest (Nguyen et al., 2024)."""
    if p == 0:
        return logits
    best = mx.max(logits, axis=-1, keepdims=True)
    return mx.where(logits >= best + mx.log(mx.array(p)), logits, -mx.inf)


def choose(logits: mx.array, uniform: mx.array) -> mx.array:
    """One token a row, (B,), by inverting the distribution at `uniform` (B,), in [0, 1)."""
    cumulative = mx.cumsum(mx.softmax(logits, axis=-1), axis=-1)
    reached = cumulative > uniform[:, None] * cumulative[:, -1:]
    return mx.argmax(reached, axis=-1)


def sample(logits: mx.array, recent: mx.array, uniform: mx.array, config: SampleConfig) -> mx.array:
    """The next token of each row, (B,): penalty, temperature, top-k, top-p, min-p, choice."""
    logits = penalise(logits, recent, config.repetition_penalty)
    if config.temperature == 0:
        return mx.argmax(logits, axis=-1)
    logits = logits / config.temperature
    logits = keep_min_p(keep_top_p(keep_top_k(logits, config.top_k), config.top_p), config.min_p)
    return choose(logits, uniform)
