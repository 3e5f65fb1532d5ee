"""Training as a person sees it: a dashboard on a terminal, plain lines elsewhere."""

import shlex
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from itertools import pairwise
from pathlib import Path
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

from mlx_rev.train.events import (
    Evaluated,
    Event,
    Reporter,
    Sampled,
    Saved,
    Started,
    Stepped,
    Stopped,
)
from mlx_rev.ui.console import is_interactive, story_text

CURVE_HEIGHT = 8
REFRESHES_PER_SECOND = 1.0
"""Of the clock, between events: more would take time from training on two cores."""
_SPEED_OVER = 1800.0
"""Seconds that the estimate of the time left looks back on; slow presets take minutes a line."""
_BLOCKS = " ▁▂▃▄▅▆▇█"


def hints(run: Path, ending: str, *, finished: bool) -> list[str]:
    """What to do next: talk to the model, and resume a run that was stopped."""
    place = shlex.quote(str(run))
    lines = [] if finished else [f"resume the run:      mlx-rev train --resume {place}"]
    quoted = '"' + ending.replace("\\", "\\\\").replace('"', '\\"') + '"'
    return [*lines, f"talk to the model:   mlx-rev tell {quoted} --model {place}"]


def curve(values: Sequence[float], width: int, height: int) -> list[str]:
    """The values as `height` lines of block characters, `width` wide, highest value on top.

    Where there are more values than columns, a column shows the mean of its share.
    """
    if not values or width < 1 or height < 1:
        return [" " * max(width, 0)] * height
    columns = min(width, len(values))
    edges = [round(index * len(values) / columns) for index in range(columns + 1)]
    means = [sum(values[start:stop]) / (stop - start) for start, stop in pairwise(edges)]
    low, high = min(means), max(means)
    span = (high - low) or 1.0
    levels = [1 + round((mean - low) / span * (8 * height - 1)) for mean in means]
    return [
        "".join(_BLOCKS[max(0, min(8, level - 8 * row))] for level in levels).ljust(width)
        for row in reversed(range(height))
    ]


@dataclass
class _Seen:
    """What the dashboard shows."""

    started: Started | None = None
    step: int = 0
    last: Stepped | None = None
    losses: list[float] = field(default_factory=list)
    validations: list[float] = field(default_factory=list)
    best: Evaluated | None = None
    sample: Sampled | None = None
    saved: Saved | None = None


class Dashboard:
    """A reporter that draws: progress, figures, curves and the latest story.

    It changes with events only, except for the clock.
    """

    def __init__(self, console: Console, ending: str) -> None:
        self._console, self._ending = console, ending
        self._seen = _Seen()
        self._progress = Progress(
            TimeElapsedColumn(),
            BarColumn(bar_width=None),
            MofNCompleteColumn(),
            TextColumn("left", style="label"),
            TimeRemainingColumn(),
            expand=True,
            speed_estimate_period=_SPEED_OVER,
        )
        self._task = self._progress.add_task("training")
        self._live = Live(self.render(), console=console, refresh_per_second=REFRESHES_PER_SECOND)

    def __enter__(self) -> "Dashboard":
        self._live.start()
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
        match event:
            case Started():
                seen.started, seen.step = event, event.first_step
                self._progress.update(
                    self._task, total=event.total_steps, completed=event.first_step
                )
            case Stepped():
                seen.last, seen.step = event, event.step
                seen.losses.append(event.loss)
                self._progress.update(self._task, completed=event.step)
            case Evaluated():
                seen.validations.append(event.bits_per_byte)
                seen.best = event if event.best else seen.best
            case Sampled():
                seen.sample = event
            case Saved():
                seen.saved = event
            case Stopped():
                self._progress.update(self._task, completed=event.step)
                self._progress.stop_task(self._task)
        self._live.update(self.render(), refresh=True)
        if isinstance(event, Stopped):
            self._live.stop()
            for line in hints(event.run, self._ending, finished=event.finished):
                self._console.print(line, soft_wrap=True)

    def render(self) -> RenderableType:
        """The dashboard as it is now."""
        parts: list[RenderableType] = [self._header(), self._progress, self._figures()]
        if self._seen.losses:
            parts.append(self._curves())
        if self._seen.sample is not None:
            sample = self._seen.sample
            title = f"story at step {sample.step}"
            parts.append(Panel(story_text(sample.story, sample.ending), title=title))
        return Group(*parts)

    def _header(self) -> Text:
        started = self._seen.started
        if started is None:
            return Text("starting", style="label")
        text = Text(str(started.run), style="bold", overflow="ellipsis", no_wrap=True)
        millions = f"  {started.parameters / 1e6:.2f} million parameters"
        return text.append(millions, style="label")

    def _figures(self) -> Table:
        seen, last = self._seen, self._seen.last
        table = Table.grid(expand=True, padding=(0, 2))
        for _ in range(3):
            table.add_column(no_wrap=True)
        cells = [
            ("loss", f"{last.loss:.3f}" if last else "-"),
            ("bits per byte", f"{seen.validations[-1]:.3f}" if seen.validations else "-"),
            ("best", f"{seen.best.bits_per_byte:.3f}" if seen.best else "-"),
            ("speed", f"{last.tokens_per_second:,.0f} tok/s" if last else "-"),
            ("rate", f"{last.learning_rate:.1e}" if last else "-"),
            ("memory", f"{last.peak_memory / 1e6:,.0f} MB" if last else "-"),
        ]
        texts = [Text.assemble((f"{name} ", "label"), value) for name, value in cells]
        table.add_row(*texts[:3])
        table.add_row(*texts[3:])
        return table

    def _curves(self) -> Table:
        width = max(10, (self._console.width - 8) // 2)
        table = Table.grid(padding=(0, 2))
        texts = []
        for name, style, values in (
            ("training loss, nats per token", "train", self._seen.losses),
            ("validation, bits per byte", "valid", self._seen.validations),
        ):
            if not values:
                continue
            lines = curve(values, width - 7, CURVE_HEIGHT)
            labels = [f"{max(values):6.2f}", *[" " * 6] * (len(lines) - 2), f"{min(values):6.2f}"]
            text = Text(f"{name}\n"[: width + 1], style="label", no_wrap=True)
            for label, line in zip(labels, lines, strict=True):
                text.append(f"{label} ", "label").append(f"{line}\n", style)
            table.add_column()
            texts.append(text)
        table.add_row(*texts)
        return table


class PlainLog:
    """A reporter that writes a plain line for each event."""

    def __init__(self, console: Console, ending: str) -> None:
        self._console, self._ending = console, ending
        self._total = 0

    def report(self, event: Event) -> None:
        """Write what happened."""
        for line in self._lines(event):
            self._console.print(line, soft_wrap=True)

    def _lines(self, event: Event) -> list[str]:
        match event:
            case Started():
                self._total = event.total_steps
                return [
                    f"{event.run}: {event.parameters:,} parameters, steps {event.first_step} to "
                    f"{event.total_steps}, {event.tokens_per_step:,} tokens per step"
                ]
            case Stepped():
                return [
                    f"step {event.step}/{self._total}  loss {event.loss:.4f}  "
                    f"rate {event.learning_rate:.2e}  norm {event.gradient_norm:.2f}  "
                    f"{event.tokens_per_second:,.0f} tok/s  {event.peak_memory / 1e6:,.0f} MB"
                ]
            case Evaluated():
                best = "  best" if event.best else ""
                forward = event.forward_bits_per_byte
                also = "" if forward is None else f", {forward:.4f} forwards"
                return [
                    f"step {event.step}  validation {event.loss:.4f} nats per token  "
                    f"{event.bits_per_byte:.4f} bits per byte{also}{best}"
                ]
            case Sampled():
                return [f"step {event.step}  story:", *_indented(event.story)]
            case Saved():
                return [f"step {event.step}  saved {event.path}"]
            case Stopped():
                return hints(event.run, self._ending, finished=event.finished)


@contextmanager
def reporter_for(console: Console, *, ending: str, plain: bool) -> Iterator[Reporter]:
    """The dashboard on a terminal that can redraw, plain lines elsewhere or with `plain`."""
    if plain or not is_interactive(console):
        yield PlainLog(console, ending)
    else:
        with Dashboard(console, ending) as dashboard:
            yield dashboard


def _indented(story: str) -> list[str]:
    return [f"    {line}" for line in story.splitlines()]
