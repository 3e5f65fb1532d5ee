"""What comes from files, models and errors cannot command a terminal."""

import io
import os
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from rich.panel import Panel
from rich.table import Table
from rich.text import Text

from mlx_rev.__main__ import run as run_here
from mlx_rev.errors import RevError
from mlx_rev.ui.console import make_console, story_text
from mlx_rev.ui.visible import one_line, visible, write_story

if sys.platform == "win32":
    pytest.skip("needs a pseudo-terminal", allow_module_level=True)

ATTACK = "a\x1b]0;title\x07b\x1b[2Jc\x9b31md\x08\x7fe\x0bf\rg\u202eh"
END = b"-- the end --"
RAW = re.compile(r"[\x00-\x08\x0b-\x1f\x7f-\x9f\u2028-\u202e\u2066-\u2069]")


class Screen(io.StringIO):
    def isatty(self) -> bool:
        return True


@given(st.text())
def test_a_story_is_read_on_a_terminal_and_exact_elsewhere(text: str) -> None:
    screen, pipe = Screen(), io.StringIO()
    write_story(screen, text)
    write_story(pipe, text)
    assert pipe.getvalue() == text
    shown = screen.getvalue()
    assert not RAW.search(shown)
    assert len(shown) == len(text)
    kept = [(a, b) for a, b in zip(text, shown, strict=True) if not RAW.match(a)]
    assert all(a == b for a, b in kept)


@given(st.text())
def test_a_note_is_one_line_of_readable_text(text: str) -> None:
    line = one_line(text)
    assert not re.search(RAW.pattern + r"|[\n\t]", line)
    assert len(line.splitlines()) <= 1
    assert one_line(line) == line == visible(line)


@pytest.fixture
def terminal() -> Iterator[tuple[int, int]]:
    ours, theirs = os.openpty()
    yield ours, theirs
    for descriptor in (ours, theirs):
        os.close(descriptor)


def written(terminal: tuple[int, int]) -> str:
    """All that was written to a terminal: what was last may take a while to come through."""
    ours, theirs = terminal
    os.write(theirs, END)
    shown = b""
    while not shown.endswith(END):
        shown += os.read(ours, 1 << 16)
    return shown.removesuffix(END).decode()


@pytest.mark.parametrize("plain", [False, True])
def test_the_console_shows_no_sequence_of_a_text(terminal: tuple[int, int], plain: bool) -> None:
    table = Table("file", title=ATTACK)
    table.add_row(ATTACK)
    with open(terminal[1], "w", encoding="utf-8", closefd=False) as file:
        console = make_console(file, plain=plain)
        for what in (ATTACK, Text(ATTACK), Panel(story_text(ATTACK, "h"), title=ATTACK), table):
            console.print(what, soft_wrap=True)
    shown = written(terminal)
    # What is left are the console's own styles, and the terminal's line ends.
    assert not RAW.search(re.sub(r"\x1b\[[\d;]*m", "", shown).replace("\r\n", "\n"))
    assert "\x1b[31m" not in shown
    assert shown.count("␛]0;title") >= 4


def on_a_terminal(terminal: tuple[int, int], folder: Path, *arguments: str) -> str:
    """What a command shows on a terminal, its input coming from the file `input`."""
    theirs = terminal[1]
    with open(folder / "input", "rb") as given:
        subprocess.run(
            [sys.executable, "-m", "mlx_rev", *arguments],
            stdin=given,
            stdout=theirs,
            stderr=theirs,
            env={**os.environ, "NO_COLOR": "1", "MLX_REV_BLAS": "off"},
            check=False,
            timeout=300,
        )
    return written(terminal)


@pytest.mark.process
def test_commands_show_no_sequence_of_their_input(
    terminal: tuple[int, int], tmp_path: Path
) -> None:
    (tmp_path / "input").write_text(f"two\tlines {ATTACK}\nof text\n", encoding="utf-8")
    shown = on_a_terminal(terminal, tmp_path, "wtac")
    assert "␛" in shown
    assert "of" in shown
    assert not RAW.search(shown.replace("\r\n", "\n"))
    piped = subprocess.run(
        [sys.executable, "-m", "mlx_rev", "wtac"],
        input=(tmp_path / "input").read_bytes(),
        capture_output=True,
        check=True,
        env={**os.environ, "MLX_REV_BLAS": "off"},
        timeout=300,
    ).stdout
    assert b"\x1b" in piped


def test_an_error_names_a_file_in_one_line(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    for name in (f"{ATTACK}\n.bin", f"{ATTACK}.txt\n"):
        assert run_here("convert", [str(tmp_path / name), "x.bin"]) == 2
        said = capsys.readouterr().err
        assert said.count("\n") == 1
        assert not RAW.search(said)
        assert "␛[2Jc" in said


@pytest.mark.process
def test_a_story_cannot_command_the_terminal(terminal: tuple[int, int], tmp_path: Path) -> None:
    (tmp_path / "input").write_text("")
    ending = f"So they {ATTACK} went home."
    shown = on_a_terminal(terminal, tmp_path, "tell", ending, "--max-tokens", "3", "--plain")
    assert "␛]0;title␇b␛[2Jc" in shown
    assert not RAW.search(shown.replace("\r\n", "\n"))


def test_nor_while_it_grows(terminal: tuple[int, int], tmp_path: Path) -> None:
    (tmp_path / "input").write_text("")
    ending = f"So they {ATTACK} went home."
    shown = on_a_terminal(terminal, tmp_path, "tell", ending, "--max-tokens", "3", "--pace", "0")
    assert "␛]0;title␇b␛[2Jc" in shown
    for part in ("\x1b]", "\x07", "\x1b[2J", "\x9b", "\x7f", "\x0b", "\u202e"):
        assert part not in shown


def test_an_error_quotes_names_in_one_line() -> None:
    assert str(RevError("m.gguf: a\nb\u2028c has 7 dimensions")) == "m.gguf: a b c has 7 dimensions"
