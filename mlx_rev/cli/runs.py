"""`mlx-rev runs`."""

from collections.abc import Sequence
from dataclasses import dataclass


@dataclass(frozen=True, kw_only=True)
class RunsCommand:
    """List."""


def main(arguments: Sequence[str], program: str) -> int:
    return 0
