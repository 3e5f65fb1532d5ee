"""How far chance moves a figure of the study: the seeds, of which each arm has a few, together.

A figure y of arm a and seed b is taken to be arm_a + seed_b + noise, as a seed decides the same for
all arms, with noise of one size in all arms, near to normal. The size s is what least squares
leaves, over its degrees of freedom v: each training counts once, however many comparisons it
stands in. A difference of two arms over n shared seeds then has the standard error
sqrt(2 s² / n + e²), where e is that of drawing other stories, the same for all seeds; and the
interval is t(v) of those to both sides. As e has more degrees of freedom than v, that is rather too
wide than too narrow.
"""

import math
from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from mlx_rev.generate.bootstrap import CONFIDENCE


@dataclass(frozen=True)
class Noise:
    """What is left of figures when arm and seed are known."""

    variance: float
    """s², of the figure of one training."""
    degrees: int
    """v; with none, nothing is known of the noise."""

    def margin(self, seeds: int, variance: float) -> float:
        """How far from a difference over so many seeds its interval goes; `variance` is e²."""
        if not self.degrees:
            return math.inf
        return student_t(self.degrees) * math.sqrt(2 * self.variance / seeds + variance)


def noise_of(figures: Mapping[tuple[str, int], float]) -> Noise:
    """The noise in figures by arm and seed."""
    if not figures:
        return Noise(0.0, 0)
    arms = sorted({arm for arm, _ in figures})
    seeds = sorted({seed for _, seed in figures})
    design = [
        [float(own == arm) for arm in arms] + [float(own_seed == seed) for seed in seeds]
        for own, own_seed in figures
    ]
    values = np.array(list(figures.values()))
    fitted, _, rank, _ = np.linalg.lstsq(np.array(design), values, rcond=None)
    degrees = len(values) - int(rank)
    left = values - np.array(design) @ fitted
    return Noise(float(left @ left) / degrees if degrees else 0.0, degrees)


def student_t(degrees: int, share: float = CONFIDENCE) -> float:
    """Up to how far from 0 this share of Student's distribution lies, to both sides."""
    low, high = 0.0, 1.0
    while _within(high, degrees) < share:
        high *= 2
    for _ in range(60):
        middle = (low + high) / 2
        low, high = (middle, high) if _within(middle, degrees) < share else (low, middle)
    return high


def _within(t: float, degrees: int) -> float:
    """The share of Student's distribution from -t to t (Abramowitz and Stegun, 26.7.3 and .4)."""
    angle, odd = math.atan(t / math.sqrt(degrees)), degrees % 2
    sine, cosine = math.sin(angle), math.cos(angle)
    term, total = cosine if odd else 1.0, 0.0
    for power in range(odd, degrees - 1, 2):
        total += term
        term *= (power + 1) / (power + 2) * cosine**2
    return 2 / math.pi * (angle + sine * total) if odd else sine * total
