"""A terminal that was taken is given back as it was."""

import os
import termios
from collections.abc import Iterator
from contextlib import suppress

import pytest

from mlx_rev.train import terminal
from mlx_rev.train.terminal import Terminal, without_echo


@pytest.fixture
def keyboard(monkeypatch: pytest.MonkeyPatch) -> Iterator[int]:
    """A terminal that stands for the one at standard input."""
    ours, theirs = os.openpty()
    with open(theirs) as stream:
        monkeypatch.setattr("sys.__stdin__", stream)
        yield theirs
    os.close(ours)


def echoes(keyboard: int) -> bool:
    return bool(termios.tcgetattr(keyboard)[3] & termios.ECHO)


def test_keys_show_nothing_meanwhile(keyboard: int) -> None:
    with suppress(KeyError), without_echo():
        assert not echoes(keyboard)
        raise KeyError
    assert echoes(keyboard)


def test_a_parent_gives_it_back_and_takes_it_again(
    keyboard: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    written: list[bytes] = []
    monkeypatch.setattr(terminal, "_write", written.append)
    parent = Terminal()
    with without_echo():
        parent.give_back()
        assert echoes(keyboard)
        parent.take_again()
        assert not echoes(keyboard)
        parent.give_back()
        assert echoes(keyboard)
    leave, enter = b"\x1b[?1049l\x1b[?25h", b"\x1b[?1049h\x1b[?25l"
    assert written == [leave, enter, leave]


def test_without_a_terminal_nothing_happens(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("sys.__stdin__", None)
    monkeypatch.setattr(terminal, "_write", lambda control: None)
    with without_echo():
        parent = Terminal()
        parent.give_back()
        parent.take_again()
