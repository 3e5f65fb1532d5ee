"""How the contents of token shards look: tables, a picture, JSON, and a bar while they are read."""

import dataclasses
import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from rich.box import HEAVY_HEAD
from rich.console import Console
from rich.table import Table
from rich.text import Text

from mlx_rev.data.inspection import Contents, Example
from mlx_rev.data.packing import PackingReport
from mlx_rev.files import atomic_path
from mlx_rev.ui.bars import Bars
from mlx_rev.ui.console import is_interactive
from mlx_rev.ui.visible import one_line

_WIDTH = 110
"""Of a table in a file, which has no edge."""
_BAR = 30
"""Cells of the longest bar of the histogram."""
_EIGHTHS = " ▏▎▍▌▋▊▉█"
_LONGEST_SHOWN = 2000
"""Characters of a story that is shown."""


@dataclass(frozen=True)
class RowsFound:
    """How the stories that are trained on fill rows."""

    context: int
    rows: int
    """Of an epoch."""
    backward: bool
    """Whether a story's boundary is where it ends."""
    report: PackingReport


@dataclass(frozen=True)
class Found:
    """What there is to show."""

    title: str
    contents: Mapping[str, Contents]
    """By the shards' name, as the examples."""
    examples: Mapping[str, Sequence[Example]]
    rows: RowsFound | None


def show(found: Found, console: Console) -> None:
    """Print the tables; without frames where there is no terminal."""
    if not console.is_terminal:
        console.width = max(console.width, _WIDTH)
    columns = [_figures(own) for own in found.contents.values()]
    rows = [(label, *(figures[label] for figures in columns)) for label in columns[0]]
    _print_table(found.title, list(found.contents), console, rows)
    for name, own in found.contents.items():
        console.print(Text(f"\nlengths in tokens, {name}", style="bold"))
        for label, count, bar in _histogram(own):
            console.print(Text(f"{label}  {count}  ").append(bar, style="train"))
    if found.rows is not None:
        console.print()
        title = f"as training reads them, in rows of {found.rows.context}"
        _print_table(title, [""], console, list(_row_figures(found.rows).items()))
    for name, stories in found.examples.items():
        if stories:
            console.print(Text(f"\nstories, {name}", style="bold"))
            _print_examples(stories, console)


def as_json(found: Found) -> str:
    """Everything that was found."""
    content: dict[str, Any] = {
        "source": found.title,
        "shards": {
            name: {**dataclasses.asdict(own), "bytes_per_token": own.bytes_per_token}
            for name, own in found.contents.items()
        },
    }
    if (rows := found.rows) is not None:
        content["rows"] = {
            "context": rows.context,
            "rows": rows.rows,
            "padding": rows.report.padding,
            "sighted_targets": rows.report.sighted_share,
            "stories_measured": rows.report.stories,
            "stories_cut": rows.report.cut,
            "stories_cut_that_fit": rows.report.fitting_cut,
            "pieces_per_cut_story": rows.report.pieces_per_cut_story,
        }
    content["examples"] = {
        name: [dataclasses.asdict(story) for story in own] for name, own in found.examples.items()
    }
    return json.dumps(content, indent=1, ensure_ascii=False) + "\n"


def picture(found: Found, target: Path) -> None:
    """Draw a histogram of the lengths of each shard set as PNG, with the context beside it."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    figure = Figure(figsize=(8, 0.6 + 2.6 * len(found.contents)), dpi=120, layout="constrained")
    FigureCanvasAgg(figure)
    figure.suptitle(found.title.replace("$", r"\$"))
    panels = figure.subplots(len(found.contents), 1, squeeze=False)[:, 0]
    for panel, (name, own) in zip(panels, found.contents.items(), strict=True):
        lengths = own.lengths
        edges = [lengths.width * place for place in range(len(lengths.counts))]
        panel.bar(edges, lengths.counts, width=lengths.width, align="edge", color="tab:blue")
        if found.rows is not None:
            label = f"context, {found.rows.context}"
            panel.axvline(found.rows.context, color="tab:red", linestyle="--", label=label)
            panel.legend(loc="upper right", frameon=False)
        panel.set_title(f"{name}: {own.stories:,} stories".replace("$", r"\$"), fontsize=9)
        panel.set_xlabel("tokens")
        panel.set_ylabel("stories")
        panel.grid(axis="y", alpha=0.3)
    with atomic_path(target) as temporary:
        figure.savefig(temporary, metadata={"Software": None})


@contextmanager
def bar(console: Console) -> Iterator[Callable[[float], None]]:
    """A progress bar on a terminal; elsewhere nothing."""
    live = is_interactive(console)
    with Bars(console, shown=live) as progress:
        task = progress.add_task("verifying checksums", total=1.0)

        def notify(share: float) -> None:
            progress.update(task, completed=share)

        yield notify


def _print_table(
    title: str, columns: Sequence[str], console: Console, rows: Sequence[Sequence[str]]
) -> None:
    """With the label of each row at its left; the title is not broken to the table's width."""
    console.print(Text(one_line(title), style="bold"), soft_wrap=True)
    table = Table(box=HEAVY_HEAD if is_interactive(console) else None, show_header=any(columns))
    for place, column in enumerate(("", *columns)):
        table.add_column(column, justify="right" if place else "left", no_wrap=True)
    for row in rows:
        table.add_row(*row)
    console.print(table)


def _figures(own: Contents) -> dict[str, str]:
    words, unknown = own.tokens_per_word, own.without_checksum
    verified = "all verified" if not unknown else f"{unknown} of {own.shards} from before checksums"
    return {
        "stories": f"{own.stories:,}",
        "tokens": f"{own.tokens:,}",
        "bytes of text": f"{own.text_bytes:,}",
        "bytes per token": f"{own.bytes_per_token:.2f}",
        "tokens per word": "-" if words is None else f"{words:.2f}",
        "tokens of a story, median": f"{own.lengths.median:,}",
        "of 95 in 100, at most": f"{own.lengths.most:,}",
        "of the longest": f"{own.lengths.longest:,}",
        "shards": f"{own.shards:,}",
        "checksums": verified,
    }


def _histogram(own: Contents) -> Iterator[tuple[str, str, str]]:
    """A line for each bin: what is in it, how many stories, and a bar."""
    lengths, most = own.lengths, max(own.lengths.counts)
    last = len(lengths.counts) - 1
    labels = [
        f"{place * lengths.width + 1:,} to "
        + (f"{lengths.longest:,}" if place == last else f"{(place + 1) * lengths.width:,}")
        for place in range(last + 1)
    ]
    for label, count in zip(labels, lengths.counts, strict=True):
        whole, eighths = divmod(round(8 * _BAR * count / most), 8)
        bar = _EIGHTHS[-1] * whole + _EIGHTHS[eighths].strip()
        yield label.rjust(max(map(len, labels))), f"{count:,}".rjust(len(f"{most:,}")), bar


def _row_figures(rows: RowsFound) -> dict[str, str]:
    report = rows.report
    seen = "ending" if rows.backward else "boundary"
    figures = {
        "rows of an epoch": f"{rows.rows:,}",
        "padding": f"{report.padding:.2%}",
        f"targets that see their story's {seen}": f"{report.sighted_share:.2%}",
        "stories that are cut": f"{report.cut / report.stories:.2%}",
        "stories that are cut though they fit": f"{report.fitting_cut / report.stories:.2%}",
        "pieces of a cut story": f"{report.pieces_per_cut_story:.1f}",
    }
    if report.rows < rows.rows:
        figures["measured on"] = f"{report.stories:,} stories"
    return figures


def _print_examples(stories: Sequence[Example], console: Console) -> None:
    frames = HEAVY_HEAD if is_interactive(console) else None
    table = Table(box=frames, show_lines=frames is not None)
    table.add_column("as they are read", ratio=1, overflow="fold")
    table.add_column("as the model gets them", ratio=1, overflow="fold")
    for story in stories:
        pieces = "|".join(story.pieces)
        table.add_row(_shown(story.text), _shown(pieces, "train"))
    console.print(table)


def _shown(text: str, style: str = "") -> Text:
    line = text.replace("\n", "⏎")
    line = line if len(line) <= _LONGEST_SHOWN else line[:_LONGEST_SHOWN] + "…"
    return Text(one_line(line), style=style)
