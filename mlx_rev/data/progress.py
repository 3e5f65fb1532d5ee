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


TellShare = Callable[[float], None]
"""Told the share that is done, 0 to 1."""
TellStage = Callable[[str, float], None]
"""Told what is being done and the share of it that is done, 0 to 1."""
Notify = Callable[[Progress], None]
"""Told of progress, each megabyte or so."""


def telling(stage: str, notify: Notify) -> Callable[[float, int], None]:
    """Tells that a stage begins and, from then on, of its share and of more bytes of text."""
    total = 0
    notify(Progress(stage))

    def tell(share: float, text_bytes: int) -> None:
        nonlocal total
        total += text_bytes
        notify(Progress(stage, share, total))

    return tell
