"""The errors that are shown to a person: one line, no traceback, exit code 2."""

import difflib
from collections.abc import Sequence


class RevError(Exception):
    """Something the user can put right; the message names what was found and what was expected."""


def in_a_line(error: RevError | OSError) -> str:
    """What to tell the person; for an error of the system, the file and the reason."""
    if not isinstance(error, OSError):
        return str(error)
    reason = error.strerror or str(error)
    return f"{error.filename}: {reason}" if error.filename else reason


def nearest(given: str, known: Sequence[str]) -> str:
    """Which of the known names was probably meant, as a question; "" where none is near."""
    close = difflib.get_close_matches(given, known, n=1, cutoff=0.6)
    return f"did you mean {close[0]}?" if close else ""


class ConfigError(RevError):
    """An option, preset or configuration file that cannot be used."""


class DataError(RevError):
    """A corpus, text, shard or tokenizer that cannot be used."""


class FormatError(RevError):
    """A weight file that cannot be read or written."""


class CheckpointError(RevError):
    """A checkpoint that is missing, damaged or belongs to another run."""


class TrainingError(RevError):
    """A training run that had to stop, with its last good checkpoint kept."""
