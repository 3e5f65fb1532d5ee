import io
import time
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from rich.console import Console

from mlx_rev.train.events import Evaluated, Event, Sampled, Saved, Started, Stepped, Stopped
from mlx_rev.ui.console import make_console, story_text
from mlx_rev.ui.dashboard import Dashboard, PlainLog, curve, hints, reporter_for

RUN = Path("runs/my run")
STORY = "One [red]day[/b] Tom ran.\nHe was happy."
EVENTS: list[Event] = [
    Started(RUN, 0, 200, 1_234_567, 4096),
    Stepped(20, 3.5, 1e-3, 0.8, 12_345.6, 412_000_000),
    Stepped(40, 2.5, 2e-3, 0.7, 12_345.6, 412_000_000),
    Evaluated(40, 2.4, 1.25, best=True),
    Sampled(40, "He was happy.", STORY),
    Saved(40, RUN / "checkpoints" / "step-00000040"),
]


def drawn(width: int) -> str:
    console = Console(file=io.StringIO(), width=width, height=60, force_terminal=False)
    dashboard = Dashboard(console, "The end.")
    for event in EVENTS:
        dashboard.report(event)
    shown = Console(file=io.StringIO(), width=width, height=60)
    shown.print(dashboard.render())
    return shown.file.getvalue()


@pytest.mark.parametrize("width", [40, 80, 120])
def test_the_dashboard_shows_what_happened_at_any_width(width: int) -> None:
    text = drawn(width)
    assert "40/200" in text
    assert "[red]day[/b] Tom ran." in text
    assert "He was happy." in text
    assert max(map(len, text.splitlines())) <= width
    if width >= 80:
        for figure in ("1.23 million", "loss 2.500", "12,346 tok/s", "412 MB", "best 1.250"):
            assert figure in text


def test_between_two_events_the_clock_goes_on(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("mlx_rev.ui.dashboard.REFRESHES_PER_SECOND", 50)
    output = io.StringIO()
    with Dashboard(Console(file=output, width=80, force_terminal=True), "x") as dashboard:
        dashboard.report(EVENTS[0])
        drawn_before = output.getvalue().count("0/200")
        end = time.monotonic() + 5
        while output.getvalue().count("0/200") < drawn_before + 3 and time.monotonic() < end:
            time.sleep(0.02)
        assert output.getvalue().count("0/200") >= drawn_before + 3


def test_the_time_left_is_known_where_minutes_lie_between_events() -> None:
    console = Console(file=io.StringIO(), width=80)
    dashboard = Dashboard(console, "x")
    now = 0.0
    dashboard._progress.get_time = lambda: now
    for event in EVENTS[:3]:
        dashboard.report(event)
        now += 300
    console.print(dashboard.render())
    assert "left 0:40:00" in console.file.getvalue()


def test_plain_lines() -> None:
    console = make_console(io.StringIO(), plain=True)
    log = PlainLog(console, "The end.")
    for event in [*EVENTS, Stopped(40, RUN, finished=False)]:
        log.report(event)
    lines = console.file.getvalue().splitlines()
    assert lines[1].startswith("step 20/200  loss 3.5000  rate 1.00e-03")
    assert "validation 2.4000 nats per token  1.2500 bits per byte  best" in lines[3]
    assert lines[5] == "    One [red]day[/b] Tom ran."
    assert lines[-2].endswith("mlx-rev train --resume 'runs/my run'")
    assert lines[-1].endswith("mlx-rev tell \"The end.\" --model 'runs/my run'")
    assert "\x1b" not in console.file.getvalue()


def test_a_finished_run_is_not_to_be_gone_on_with() -> None:
    assert len(hints(RUN, "x", finished=True)) == 1
    assert hints(RUN, 'say "hi"', finished=True)[0].endswith(
        "mlx-rev tell 'say \"hi\"' --model 'runs/my run'"
    )


def test_off_a_terminal_there_is_no_dashboard() -> None:
    console = make_console(io.StringIO())
    with reporter_for(console, ending="x", plain=False) as reporter:
        assert isinstance(reporter, PlainLog)
    console = Console(file=io.StringIO(), force_terminal=True)
    with reporter_for(console, ending="x", plain=False) as reporter:
        assert isinstance(reporter, Dashboard)
    with reporter_for(console, ending="x", plain=True) as reporter:
        assert isinstance(reporter, PlainLog)


@given(st.lists(st.floats(-1e6, 1e6), max_size=300), st.integers(1, 100), st.integers(1, 12))
def test_curves_fill_their_box(values: list[float], width: int, height: int) -> None:
    lines = curve(values, width, height)
    assert [len(line) for line in lines] == [width] * height
    if values:
        assert all(line[0] != " " for line in lines[-1:])


def test_a_falling_curve_falls() -> None:
    lines = curve([4, 3, 2, 1], 4, 2)
    assert lines[0][0] == lines[1][0] == "█"
    assert lines[0][3] == " "
    assert lines[1][3] == "▁"


def test_the_ending_has_a_style_of_its_own() -> None:
    text = story_text("One day. The end.", "The end.")
    assert text.plain == "One day. The end."
    [span] = text.spans
    assert text.plain[span.start : span.end] == "The end."
    [span] = story_text("Once upon a time.", "Once upon").spans
    assert (span.start, span.end) == (0, 9)
