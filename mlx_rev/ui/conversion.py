"""How a conversion looks: a bar while it runs, a table when it is done."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager

from rich.box import HEAVY_HEAD
from rich.console import Console
from rich.table import Table

from mlx_rev.formats.convert import Conversion
from mlx_rev.program import runnable
from mlx_rev.ui.bars import Bars
from mlx_rev.ui.console import is_interactive, say


def show(done: Conversion, console: Console) -> None:
    """Print the table of a conversion, its notes, and how to run the result; without frames unless
    the console is interactive."""
    frames = HEAVY_HEAD if is_interactive(console) else None
    title = f"{done.format}, {done.dtype}"
    table = Table("file", "bytes", "sha256", title=title, box=frames)
    for path, size, checksum in done.files:
        table.add_row(path.name, f"{size:,}", checksum[:16])
    console.print(table)
    lines = [f"{done.tensors} tensors, {done.parameters:,} parameters"]
    if done.errors:
        worst = max(done.errors, key=lambda name: done.errors[name])
        lines.append(f"largest rounding error {done.errors[worst]:.3g}, in {worst}")
    if done.kept_whole:
        more = ", …" if len(done.kept_whole) > 1 else ""
        lines.append(
            f"{len(done.kept_whole)} matrices stay float16, because their row length is not a "
            f"multiple of the group size: {done.kept_whole[0]}{more}"
        )
    lines += [f"note: {note}" for note in done.notes]
    for line in lines:
        say(console, line)
    # What is to be copied has no line break in it.
    console.print(f"run it: {runnable(done.run)}", soft_wrap=True)


@contextmanager
def bar(console: Console) -> Iterator[Callable[[str, float], None]]:
    """A progress bar on a terminal, nothing elsewhere."""
    with Bars(console, shown=is_interactive(console)) as progress:
        task = progress.add_task("converting", total=1.0)
        yield lambda name, share: progress.update(task, description=name, completed=share)
