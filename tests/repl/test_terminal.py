"""The REPL as a person meets it: keys in, a screen out."""

import itertools
import re
import sys
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from mlx_rev.formats.detect import built_in_model
from mlx_rev.generate.teller import load
from mlx_rev.repl.replies import Grows
from mlx_rev.repl.session import Session

if sys.platform == "win32":
    pytest.skip("needs a pseudo-terminal", allow_module_level=True)
from tests.repl.terminal import Terminal

pytestmark = pytest.mark.process

ENDING = "And they all went home, tired but happy."
SLOW_REPL = Path(__file__).with_name("slow_repl.py")
FLAGS = ("--seed", "3", "--max-tokens", "50", "--pace", "0")


@pytest.fixture
def terminal(tmp_path: Path) -> Iterator[Terminal]:
    opened = Terminal(tmp_path, SLOW_REPL, *FLAGS)
    yield opened
    opened.process.close(force=True)


def letters(text: str) -> str:
    return "".join(text.split())


def story_rows(rows: list[str]) -> list[str] | None:
    """The rows of a growing story, the newest first; None where none grows."""
    foot = next((n for n, row in enumerate(rows) if re.match(r"… \d+ tokens", row)), 0)
    above = (n for n in range(foot - 1, -1, -1) if rows[n] == "" or rows[n].startswith("ending>"))
    top = next(above, -1) + 1
    return rows[top:foot] if foot > top else None


def test_frames_are_what_the_tokens_say_and_move_nothing(terminal: Terminal) -> None:
    terminal.wait_for_prompt()
    terminal.frames.clear()
    terminal.type(ENDING + "\r")
    terminal.wait_for_prompt()
    frames = [rows for rows in map(story_rows, terminal.frames) if rows]
    assert len(frames) > 5

    teller = load(built_in_model())
    session = Session(teller, "", replace(teller.settings, seed=3, max_tokens=50))
    told = [reply.stories[0].text for reply in session.respond(ENDING) if isinstance(reply, Grows)]
    decoded = {letters(text) for text in told}
    for rows in frames:
        assert letters("".join(rows)) in decoded
    for before, after in itertools.pairwise(frames):
        # Only the top line changes; in it, the newest word may still get letters, no other one.
        kept = after[-len(before) :]
        assert kept[1:] == before[1:]
        assert kept[0].endswith(before[0].lstrip().partition(" ")[2])

    assert letters(told[-1]) in letters("".join(terminal.scrollback))
    assert terminal.leave() == 0


def test_an_ending_an_interruption_a_completion_an_export(tmp_path: Path) -> None:
    # A story that is not done yet, however late the interruption.
    terminal = Terminal(tmp_path, SLOW_REPL, *FLAGS, "--max-tokens", "400")
    terminal.wait_for_prompt()
    terminal.type(ENDING + "\r")
    terminal.wait(lambda rows: len(story_rows(rows) or []) > 1)
    terminal.type("\x03")
    terminal.wait(lambda rows: any(row.startswith("… stopped: ") for row in rows))
    terminal.wait_for_prompt()
    assert letters("".join(terminal.rows)).endswith(letters(ENDING) + "ending>")

    terminal.type("half a line")
    terminal.wait(lambda rows: "ending> half a line" in rows)
    terminal.type("\x03")
    terminal.wait_for_prompt()

    terminal.type("/exp\t")
    terminal.wait(lambda rows: any(row.startswith("ending> /export") for row in rows))
    terminal.type(" model.bin\r")
    terminal.wait_for_prompt()
    assert (tmp_path / "model.bin").stat().st_size > 5_000_000
    assert (tmp_path / "tokenizer.bin").exists()

    terminal.type("/set temp\t")
    terminal.wait(lambda rows: "ending> /set temperature" in rows)
    terminal.type(" 0\r")
    terminal.wait(lambda rows: "temperature is 0.0" in rows)
    terminal.wait_for_prompt()
    assert terminal.leave("/quit\r") == 0

    # What was typed comes back in the next session.
    terminal = Terminal(tmp_path, "-m", "mlx_rev.repl", *FLAGS)
    terminal.wait_for_prompt()
    terminal.type("\x1b[A\x1b[A")
    terminal.wait(lambda rows: "ending> /set temperature 0" in rows)
    terminal.type("\x03")
    terminal.wait_for_prompt()
    assert terminal.leave() == 0


def test_the_shell_and_back_and_paths_by_tab(tmp_path: Path) -> None:
    (tmp_path / "my stories").mkdir()
    (tmp_path / "my stories" / "the end.md").write_text("mine")
    # A program that nobody waits for cannot be stopped, so a shell has to start it.
    terminal = Terminal(tmp_path, "--norc", "--noprofile", "-i", program="bash")
    terminal.type(f"PS1='shell> '; {sys.executable} {SLOW_REPL} {' '.join(FLAGS)}\r")
    terminal.wait_for_prompt()

    terminal.type("/save my\t")
    terminal.wait(lambda rows: 'ending> /save "my stories/' in rows)
    terminal.type("\t")
    terminal.wait(lambda rows: 'ending> /save "my stories/the end.md"' in rows)
    terminal.type("\x1a")
    terminal.wait_for_prompt("shell>")
    terminal.type("fg\r")
    terminal.wait(lambda rows: 'ending> /save "my stories/the end.md"' in rows)
    terminal.type("\x03")
    terminal.wait_for_prompt()

    terminal.type(ENDING + "\r")
    terminal.wait(lambda rows: len(story_rows(rows) or []) > 1)
    terminal.type("\x1a")
    terminal.wait_for_prompt("shell>")
    terminal.type("echo between; fg\r")
    terminal.wait(lambda rows: "between" in terminal.scrollback and len(story_rows(rows) or []) > 1)
    terminal.wait_for_prompt()
    assert any(row.startswith("… unfinished: 50 tokens") for row in terminal.rows)
    assert letters("".join(terminal.rows)).endswith(letters(ENDING) + "ending>")
    terminal.type("exit\r")
    terminal.wait_for_prompt("shell>")
    assert terminal.leave("exit\r") == 0
    assert (tmp_path / "my stories" / "the end.md").read_text() == "mine"


def test_any_width_and_a_resize(tmp_path: Path) -> None:
    terminal = Terminal(tmp_path, SLOW_REPL, *FLAGS, columns=12, lines=15)
    terminal.wait_for_prompt()
    for columns in (200, 220, 32):
        terminal.type("日本 happy e\u0301nd.\r")
        terminal.wait(lambda rows: story_rows(rows) is not None)
        terminal.resize(columns, 15)
        terminal.wait_for_prompt()
    assert not any("Traceback" in row for row in terminal.scrollback)
    assert terminal.leave() == 0
