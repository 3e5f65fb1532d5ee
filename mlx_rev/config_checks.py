"""Checks of options' values that several dataclasses share: what is impossible, in words."""

import math
import re

LARGEST_COUNT = 1 << 53
"""Whatever is counted (steps, rows, tokens) is below this."""


def not_finite(config: object) -> list[str]:
    """The numbers that are infinite or not a number."""
    return [
        f"{name} is {value}, expected a finite number"
        for name, value in vars(config).items()
        if isinstance(value, float) and not math.isfinite(value)
    ]


def not_text(config: object) -> list[str]:
    """The texts that are not UTF-8: a run's config.toml is, as names of files need not be."""
    return [
        f"{name} is {value!r}, which is not UTF-8; give one that is"
        for name, value in vars(config).items()
        if isinstance(value, str) and re.search("[\ud800-\udfff]", value)
    ]


def not_positive(config: object, *names: str) -> list[str]:
    """The named numbers that are not more than 0."""
    return [
        f"{name} is {getattr(config, name)}, expected more than 0"
        for name in names
        if not getattr(config, name) > 0
    ]


def too_many(config: object) -> list[str]:
    """The counts that no float64 could hold; a seed is no count."""
    return [
        f"{name} is {value}, expected under 2^53"
        for name, value in vars(config).items()
        if isinstance(value, int) and name != "seed" and value >= LARGEST_COUNT
    ]
