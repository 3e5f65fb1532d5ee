"""Short children's stories made from a table of plots, and a judge of their consistency.

They are the corpus of a first run without any download, and the ground truth of tests: because
the table that generates the stories can also parse them, `check` can say of any text, a model's
included, whether who, what and where agree from the ending back to the beginning.
"""

from __future__ import annotations

from mlx_rev.data.bundled.checker import check
from mlx_rev.data.bundled.generator import (
    SPLITS,
    TRAIN_COUNT,
    VALID_COUNT,
    Story,
    fingerprint,
    is_held_out,
    stories,
)

__all__ = [
    "SPLITS",
    "TRAIN_COUNT",
    "VALID_COUNT",
    "Story",
    "check",
    "fingerprint",
    "is_held_out",
    "stories",
]
