"""Training as a person at a terminal sees it: the whole screen while it lasts."""

import time
from collections.abc import Iterator
from contextlib import contextmanager
from types import TracebackType

from rich.console import Console, Group, RenderableType
from rich.live import Live
from rich.panel import Panel
from rich.progress import (
    BarColumn,
    MofNCompleteColumn,
    Progress,
    TextColumn,
    TimeElapsedColumn,
    TimeRemainingColumn,
)
from rich.table import Table
from rich.text import Text

from mlx_rev.train.events import Event, Started, Stepped, Stopped
from mlx_rev.train.terminal import without_echo
from mlx_rev.ui.console import is_interactive, say, story_text
from mlx_rev.ui.curves import FRAME_ROWS, drawing
from mlx_rev.ui.durations import spoken
from mlx_rev.ui.outlook import Outlook
from mlx_rev.ui.plain_log import PlainLog
from mlx_rev.ui.training import TRAINING, Seen, View, closing

REFRESHES_PER_SECOND = 1.0
"""Of the clock, between events: more would take time from training on two cores."""
_SPEED_OVER = 1800.0
"""Seconds that the estimate of the time left looks back on; slow presets take minutes a line."""
_WIDE = 72
"""Columns from which on two curves fit beside each other."""
_TALLEST_CURVE = 8
_STORY_ROWS = 6
"""Kept for the story, where curves leave so many."""
_ROWS_FOR_BOTH = 10
"""With fewer rows there is no story, so that the curve can be read."""
_GAP = 2


class Dashboard:
    """A view that draws progress, figures, curves and the latest story, on the alternate screen.

    It is drawn anew with every event and every second, for the size that the terminal then has.
    """

    def __init__(self, console: Console, ending: str, outlook: Outlook | None = None) -> None:
        self._console, self._ending, self._outlook = console, ending, outlook
        self._seen = Seen()
        self._stopping = ""
        self._progress = Progress(
            TimeElapsedColumn(),
            BarColumn(bar_width=None),
            MofNCompleteColumn(),
            TextColumn("left", style="label"),
            TimeRemainingColumn(),
            expand=True,
            speed_estimate_period=_SPEED_OVER,
        )
        self._task = self._progress.add_task(
            "training",
            total=outlook.steps if outlook else None,
            completed=outlook.first_step if outlook else 0,
        )
        self._live = Live(
            get_renderable=self.render,
            console=console,
            screen=True,
            refresh_per_second=REFRESHES_PER_SECOND,
        )

    def __enter__(self) -> "Dashboard":
        self._live.start(refresh=True)
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._live.stop()

    def report(self, event: Event) -> None:
        """Record `event` and redraw."""
        seen = self._seen
        seen.record(event)
        if isinstance(event, Started):
            self._progress.update(self._task, total=event.total_steps)
        if isinstance(event, Started | Stepped | Stopped):
            self._progress.update(self._task, completed=seen.step)
        self._live.refresh()
        if isinstance(event, Stopped):
            self._live.stop()
            self._close(event)

    def step_begins(self) -> None:
        """Take note of it; it is drawn with the next second."""
        self._seen.step_begins()
        self._progress.update(self._task, completed=self._seen.step)

    def stopping(self, how: str) -> None:
        """Say so at once."""
        self._stopping = how
        self._live.refresh()

    def _close(self, event: Stopped) -> None:
        """Leave how it went and the latest story on the screen that there was before."""
        went, *commands = closing(self._seen, event, self._ending, self._outlook)
        say(self._console, went)
        for command in commands:
            self._console.print(command, soft_wrap=True)
        if (sample := self._seen.sample) is not None:
            self._console.print(Text(f"story at step {sample.step:,}:", style="label"))
            self._console.print(story_text(sample.story, sample.ending))

    def render(self) -> RenderableType:
        """The dashboard as it is now, in the size that the console has."""
        width, height = self._console.size
        figures, rows = self._figures(width)
        parts: list[RenderableType] = [self._header(), self._doing(), self._progress, figures]
        left = height - 3 - rows
        curves, rows = self._curves(width, left)
        parts += curves
        left -= rows
        sample = self._seen.sample
        if sample is not None and left >= 3:
            title = f"story at step {sample.step:,}"
            text = story_text(sample.story, sample.ending)
            lines = len(text.wrap(self._console, max(1, width - 4)))
            parts.append(Panel(text, title=title, height=min(left, lines + 2)))
        return Group(*parts)

    def _header(self) -> Text:
        started = self._seen.started
        if started is None:
            return _line("mlx-rev train", "label")
        text = _line(str(started.run), "bold")
        return text.append(f"  {started.parameters / 1e6:.2f} million parameters", "label")

    def _doing(self) -> Text:
        """That it stops, as that is what somebody waits for, and what is being done."""
        seen = self._seen
        doing = seen.doing
        if doing != TRAINING:
            doing += f", {spoken(max(1, round(time.monotonic() - seen.since)))}"
        if not self._stopping:
            return _line(doing, "label")
        return _line(self._stopping, "ending").append(f"  {doing}", "label")

    def _figures(self, width: int) -> tuple[Table, int]:
        """The figures as a table, and its rows."""
        seen, last = self._seen, self._seen.last
        valid = seen.validations[-1][1] if seen.validations else None
        cells = {
            "loss": f"{last.loss:.3f}" if last else "-",
            "bits per byte": f"{valid:.3f}" if valid is not None else "-",
            "best": f"{seen.best[1]:.3f}" if seen.best else "-",
            "speed": f"{last.tokens_per_second:,.0f} tok/s" if last else "-",
            "rate": f"{last.learning_rate:.1e}" if last else "-",
            "memory": f"{last.peak_memory / 1e6:,.0f} MB" if last else "-",
        }
        if seen.forward is not None:
            cells["forwards"] = f"{seen.forward:.3f}"
        columns = 3 if width >= _WIDE else 2
        table = Table.grid(expand=True, padding=(0, _GAP))
        for _ in range(columns):
            table.add_column(no_wrap=True, ratio=1)
        texts = [Text.assemble((f"{name} ", "label"), value) for name, value in cells.items()]
        for start in range(0, len(texts), columns):
            table.add_row(*texts[start : start + columns])
        return table, -(-len(texts) // columns)

    def _curves(self, width: int, left: int) -> tuple[list[RenderableType], int]:
        """Curves that leave room for a story where there is much, and their rows."""
        drawn = [
            (title, points, style)
            for title, points, style in (
                ("training loss, nats per token", self._seen.losses, "train"),
                ("validation, bits per byte", self._seen.validations, "valid"),
            )
            if points
        ]
        wide = width >= _WIDE
        for_story = _STORY_ROWS if self._seen.sample and left >= _ROWS_FOR_BOTH else 0
        for blocks in (1,) if wide else range(len(drawn), 0, -1):
            height = min(_TALLEST_CURVE, (left - for_story) // blocks - FRAME_ROWS)
            if drawn and (height > 1 or (blocks == 1 and height > 0)):
                break
        else:
            return [], 0
        shown = drawn if wide else drawn[:blocks]
        own = (width - _GAP * (len(shown) - 1)) // len(shown) if wide else width
        texts = [drawing(title, points, own, height, style) for title, points, style in shown]
        rows = blocks * (height + FRAME_ROWS)
        if not wide:
            return [*texts], rows
        table = Table.grid(padding=(0, _GAP, 0, 0))
        table.add_row(*texts)
        return [table], rows


@contextmanager
def view_for(
    console: Console, *, ending: str, plain: bool, outlook: Outlook | None = None
) -> Iterator[View]:
    """The dashboard on a terminal that can redraw, plain lines elsewhere or with `plain`."""
    if plain or not is_interactive(console):
        yield PlainLog(console, ending, outlook)
    else:
        with without_echo(), Dashboard(console, ending, outlook) as dashboard:
            yield dashboard


def _line(text: str, style: str) -> Text:
    return Text(text, style=style, overflow="ellipsis", no_wrap=True)
