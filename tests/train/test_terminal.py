"""A terminal that was taken is given back as it was."""

import os
import sys
import termios
import time
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

import pexpect
import pytest

from mlx_rev.train import terminal
from mlx_rev.train.terminal import Terminal, without_echo
from tests.train.conftest import WATCHED


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


def test_the_picture_is_on_standard_output(capfd: pytest.CaptureFixture[str]) -> None:
    terminal._write(b"left")
    assert capfd.readouterr() == ("left", "")


def test_without_a_terminal_nothing_happens(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("sys.__stdin__", None)
    monkeypatch.setattr(terminal, "_write", lambda control: None)
    with without_echo():
        parent = Terminal()
        parent.give_back()
        parent.take_again()


@pytest.mark.parametrize("how", ["fork", "exec"])
def test_control_c_reaches_no_compiler(tmp_path: Path, how: str) -> None:
    (tmp_path / "program.py").write_text(WATCHED)
    body = "signal.signal(signal.SIGINT, lambda *_: print('asked', flush=True))\n"
    body += "print('compiling', flush=True)\n"
    compiler = "until [ -e enough ]; do sleep 0.05; done"
    body += f"print('built', os.popen({compiler!r}).close(), flush=True)"
    shell = pexpect.spawn(
        sys.executable, ["program.py", how, "", body], cwd=str(tmp_path), encoding="utf-8"
    )
    shell.expect("compiling", timeout=60)
    time.sleep(0.2)
    shell.sendintr()
    shell.expect("asked\r\n", timeout=60)
    (tmp_path / "enough").touch()
    shell.expect("built None\r\n", timeout=60)
    shell.expect(pexpect.EOF, timeout=60)
    shell.close()
    assert shell.exitstatus == 0


@pytest.mark.parametrize("how", ["fork", "exec"])
def test_it_can_be_stopped_and_put_to_the_front_again(tmp_path: Path, how: str) -> None:
    (tmp_path / "program.py").write_text(WATCHED)
    (tmp_path / "body.py").write_text(
        "while not Path('enough').exists(): print('count', 1, flush=True); time.sleep(0.05)"
    )
    shell = pexpect.spawn(
        "bash", ["--norc", "-i"], cwd=str(tmp_path), encoding="utf-8", timeout=60, echo=False
    )
    # Strict: whoever writes from the background is stopped.
    shell.sendline("PS1='ready'$'> '; stty tostop")
    shell.expect("ready> ")
    shell.sendline(f"{sys.executable} program.py {how} '' \"$(cat body.py)\"; echo code $?")
    shell.expect("count 1")
    shell.send("\x1a")
    shell.expect("Stopped")
    with pytest.raises(pexpect.TIMEOUT):
        shell.expect("count 1", timeout=0.5)
    shell.sendline("fg")
    shell.expect("count 1")
    (tmp_path / "enough").touch()
    shell.expect("ready> ")
    shell.sendline("exit")
    shell.expect(pexpect.EOF)
