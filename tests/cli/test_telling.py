"""`mlx-rev tell` in a terminal and behind a pipe."""

import itertools
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from mlx_rev.cli.telling import paced
from mlx_rev.repl.replies import Grows, Meets, Reply, Says
from tests.conftest import Run

if sys.platform != "win32":
    from tests.repl.terminal import Terminal


@pytest.mark.process
def test_in_a_terminal_a_story_grows_leftwards_and_stands_there_in_colour(
    trained: Path, tmp_path: Path
) -> None:
    flags = ("--max-tokens", "24", "--pace", "0", "--seed", "3")
    terminal = Terminal(tmp_path, "-m", "mlx_rev", "tell", "The end.", "--model", trained, *flags)
    terminal.wait(lambda rows: terminal.process.flag_eof)
    growing = [rows for rows in terminal.frames if any("tokens/s" in row for row in rows)]
    for rows in growing:
        assert any(row == "The end.".rjust(80) or row.endswith(" The end.") for row in rows)
        assert all(len(row) == 80 for row in rows if row.endswith("The end."))
    text = "\n".join(terminal.rows).rstrip()
    assert text.endswith("The end.")
    assert "tokens/s" not in text
    assert len(text) > 30
    row = next(n for n, shown in enumerate(terminal.rows) if shown.endswith("The end."))
    cell = terminal.screen.buffer[row][len(terminal.rows[row]) - 1]
    assert (cell.fg, cell.bold) == ("magenta", True)
    assert terminal.process.exitstatus == 0


def test_lines_of_standard_input_are_endings(run: Run, trained: Path) -> None:
    flags = ("--model", trained, "--max-tokens", 5)
    piped = run("tell", *flags, stdin="\ufeffThe end.\n\nHe was happy.\r\n")
    assert piped.returncode == 0, piped.stderr
    assert piped.stdout == run("tell", "The end.", "He was happy.", *flags).stdout
    # What is given as an argument counts, whatever lies in the pipe.
    assert run("tell", "Bye.", *flags, stdin="The end.\n").stdout.endswith("Bye.\n")
    assert run("tell", *flags, stdin="\n").stderr.startswith("mlx-rev tell: no ending given")


@pytest.mark.parametrize("command", [("tell", "x"), ("repl",)])
@pytest.mark.parametrize("pace", ["-1", "nan"])
def test_a_pace_that_is_none(run: Run, pace: str, command: tuple[str, ...]) -> None:
    done = run(*command, "--model", "nowhere", "--pace", pace)
    assert done.returncode == 2
    assert f"--pace {float(pace)}: expected 0 or more" in done.stderr


@dataclass
class Growing:
    """A story of as many words as there were ticks."""

    ticks: Iterator[int]
    finished: str | None = None

    @property
    def generated(self) -> str:
        return "word " * next(self.ticks)


def test_stories_grow_by_so_many_words_a_second(monkeypatch: pytest.MonkeyPatch) -> None:
    now, slept = 0.0, 0.0

    def sleep(seconds: float) -> None:
        nonlocal now, slept
        assert seconds <= 0.25
        now, slept = now + seconds, slept + seconds

    def replies(kind: Callable[[Any], Grows]) -> Iterator[Reply]:
        nonlocal now
        story = Growing(itertools.count())
        yield Says("first")
        for _ in range(40):
            now += 0.01
            yield kind(story)

    monkeypatch.setattr("time.monotonic", lambda: now)
    monkeypatch.setattr("time.sleep", sleep)
    for kind, pace, seconds in (
        (lambda story: Grows((story,)), 8, 39 / 8),
        (lambda story: Meets((story,), "", chosen=True), 8, 39 / 8),
        (lambda story: Meets((story,), "", chosen=False), 8, 0.4),
        (lambda story: Grows((story,)), 0, 0.4),
    ):
        now = slept = 0.0
        assert len([*paced(replies(kind), pace)]) == 41
        assert now == pytest.approx(seconds, abs=0.2)
        assert bool(slept) == (seconds > 1)

    def attempts_first() -> Iterator[Reply]:
        yield from replies(lambda story: Meets((story,), "", chosen=False))
        yield from replies(lambda story: Meets((story,), "", chosen=True))

    def one_after_the_other() -> Iterator[Reply]:
        stories: Any = [Growing(iter([0] * 40)) for _ in range(2)]
        for story in stories:
            story.ticks = itertools.count()
            for _ in range(40):
                yield Grows(tuple(stories))
            story.finished, story.ticks = "boundary", itertools.repeat(39)

    for told, seconds in ((attempts_first(), 0.4 + 39 / 8), (one_after_the_other(), 2 * 39 / 8)):
        now = 0.0
        for _ in paced(told, 8):
            pass
        assert now == pytest.approx(seconds, abs=0.2)
