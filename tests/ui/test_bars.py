"""Progress while a person makes the window narrower."""

import io

import pyte
import pytest
from rich.console import Console
from rich.progress import BarColumn, TextColumn

from mlx_rev.ui.bars import Bars

ABOVE = "what stood there before, in a line that is not so short"


@pytest.mark.parametrize("narrow", [80, 40, 23, 12])
def test_what_was_drawn_for_a_wider_window_is_erased(narrow: int) -> None:
    """All is fed to a narrow terminal: it wraps what was drawn for a wide one, as a terminal does
    that becomes narrow."""
    console = Console(file=io.StringIO(), force_terminal=True, width=80, height=20)
    console.print(ABOVE, soft_wrap=True)
    wide = TextColumn("{task.description}"), BarColumn(bar_width=None)
    bars = Bars(console, wide=wide, narrow=wide)
    for number in range(2):
        bars.add_task(f"the task that has number {number}, of which there are two", total=1.0)
    bars.expand = True
    screen = pyte.Screen(narrow, 30)
    screen.set_mode(pyte.modes.LNM)
    stream = pyte.Stream(screen)
    before = pyte.Screen(narrow, 30)
    before.set_mode(pyte.modes.LNM)
    pyte.Stream(before).feed(ABOVE + "\n")

    bars.live.auto_refresh = False
    bars.start()
    console.width = narrow
    for _ in range(2):
        bars.refresh()
    stream.feed(console.file.getvalue())  # type: ignore[attr-defined]
    rows = [row.rstrip() for row in screen.display if row.strip()]
    assert sum("number" in row for row in rows) <= 2
    assert "".join(rows).startswith("".join(row.rstrip() for row in before.display))
    console.file.truncate(0)
    console.file.seek(0)
    bars.stop()
    stream.feed(console.file.getvalue())  # type: ignore[attr-defined]
    assert screen.display == before.display


@pytest.mark.parametrize("width", [24, 69, 70, 200])
def test_narrow_screens_have_words_and_no_bars(width: int) -> None:
    console = Console(file=io.StringIO(), force_terminal=True, width=width, color_system=None)
    bars = Bars(console)
    bars.live.auto_refresh = False
    bars.add_task("reading the training text", total=4, completed=1)
    with bars:
        pass
    shown = console.file.getvalue()  # type: ignore[attr-defined]
    assert ("━" in shown) is (width >= 70)
    assert "25%" in shown
    assert "…" not in shown
