"""Prepare a corpus and show the progress: a bar on a terminal, elsewhere a line per stage."""

from contextlib import nullcontext
from pathlib import Path

from rich.console import Console
from rich.progress import BarColumn, Progress, SpinnerColumn, TaskID, TaskProgressColumn, TextColumn

from mlx_rev.config import DataConfig
from mlx_rev.data.prepare import Prepared, prepare
from mlx_rev.files import naming_cache
from mlx_rev.ui.console import is_interactive, say


def prepare_shown(config: DataConfig, vocab_size: int, cache: Path, console: Console) -> Prepared:
    """`prepare`, with its stages shown on `console`. Raises RevError."""
    stages: dict[str, TaskID] = {}
    columns = (SpinnerColumn(), TextColumn("{task.description}"), BarColumn(), TaskProgressColumn())
    progress = Progress(*columns, console=console, transient=True)
    live = is_interactive(console)

    def notify(stage: str, share: float | None) -> None:
        if stage not in stages:
            stages[stage] = progress.add_task(stage, total=None if share is None else 1.0)
            if not live:
                console.print(stage, soft_wrap=True)
        progress.update(stages[stage], completed=share or 0.0)

    def warn(notice: str) -> None:
        say(console, f"note: {notice}")

    with naming_cache(cache), progress if live else nullcontext():
        return prepare(config, vocab_size, cache, notify, warn)
