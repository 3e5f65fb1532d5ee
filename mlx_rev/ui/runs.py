"""How training runs look: a table of all of them, one with its curves."""

import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from rich.console import Console
from rich.table import Table
from rich.text import Text

from mlx_rev import estimate, run_folder
from mlx_rev.config import RunConfig
from mlx_rev.config_file import read_toml
from mlx_rev.errors import RevError
from mlx_rev.train.runlog import read_metrics
from mlx_rev.ui.console import beside, say
from mlx_rev.ui.curves import drawing
from mlx_rev.ui.durations import spoken
from mlx_rev.ui.outlook import in_bytes
from mlx_rev.ui.training import hints
from mlx_rev.ui.visible import one_line

_WIDTH = 110
"""Of the table in a file, which has no edge."""
_COLUMNS = {"run": 0, "model": 80, "steps": 0, "best": 36, "size": 64, "age": 46}
"""Of the table, each from a width on."""
_CURVE_HEIGHT = 8
_WIDEST_CURVE = 100


@dataclass(frozen=True, kw_only=True)
class Run:
    """What a run folder says."""

    path: Path
    config: RunConfig
    step: int
    """Of the latest checkpoint; 0 where there is none."""
    losses: tuple[tuple[int, float], ...]
    """(step, nats per token)."""
    validations: tuple[tuple[int, float], ...]
    """(step, bits per byte)."""
    size: int
    """Bytes of all its files."""
    changed: float
    """When something was last written, in seconds since 1970."""

    @property
    def best(self) -> tuple[int, float] | None:
        """The step with the fewest bits per byte, and these."""
        return min(self.validations, key=lambda found: found[1], default=None)


def read_run(path: Path) -> Run:
    """Read a run folder, which a training may be writing. Raises RevError for a damaged one."""
    config = read_toml(path / run_folder.CONFIG)
    latest = run_folder.latest(path)
    entries = read_metrics(path / run_folder.METRICS)
    found = [_stat(file) for file in [path, *path.rglob("*")]]
    return Run(
        path=path,
        config=config,
        step=run_folder.step_of(latest) if latest else 0,
        losses=tuple((e["step"], e["loss"]) for e in entries if e["kind"] == "step"),
        validations=tuple((e["step"], e["bits_per_byte"]) for e in entries if e["kind"] == "eval"),
        size=sum(size for size, _ in found),
        changed=max(when for _, when in found),
    )


def _stat(path: Path) -> tuple[int, float]:
    """Bytes and the time of the last change; a checkpoint may be removed at any moment."""
    try:
        found = path.lstat()
    except OSError:
        return 0, 0.0
    return 0 if path.is_dir() else found.st_size, found.st_mtime


def show_runs(paths: Sequence[Path], console: Console) -> None:
    """Print a line for each run, the one that changed last at the end, and what is wrong with those
    that are damaged. A narrow screen has fewer columns."""
    width = console.width if console.is_terminal else _WIDTH
    names = [name for name, least in _COLUMNS.items() if width >= least]
    table = Table(box=None, pad_edge=False, padding=(0, 2, 0, 0))
    for name in names:
        left = name in ("run", "model")
        table.add_column(name, justify="left" if left else "right", no_wrap=not left)
    found, damaged = [], []
    for path in paths:
        try:
            found.append(read_run(path))
        except (RevError, OSError) as error:
            damaged.append(one_line(str(error)))
    for run in sorted(found, key=lambda run: run.changed):
        row = _row(run)
        table.add_row(*(Text(row[name], overflow="fold") for name in names))
    if found:
        console.print(table, width=width)
    for message in damaged:
        say(console, f"damaged: {message}")


def _row(run: Run) -> dict[str, str]:
    return {
        "run": str(run.path),
        "model": _model(run),
        "steps": f"{run.step:,}/{run.config.train.steps:,}",
        "best": f"{run.best[1]:.4f}" if run.best else "-",
        "size": in_bytes(run.size),
        "age": _age(run),
    }


def _model(run: Run) -> str:
    model = run.config.model
    count = estimate.parameters(model)
    size = f"{count / 1e6:.3g}M" if count >= 1e6 else f"{count / 1e3:.0f}K"
    layers = "1 layer" if model.n_layers == 1 else f"{model.n_layers} layers"
    return f"{size}, {layers} of {model.dim}, {run.config.data.reversal}"


def _state(run: Run) -> str:
    if not run.step:
        return ", no checkpoint yet"
    return ", finished" if run.step >= run.config.train.steps else ""


def _age(run: Run) -> str:
    """In its largest unit."""
    return " ".join(spoken(max(10.0, time.time() - run.changed)).split()[:2])


def show_run(run: Run, console: Console) -> None:
    """Print what a run is and how far it came, its curves, and what to type next."""
    data, train = run.config.data, run.config.train
    finished = run.step >= train.steps
    facts = {
        "model": f"{_model(run)}, vocabulary {run.config.model.vocab_size:,}, context "
        f"{run.config.model.context:,}",
        "data": data.data,
        "steps": f"{run.step:,} of {train.steps:,}{_state(run)}",
        "best": f"{run.best[1]:.4f} bits per byte, at step {run.best[0]:,}" if run.best else "-",
        "size": f"{in_bytes(run.size)}, last changed {_age(run)} ago",
    }
    console.print(Text(str(run.path), style="bold"))
    for name, fact in facts.items():
        beside(console, Text.assemble((f"{name:<7}", "label")), fact)
    width = min(console.width, _WIDEST_CURVE)
    for title, points, style in (
        ("training loss, nats per token", run.losses, "train"),
        ("validation, bits per byte", run.validations, "valid"),
    ):
        if points:
            console.print(Text("\n"), end="")
            console.print(drawing(title, points, width, _CURVE_HEIGHT, style))
    if not run.step:
        return
    console.print(Text("\n"), end="")
    for line in hints(run.path, train.ending, finished=finished):
        console.print(line, soft_wrap=True)
