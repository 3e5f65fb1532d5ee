"""Progress bars that leave nothing behind when the window shrinks."""

from rich.console import Console, ConsoleOptions, RenderableType, RenderResult
from rich.control import Control
from rich.live_render import LiveRender
from rich.progress import Progress, ProgressColumn
from rich.segment import Segment


class Bars(Progress):
    """Progress, which disappears when it is done; nothing at all unless `shown`."""

    def __init__(self, *columns: ProgressColumn, console: Console, shown: bool = True) -> None:
        super().__init__(*columns, console=console, transient=True, disable=not shown)
        self.live._live_render = _Rewrapped(self.live.get_renderable(), console)


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
