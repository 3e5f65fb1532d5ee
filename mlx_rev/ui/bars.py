"""Progress bars that fit any width and leave nothing behind when the window shrinks."""

from collections.abc import Iterable

from rich.console import Console, ConsoleOptions, RenderableType, RenderResult
from rich.control import Control
from rich.live_render import LiveRender
from rich.progress import Progress, ProgressColumn, Task, TextColumn
from rich.segment import Segment
from rich.table import Column, Table

Columns = tuple[ProgressColumn, ...]


def words(form: str) -> TextColumn:
    """A text that may be wrapped."""
    return TextColumn(form, markup=False, table_column=Column())


_NARROW: Columns = (words("{task.description}  {task.percentage:.0f}%"),)


class Bars(Progress):
    """Progress, which disappears when it is done; nothing at all unless `shown`.

    With fewer than `least` columns on the console it is what `narrow` says, without bars.
    """

    def __init__(
        self,
        console: Console,
        *,
        shown: bool = True,
        wide: Columns | None = None,
        narrow: Columns = _NARROW,
        least: int = 70,
    ) -> None:
        self._console = console  # asked for while the rest is made
        self._wide, self._narrow, self._least = wide or self.get_default_columns(), narrow, least
        super().__init__(console=console, transient=True, disable=not shown)
        self.live._live_render = _Rewrapped(self.live.get_renderable(), console)

    def make_tasks_table(self, tasks: Iterable[Task]) -> Table:
        """What is shown, for the width that the console now has."""
        self.columns = self._wide if self._console.width >= self._least else self._narrow
        return super().make_tasks_table(tasks)


class _Rewrapped(LiveRender):
    """What is drawn in place of what was drawn before, whose lines the terminal has rewrapped if
    it has become narrower since. Rich counts the lines, not the rows that they then take."""

    def __init__(self, renderable: RenderableType, console: Console) -> None:
        super().__init__(renderable)
        self._console = console
        self._widths: list[int] = []

    def __rich_console__(self, console: Console, options: ConsoleOptions) -> RenderResult:
        rendered = super().__rich_console__(console, options)
        drawn = [part for part in rendered if isinstance(part, Segment)]
        self._widths = [Segment.get_line_length(line) for line in Segment.split_lines(drawn)]
        yield from drawn

    def position_cursor(self) -> Control:
        """To the first row, all below it erased."""
        self._count_rows()
        return super().position_cursor()

    def restore_cursor(self) -> Control:
        """The same from the row below."""
        self._count_rows()
        return super().restore_cursor()

    def _count_rows(self) -> None:
        columns = self._console.width
        rows = sum(max(1, -(-width // columns)) for width in self._widths)
        self._shape = (columns, rows) if self._widths else None
