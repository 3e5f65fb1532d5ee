"""The terminal, while a dashboard has the whole of it.

Keys that are typed would be echoed into the picture, and scroll it. Who has been killed can put
nothing back, and who is suspended cannot either: their parent does.
"""

import os
import sys
import termios
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from typing import Any

_LEAVE = b"\x1b[?1049l\x1b[?25h"
"""Back from the alternate screen, and a cursor."""
_ENTER = b"\x1b[?1049h\x1b[?25l"


@contextmanager
def without_echo() -> Iterator[None]:
    """Keys that are typed show nothing, where standard input is a terminal."""
    before = _modes()
    if before is not None:
        silent = [*before]
        silent[3] &= ~termios.ECHO
        _set(silent)
    try:
        yield
    finally:
        _set(before)


class Terminal:
    """The terminal as it was when this was made, to go back to it."""

    def __init__(self) -> None:
        self._before = _modes()
        self._taken: list[Any] | None = None

    def give_back(self) -> None:
        """Put things back as they were, before somebody else uses the terminal."""
        self._taken = _modes()
        _write(_LEAVE)
        _set(self._before)

    def take_again(self) -> None:
        """Undo `give_back`; the picture itself comes with the next second."""
        _set(self._taken)
        _write(_ENTER)


def _modes() -> list[Any] | None:
    try:
        return termios.tcgetattr(sys.__stdin__.fileno()) if sys.__stdin__ else None
    except (OSError, ValueError, termios.error):
        return None


def _set(modes: list[Any] | None) -> None:
    if modes is not None and sys.__stdin__:
        with suppress(OSError, ValueError, termios.error):
            termios.tcsetattr(sys.__stdin__.fileno(), termios.TCSANOW, modes)


def _write(control: bytes) -> None:
    with suppress(OSError):
        os.write(1, control)
