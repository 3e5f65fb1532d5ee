"""The errors that are shown to a person: one line, no traceback, exit code 2."""

import difflib
import sys
import warnings
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from typing import TextIO


class RevError(Exception):
    """Something the user can put right; the message names what was found and what was expected."""

    def __str__(self) -> str:
        """The message in one line, whatever it quotes."""
        return " ".join(super().__str__().splitlines())


def in_a_line(error: RevError | OSError) -> str:
    """What to tell the person; for an error of the system, the file and the reason."""
    if not isinstance(error, OSError):
        return str(error)
    reason = error.strerror or str(error)
    return f"{error.filename}: {reason}" if error.filename else reason


@contextmanager
def warning_in_a_line() -> Iterator[None]:
    """Let warnings of this program be lines on standard error, without a place in its source."""
    with warnings.catch_warnings():
        usual = warnings.showwarning

        def show(
            message: Warning | str,
            category: type[Warning],
            filename: str,
            lineno: int,
            file: TextIO | None = None,
            line: str | None = None,
        ) -> None:
            if category is RuntimeWarning and str(message).startswith("mlx-rev: "):
                sys.stderr.write(f"{message}\n")
            else:
                usual(message, category, filename, lineno, file, line)

        warnings.showwarning = show
        yield


def nearest(given: str, known: Iterable[str], otherwise: str, mark: str = "") -> str:
    """Which of the known names was probably meant, as a question, with a mark in front of it;
    `otherwise` where none is near."""
    close = difflib.get_close_matches(given, list(known), n=1, cutoff=0.6)
    return f"did you mean {mark}{close[0]}?" if close else otherwise


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
