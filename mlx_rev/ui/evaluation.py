"""How an evaluation looks: a table, a picture, JSON, and a bar while it runs."""

import dataclasses
import json
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from rich.box import HEAVY_HEAD
from rich.console import Console
from rich.table import Table
from rich.text import Text

from mlx_rev.files import atomic_path
from mlx_rev.generate.bootstrap import Estimate
from mlx_rev.generate.evaluate import MODEL, Evaluation, Measure
from mlx_rev.ui.bars import Bars
from mlx_rev.ui.console import is_interactive

_COLUMNS = 3
"""Panels in a row of the picture."""
_NARROW = 70
"""On a terminal with fewer columns a table cannot be read."""
_WIDTH = 110
"""Of the table in a file, which has no edge."""


def show(evaluation: Evaluation, title: str, console: Console) -> None:
    """Print a line for each measure and a column for each row of stories, with 95% intervals;
    without frames where there is no terminal."""
    if console.is_terminal and console.width < _NARROW:
        _show_below_each_other(evaluation, title, console)
        return
    frames = HEAVY_HEAD if is_interactive(console) else None
    table = Table(title=title, title_justify="left", box=frames)
    table.add_column("mean [95% interval]")
    for name in evaluation.rows:
        table.add_column(name, justify="right")
    if evaluation.chance:
        table.add_column("chance", justify="right")
    judged = True
    for measure in evaluation.measures:
        if judged and not measure.judged:
            table.add_section()
        judged = measure.judged
        cells = (
            _cell(figures[measure.key].estimate, measure) for figures in evaluation.rows.values()
        )
        table.add_row(measure.label, *cells, *_chance(evaluation, measure))
    if not console.is_terminal:
        console.width = max(console.width, _WIDTH)
    console.print(table)


def _show_below_each_other(evaluation: Evaluation, title: str, console: Console) -> None:
    """The same where the columns of a table have no room beside each other."""
    console.print(Text(title, style="italic"))
    console.print(Text("mean [95% interval]", style="label"))
    width = max(map(len, evaluation.rows))
    for measure in evaluation.measures:
        console.print(Text(measure.label, style="bold"))
        for name, figures in evaluation.rows.items():
            cell = _cell(figures[measure.key].estimate, measure)
            console.print(Text(f"  {name:<{width}}  {cell}"))
        for cell in _chance(evaluation, measure):
            console.print(Text(f"  {'chance':<{width}}  {cell}"))


def _cell(estimate: Estimate, measure: Measure) -> str:
    low, high = (_number(value, measure) for value in (estimate.low, estimate.high))
    return f"{_number(estimate.mean, measure)}{'%' * measure.percent} [{low}, {high}]"


def _chance(evaluation: Evaluation, measure: Measure) -> list[str]:
    """What chance gives, where that is known."""
    value = evaluation.chance.get(measure.key)
    return [] if value is None else [f"{_number(value, measure)}{'%' * measure.percent}"]


def _number(value: float, measure: Measure) -> str:
    return f"{(100 if measure.percent else 1) * value:.{measure.digits}f}"


def as_json(evaluation: Evaluation, about: Mapping[str, Any]) -> str:
    """Everything that was measured, story by story, after what `about` says of the evaluation."""
    rows = {
        name: {
            key: {**vars(figure.estimate), "values": figure.values}
            for key, figure in figures.items()
        }
        for name, figures in evaluation.rows.items()
    }
    content = {
        **about,
        "measures": {measure.key: measure.label for measure in evaluation.measures},
        **({"chance": evaluation.chance} if evaluation.chance else {}),
        "rows": rows,
        "stories": [dataclasses.asdict(story) for story in evaluation.stories],
    }
    if evaluation.best:
        content["best"] = [dataclasses.asdict(story) for story in evaluation.best]
    return json.dumps(_rounded(content), indent=1, ensure_ascii=False) + "\n"


def picture(evaluation: Evaluation, title: str, target: Path) -> None:
    """Draw a panel for each measure as PNG, with the intervals."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    lines = -(-len(evaluation.measures) // _COLUMNS)
    figure = Figure(figsize=(12, 0.6 + 1.5 * lines), dpi=120, layout="constrained")
    FigureCanvasAgg(figure)
    figure.suptitle(title.replace("$", r"\$"))
    names = list(evaluation.rows)
    panels = figure.subplots(lines, _COLUMNS, squeeze=False).flat
    for panel, measure in zip(panels, evaluation.measures, strict=False):
        scale = 100 if measure.percent else 1
        for place, name in enumerate(names):
            found = evaluation.rows[name][measure.key].estimate
            colour = "tab:blue" if name == MODEL else "tab:grey"
            panel.plot([scale * found.low, scale * found.high], [place, place], color=colour)
            panel.plot([scale * found.mean], [place], "o", color=colour)
        label = measure.label + (", %" if measure.percent else "")
        panel.set_title(label.replace("$", r"\$"), fontsize=8, wrap=True)
        panel.set_yticks(range(len(names)), names)
        panel.set_ylim(len(names) - 0.5, -0.5)
        panel.grid(axis="x", alpha=0.3)
    for panel in list(figure.axes)[len(evaluation.measures) :]:
        panel.set_visible(False)
    with atomic_path(target) as temporary:
        figure.savefig(temporary, metadata={"Software": None})


@contextmanager
def bar(console: Console) -> Iterator[Callable[[str, float], None]]:
    """A progress bar on a terminal; elsewhere a line for each stage."""
    live = is_interactive(console)
    seen: set[str] = set()
    with Bars(console, shown=live) as progress:
        task = progress.add_task("evaluating", total=1.0)

        def notify(stage: str, share: float) -> None:
            progress.update(task, description=stage, completed=share)
            if not live and (first := stage.partition(",")[0]) not in seen:
                seen.add(first)
                console.print(first, soft_wrap=True)

        yield notify


def _rounded(value: Any) -> Any:
    """`value` with its numbers to six digits, which no machine's rounding changes."""
    if isinstance(value, float):
        return float(f"{value:.6g}")
    if isinstance(value, Mapping):
        return {key: _rounded(own) for key, own in value.items()}
    return [_rounded(own) for own in value] if isinstance(value, list | tuple) else value
