"""Confidence intervals by resampling (Efron, 1979)."""

from dataclasses import dataclass

import numpy as np

RESAMPLES = 2000
CONFIDENCE = 0.95


@dataclass(frozen=True)
class Estimate:
    """A mean, and between what it would lie had other endings been drawn, 95 times in 100."""

    mean: float
    low: float
    high: float


def resamples(count: int, seed: int) -> np.ndarray:
    """Places drawn from `count` with replacement: (RESAMPLES, count). Figures that share them are
    paired: the same endings are drawn for each."""
    return np.random.default_rng([seed, count]).integers(count, size=(RESAMPLES, count))


def estimate(values: np.ndarray, weights: np.ndarray, drawn: np.ndarray) -> Estimate:
    """The mean of values (N,) by weights (N,), and its percentile interval over `drawn`."""
    means = (values * weights)[drawn].sum(axis=1) / weights[drawn].sum(axis=1)
    tail = (1 - CONFIDENCE) / 2
    low, high = np.quantile(means, [tail, 1 - tail])
    return Estimate(float(values @ weights / weights.sum()), float(low), float(high))
