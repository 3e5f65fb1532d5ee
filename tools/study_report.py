"""docs/study.md and its pictures, from the results that are there."""

from pathlib import Path


def write_report(results: Path, out: Path) -> None:
    """Write them."""
