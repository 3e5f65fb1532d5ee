"""Stories in a terminal at a reader's pace: they grow before one's eyes, then stand in colour."""

import sys
import time
from collections.abc import Iterator, Sequence

from rich.console import Console

from mlx_rev.errors import ConfigError, DataError
from mlx_rev.generate.story import Story
from mlx_rev.repl.replies import Grows, Meets, Reply
from mlx_rev.repl.session import Session
from mlx_rev.repl.view import READING_COLUMNS, in_colour

_LONGEST_WAIT = 0.25
"""Seconds: meanwhile no key is read, not even Ctrl-C."""


def check_pace(pace: float) -> None:
    """Raise ConfigError for what is no number of words a second."""
    if not pace >= 0:
        raise ConfigError(f"--pace {pace}: expected 0 or more")


def watched(session: Session, replies: Iterator[Reply], pace: float) -> Iterator[Reply]:
    """The replies other than Grows, whose stories are drawn as they grow, by `pace` words a second
    or, where that is 0, as fast as they come, until another reply comes. Ctrl-C ends them."""
    slowly = paced(replies, pace)
    for reply in slowly:
        last: Reply | None = reply
        if isinstance(reply, Grows):
            from prompt_toolkit.input import create_input

            from mlx_rev.repl.growing import grow

            # Keys come from the terminal, where endings come from a pipe.
            last = grow(reply, slowly, session.stop, input=create_input(always_prefer_tty=True))
        if last is not None:
            yield last


def paced(replies: Iterator[Reply], pace: float) -> Iterator[Reply]:
    """The replies, stories growing by at most `pace` words a second; attempts at /begin, and where
    that is 0, as fast as they come.

    Those of stories that grow together count once.
    """
    begun: float | None = None
    before = 0
    for reply in replies:
        yield reply
        if not isinstance(reply, Grows):
            continue
        if pace and not (isinstance(reply, Meets) and not reply.chosen):
            growing = [story for story in reply.stories if story.finished is None]
            words = max((len(story.generated.split()) for story in growing), default=before)
            now = time.monotonic()
            if begun is None or words < before:  # The longest is done, the next one begins.
                begun = now - words / pace
            before = words
            time.sleep(min(max(0.0, begun + words / pace - now), _LONGEST_WAIT))


def show(stories: Sequence[Story], console: Console) -> None:
    """Print stories wrapped at words, what was given in colour, an empty line between two."""
    for number, story in enumerate(stories):
        if number:
            console.print()
        console.print(in_colour(story), width=min(console.width, READING_COLUMNS))


def piped_endings() -> list[str]:
    """The lines of standard input that are not empty; none where it is a terminal or closed.

    Raises DataError for what is not UTF-8.
    """
    if not sys.stdin or sys.stdin.isatty():
        return []
    try:
        text = sys.stdin.buffer.read().decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise DataError(f"standard input: byte {error.start} is not UTF-8") from error
    return [line for line in text.splitlines() if line.strip()]
