"""Confidence intervals: by resampling (Efron, 1979) or, of shares, by Wilson (1927)."""

from dataclasses import dataclass
from statistics import NormalDist

import numpy as np

RESAMPLES = 2000
CONFIDENCE = 0.95
TAIL = (1 - CONFIDENCE) / 2
"""Of all, on each side of an interval."""
DEVIATIONS = NormalDist().inv_cdf(1 - TAIL)
"""Half of an interval, in standard deviations."""


@dataclass(frozen=True)
class Estimate:
    """A mean, and between what it would lie had other endings been drawn, about 95 times in 100."""

    mean: float
    low: float
    high: float


def resamples(count: int, seed: int) -> np.ndarray:
    """Places drawn from `count` with replacement: (RESAMPLES, count). Figures that share them are
    paired: the same endings are drawn for each."""
    return np.random.default_rng([seed, count]).integers(count, size=(RESAMPLES, count))


def estimate(values: np.ndarray, weights: np.ndarray, drawn: np.ndarray) -> Estimate:
    """The mean of values (N,) by weights (N,), and its percentile interval over `drawn`; of what is
    true or false (bool) and weighs the same, a share, Wilson's."""
    # By the kind of the measure: what happens to be 0 or 1 everywhere need not be a share.
    if values.dtype == bool and (weights == weights[0]).all():
        return share(float(values.mean()), len(values))
    low, high = np.quantile(means(values, weights, drawn), [TAIL, 1 - TAIL])
    return Estimate(float(values @ weights / weights.sum()), float(low), float(high))


def share(value: float, count: int) -> Estimate:
    """A share of `count`, and its interval by E. B. Wilson, "Probable inference, the law of
    succession, and statistical inference" (1927). Resampling says too little of what is rare, and
    nothing at all of what never happened."""
    z = DEVIATIONS
    scale = 1 + z**2 / count
    middle = (value + z**2 / (2 * count)) / scale
    margin = z / scale * (value * (1 - value) / count + z**2 / (4 * count**2)) ** 0.5
    low, high = (0.0 if value == 0 else middle - margin), (1.0 if value == 1 else middle + margin)
    return Estimate(value, low, high)


def difference(
    own: tuple[np.ndarray, np.ndarray], other: tuple[np.ndarray, np.ndarray], drawn: np.ndarray
) -> Estimate:
    """The mean of the first values by their weights, each (N,), less that of the second, and its
    percentile interval: the same places are drawn for both."""
    first, second = (float(values @ weights / weights.sum()) for values, weights in (own, other))
    low, high = np.quantile(means(*own, drawn) - means(*other, drawn), [TAIL, 1 - TAIL])
    return Estimate(first - second, float(low), float(high))


def means(values: np.ndarray, weights: np.ndarray, drawn: np.ndarray) -> np.ndarray:
    """The mean of values (N,) by weights (N,) in each drawing."""
    found: np.ndarray = (values * weights)[drawn].sum(axis=1) / weights[drawn].sum(axis=1)
    return found
