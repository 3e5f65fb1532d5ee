"""Cross-entropy together with the output projection, a chunk of rows at a time.

The logits are the largest array of a step by far. Here they exist for one chunk only, and the
gradients by hidden and weight are taken while they do, so that nothing is kept or computed twice.
"""

import math
from typing import NamedTuple

import mlx.core as mx

from mlx_rev.cpu.exp import exp_neg

_LOGITS_AT_ONCE = 4_000_000
"""Logits that exist at once, unless 256 rows have more."""


def token_nats(hidden: mx.array, weight: mx.array, targets: mx.array) -> mx.array:
    """`Ops.token_nats`: the surprise (N,) of targets (N,). No gradients are kept."""
    targets = mx.clip(targets, 0, len(weight) - 1)
    parts = []
    for start, stop in _chunks(len(hidden), len(weight)):
        logits, largest, total = _unnormalised(hidden[start:stop], weight)[:3]
        own = mx.take_along_axis(logits, targets[None, start:stop], axis=0)[0]
        parts.append(mx.log(total) + largest - own)
    return mx.concatenate(parts)


class LinearLoss(NamedTuple):
    """A loss with its gradients, and the arrays on the way to these, a chunk of rows each."""

    loss: mx.array
    by_hidden: mx.array
    by_weight: mx.array
    chunks: list[list[mx.array]]


def linear_cross_entropy(
    hidden: mx.array, weight: mx.array, targets: mx.array, weights: mx.array
) -> LinearLoss:
    """The float32 scalar sum(weights · nats), nats as in `token_nats`, and its gradients.

    hidden is (N, D), weight (vocabulary, D), targets and weights (N,). Rows of weight 0 are
    ignored, whatever their target. Evaluating `chunks` one after another keeps only one of them in
    memory.
    """
    hidden, weight = mx.stop_gradient(hidden), mx.stop_gradient(weight)
    targets = mx.where(weights == 0, 0, targets)
    each, chosen = weights[:, None].astype(hidden.dtype), weight[targets]
    loss = -mx.sum(weights * mx.sum((hidden * chosen).astype(mx.float32), axis=-1))
    by_weight = mx.zeros(weight.shape, weight.dtype).at[targets].add(-each * hidden)
    by_hidden: list[mx.array] = []
    chunks: list[list[mx.array]] = []
    for start, stop in _chunks(len(hidden), len(weight)):
        rows = hidden[start:stop]
        largest, total, unnormalised = _unnormalised(rows, weight)[1:]
        loss = loss + mx.sum(weights[start:stop] * (mx.log(total) + largest))
        # What normalises goes to the few numbers of a row: no second array of the logits' size.
        share = (weights[start:stop] / total)[:, None].astype(hidden.dtype)
        unnormalised = unnormalised.astype(hidden.dtype)
        by_hidden.append((unnormalised.T @ weight) * share)
        by_weight = mx.addmm(by_weight, unnormalised, rows * share)
        chunks.append([loss, by_hidden[-1], by_weight])
    return LinearLoss(loss, mx.concatenate(by_hidden) - each * chosen, by_weight, chunks)


def _chunks(rows: int, vocabulary: int) -> list[tuple[int, int]]:
    size = max(256, _LOGITS_AT_ONCE // vocabulary)
    count = max(1, math.ceil(rows / size))
    size = math.ceil(rows / count)
    return [(start, min(start + size, rows)) for start in range(0, rows, size)]


def _unnormalised(rows: mx.array, weight: mx.array) -> tuple[mx.array, ...]:
    """Logits (vocabulary, n), their maxima (n,), the sums (n,) of the unnormalised probabilities,
    and these (vocabulary, n)."""
    logits = (weight @ rows.T).astype(mx.float32)
    largest = mx.max(logits, axis=0)
    unnormalised = exp_neg(largest - logits)
    return logits, largest, mx.sum(unnormalised, axis=0), unnormalised
