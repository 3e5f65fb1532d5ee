"""Prepare a corpus and show how far it is: a bar on a terminal, elsewhere a line now and then."""

import time
from collections import deque
from collections.abc import Callable
from contextlib import nullcontext
from dataclasses import replace
from pathlib import Path

from rich.console import Console
from rich.progress import BarColumn, SpinnerColumn, TaskID, TextColumn, TimeElapsedColumn

from mlx_rev.config import DataConfig
from mlx_rev.data.prepare import Prepared, prepare
from mlx_rev.data.progress import Notify, Progress
from mlx_rev.data.sources.standard_input import naming_standard_input, said
from mlx_rev.files import naming_cache
from mlx_rev.ui.bars import Bars, words
from mlx_rev.ui.console import is_interactive, say
from mlx_rev.ui.durations import spoken

_LINES_APART = 20.0
"""Seconds between the lines of a stage."""
_WIDE = 100
"""Columns from which on there is room for bars."""
_BARS = (
    SpinnerColumn(),
    TextColumn("{task.description}", markup=False),
    BarColumn(),
    TextColumn("{task.fields[figures]}"),
    TimeElapsedColumn(),
)
_LINES = SpinnerColumn(), words("{task.description}  {task.fields[figures]}")
_LOOKED_BACK = 60
"""Half seconds over which speed and time left are measured: what was there already goes faster."""


def prepare_shown(
    config: DataConfig,
    vocab_size: int,
    cache: Path,
    console: Console,
    first_only: bool = False,
    progressed: Callable[[], None] = lambda: None,
) -> Prepared:
    """`prepare`, with its stages shown on `console`; `progressed` is called as it goes on. Raises
    RevError."""

    def warn(notice: str) -> None:
        say(console, f"note: {said(notice, cache)}")

    def tell(now: Progress) -> None:
        progressed()
        notify(replace(now, stage=said(now.stage, cache)))

    live = is_interactive(console)
    bars = Bars(console, wide=_BARS, narrow=_LINES, least=_WIDE)
    notify = _bar_notify(bars) if live else line_notify(console)
    with naming_cache(cache), naming_standard_input(cache), bars if live else nullcontext():
        return prepare(config, vocab_size, cache, tell, warn, first_only=first_only)


class Stage:
    """How fast a stage goes, and how long it will take."""

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._seen: deque[tuple[float, Progress]] = deque(maxlen=_LOOKED_BACK)

    def figures(self, now: Progress) -> str:
        """Share, text, speed and time left, as far as they are known: "45%, 512 MB, 21.3 MB/s, 35 s
        left"."""
        seconds = self._clock()
        if not self._seen or seconds - self._seen[-1][0] >= 0.5:
            self._seen.append((seconds, now))
        before, then = self._seen[0]
        elapsed = seconds - before
        parts = [] if now.share is None else [f"{now.share:.0%}"]
        if now.text_bytes:
            parts.append(f"{now.text_bytes / 1e6:,.0f} MB")
            if elapsed >= 1:
                parts.append(f"{(now.text_bytes - then.text_bytes) / 1e6 / elapsed:.1f} MB/s")
        done = (now.share or 0.0) - (then.share or 0.0)
        if now.share is not None and now.share < 1 and elapsed >= 1 and done > 0:
            parts.append(f"{spoken((1 - now.share) * elapsed / done)} left")
        return ", ".join(parts)


def _bar_notify(bars: Bars) -> Notify:
    """Shows a bar for each stage, without an end where the share is not known."""
    stages: dict[str, tuple[TaskID, Stage]] = {}

    def notify(now: Progress) -> None:
        if now.stage not in stages:
            for task, _ in stages.values():
                bars.stop_task(task)
            stages[now.stage] = bars.add_task(now.stage, total=None, figures=""), Stage()
        task, stage = stages[now.stage]
        total = None if now.share is None else 1.0
        bars.update(task, total=total, completed=now.share or 0.0, figures=stage.figures(now))

    return notify


def line_notify(console: Console, clock: Callable[[], float] = time.monotonic) -> Notify:
    """Prints a line when a stage begins and, while it lasts, every now and then."""
    stages: dict[str, Stage] = {}
    last = clock()

    def notify(now: Progress) -> None:
        nonlocal last
        begins = now.stage not in stages
        figures = stages.setdefault(now.stage, Stage(clock)).figures(now)
        if begins:
            console.print(now.stage, soft_wrap=True)
        elif clock() - last >= _LINES_APART:
            console.print(f"{now.stage}: {figures}", soft_wrap=True)
        else:
            return
        last = clock()

    return notify
