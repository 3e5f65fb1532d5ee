"""How far the preparation of a corpus is."""

from collections.abc import Callable
from dataclasses import dataclass


@dataclass(frozen=True)
class Progress:
    """What is being done now."""

    stage: str
    share: float | None = None
    """How much of it is done, 0 to 1, where that is known."""
    text_bytes: int = 0
    """UTF-8 bytes of text that this stage has gone through."""


Notify = Callable[[Progress], None]
"""Told of progress, each megabyte or so."""
