"""The dashboard: what it shows, in any size, and what it leaves behind."""

import io
import json
import re
import sys
import time
from dataclasses import replace
from pathlib import Path

import pytest
from rich.console import Console

from mlx_rev.train.events import Doing, Evaluated, Event, Started
from mlx_rev.ui.console import make_console, story_text
from mlx_rev.ui.dashboard import Dashboard, view_for
from mlx_rev.ui.plain_log import PlainLog
from tests.ui.made_up import EVENTS, OUTLOOK, STOPPED

if sys.platform != "win32":
    from tests.repl.terminal import Terminal

MADE_UP = Path(__file__).with_name("made_up.py")


def drawn(width: int, height: int, events: list[Event] = EVENTS) -> list[str]:
    console = Console(file=io.StringIO(), width=width, height=height)
    dashboard = Dashboard(console, "The end.")
    for event in events:
        dashboard.report(event)
    shown = Console(file=io.StringIO(), width=width, height=height)
    dashboard._console = shown
    shown.print(dashboard.render())
    return shown.file.getvalue().splitlines()


@pytest.mark.parametrize(("width", "height"), [(40, 12), (80, 24), (120, 40), (200, 50), (24, 6)])
def test_the_dashboard_fits_any_screen(width: int, height: int) -> None:
    for count in range(len(EVENTS) + 1):
        lines = drawn(width, height, EVENTS[:count])
        assert len(lines) <= max(height, 6)
        assert max(map(len, lines)) <= width


@pytest.mark.parametrize(("width", "height"), [(80, 24), (120, 40), (200, 50)])
def test_all_that_happened_is_there_where_there_is_room(width: int, height: int) -> None:
    text = "\n".join(drawn(width, height))
    for shown in (
        *("my run", "1.23 million", "loss 2.500", "12,346 tok/s", "412 MB", "best 1.250"),
        *("training loss", "validation, bits per byte", "[red]day[/b] Tom ran.", "He was happy."),
    ):
        assert shown in text


def test_before_it_starts_it_says_how_many_steps_there_will_be() -> None:
    for outlook, shown in ((None, "0/?"), (replace(OUTLOOK, steps=700, first_step=20), "20/700")):
        console = Console(file=io.StringIO(), width=80, height=24)
        console.print(Dashboard(console, "x", outlook).render())
        assert f"{shown} left" in console.file.getvalue()  # type: ignore[attr-defined]


def test_a_small_screen_has_the_figures_and_a_curve() -> None:
    text = "\n".join(drawn(40, 12))
    for shown in ("0:00:0", "/200", "loss 2.500", "bits per byte 1.250", "best 1.250", "3.50 █"):
        assert shown in text


def test_what_is_being_done_is_said_and_for_how_long() -> None:
    def doing(dashboard: Dashboard) -> str:
        return dashboard._doing().plain

    dashboard = Dashboard(Console(file=io.StringIO(), width=80, height=24), "x")
    assert doing(dashboard).startswith("starting, ")
    dashboard.report(EVENTS[0])
    dashboard.step_begins()
    assert doing(dashboard) == "first step, which takes longest, 1.0 s"
    dashboard.step_begins()
    assert doing(dashboard).startswith("first step")
    dashboard.step_begins()
    assert doing(dashboard) == "training"
    dashboard.report(Doing(3, "saving a checkpoint"))
    dashboard._seen.since -= 75
    assert doing(dashboard) == "saving a checkpoint, 1 min 15 s"
    dashboard.stopping("finishing this step")
    assert doing(dashboard) == "finishing this step  saving a checkpoint, 1 min 15 s"
    dashboard.step_begins()
    assert doing(dashboard) == "finishing this step  training"
    assert dashboard._seen.step == 3


def test_a_resumed_run_shows_its_whole_curves(tmp_path: Path) -> None:
    entries = [
        {"kind": "step", "step": 10, "loss": 9.0},
        {"kind": "eval", "step": 10, "loss": 9.0, "bits_per_byte": 1.2},
        {"kind": "step", "step": 20, "loss": 8.0},
    ]
    lines = [json.dumps(entry) + "\n" for entry in entries]
    (tmp_path / "metrics.jsonl").write_text("".join(lines))
    dashboard = Dashboard(Console(file=io.StringIO(), width=80, height=24), "x")
    dashboard.report(Started(tmp_path, 20, 200, 1, 4096))
    dashboard.report(replace(EVENTS[1], step=30, loss=7.0))
    dashboard.report(Evaluated(30, 7.0, 1.3, best=False))
    assert dashboard._seen.losses == [(10, 9.0), (20, 8.0), (30, 7.0)]
    assert dashboard._seen.best == (10, 1.2)
    assert dashboard._seen.tokens_per_second == pytest.approx(12_345.6)


def test_the_time_left_is_known_where_minutes_lie_between_events() -> None:
    console = Console(file=io.StringIO(), width=80, height=24)
    dashboard = Dashboard(console, "x")
    now = 0.0
    dashboard._progress.get_time = lambda: now
    for event in (EVENTS[0], EVENTS[1], EVENTS[3]):
        dashboard.report(event)
        now += 300
    console.print(dashboard.render())
    assert "left 0:40:00" in console.file.getvalue()


def test_between_two_events_the_clock_goes_on(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("mlx_rev.ui.dashboard.REFRESHES_PER_SECOND", 50)
    output = io.StringIO()
    with Dashboard(Console(file=output, width=80, force_terminal=True), "x") as dashboard:
        dashboard.report(EVENTS[0])
        drawn_before = output.getvalue().count("0/200")
        end = time.monotonic() + 60
        while output.getvalue().count("0/200") < drawn_before + 3 and time.monotonic() < end:
            time.sleep(0.02)
        assert output.getvalue().count("0/200") >= drawn_before + 3


def bar(rows: list[str]) -> str:
    """The row with the progress bar, as wide as the screen."""
    return next((row for row in rows if "40/200 left" in row), "")


@pytest.mark.process
def test_on_a_terminal_it_has_the_screen_to_itself_and_gives_it_back(tmp_path: Path) -> None:
    terminal = Terminal(tmp_path, MADE_UP, columns=120, lines=40)
    terminal.process.logfile_read = written = io.BytesIO()
    terminal.wait(lambda rows: rows[1].startswith("starting"))
    for _ in range(4):
        terminal.type("x\n")
    terminal.wait(lambda rows: any("loss 2.500" in row for row in rows))
    assert "x" not in "".join(terminal.rows).replace("x-rev", "").replace("max", "")
    for columns, lines in ((40, 12), (120, 40)):
        terminal.resize(columns, lines)
        terminal.wait(lambda rows, width=columns: width - 12 < len(bar(rows)) <= width)
        assert terminal.rows[0].startswith("runs/my run")
        assert sum("40/200" in row for row in terminal.rows) == 1
        assert max(map(len, terminal.rows)) <= columns
    terminal.type("\n\n\n\n")
    terminal.wait(lambda rows: any("talk to the model" in row for row in rows))
    [_, picture, left] = re.split(r"\x1b\[\?1049[hl]", written.getvalue().decode())
    assert "talk to the model" not in picture
    assert "[red]day[/b] Tom ran." in left
    assert "stopped after 40 steps, " in left


def test_off_a_terminal_there_is_no_dashboard() -> None:
    console = make_console(io.StringIO())
    with view_for(console, ending="x", plain=False) as view:
        assert isinstance(view, PlainLog)
    console = Console(file=io.StringIO(), force_terminal=True)
    with view_for(console, ending="x", plain=False) as view:
        assert isinstance(view, Dashboard)
    with view_for(console, ending="x", plain=True) as view:
        assert isinstance(view, PlainLog)


def test_the_end_leaves_the_story_and_what_to_type() -> None:
    console = Console(file=io.StringIO(), width=120, force_terminal=False)
    with Dashboard(console, "The end.", OUTLOOK) as dashboard:
        for event in [*EVENTS, STOPPED]:
            dashboard.report(event)
    left = console.file.getvalue()
    assert left.count("[red]day[/b] Tom ran.") == 1
    assert "12,346 tokens/s (12% of peak), best 1.2500 bits per byte, at step 40\n" in left


def test_the_ending_has_a_style_of_its_own() -> None:
    text = story_text("One day. The end.", "The end.")
    assert text.plain == "One day. The end."
    [span] = text.spans
    assert text.plain[span.start : span.end] == "The end."
    [span] = story_text("Once upon a time.", "Once upon").spans
    assert (span.start, span.end) == (0, 9)
