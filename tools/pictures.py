"""Make the README's pictures: the REPL while a story grows, and a training run.

    python tools/pictures.py                writes docs/repl.svg and docs/dashboard.svg
    python tools/pictures.py repl           writes only that one; dashboard takes longer

Both programs really run, in a terminal of pyte's; what it shows is drawn as SVG. Takes two minutes
on a machine that does nothing else, as the speed is in the picture.
"""

import sys
import tempfile
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from itertools import groupby
from pathlib import Path
from xml.sax.saxutils import escape

import pyte

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT))

from tests.repl.terminal import Terminal  # noqa: E402

ENDING = "They shared the cake and everyone was happy."
COLUMNS, REPL_LINES, DASHBOARD_LINES = 84, 22, 26
CELL_WIDTH, CELL_HEIGHT, MARGIN = 8.4, 19.0, 14.0
BACKGROUND, FOREGROUND = "#16181d", "#d5d8de"
PALETTE = {
    "default": FOREGROUND,
    "black": "#3b4048",
    "red": "#e06c75",
    "green": "#98c379",
    "brown": "#e5c07b",
    "blue": "#61afef",
    "magenta": "#c678dd",
    "cyan": "#56c8d8",
    "white": FOREGROUND,
}


@dataclass(frozen=True)
class Frame:
    """What a screen showed: SVG elements, and for how many seconds."""

    elements: str
    seconds: float


def main() -> None:
    """Write the pictures that are named, or both."""
    # pyte knows nothing faint, and nothing here is in italics.
    pyte.graphics.TEXT[2] = "+italics"
    makers = {"repl": (repl, REPL_LINES), "dashboard": (dashboard, DASHBOARD_LINES)}
    for name in sys.argv[1:] or makers:
        make, lines = makers[name]
        (ROOT / "docs" / f"{name}.svg").write_text(picture(make(), lines), encoding="utf-8")


def repl() -> list[Frame]:
    """An ending is typed, a story grows, and its words are coloured by surprise."""
    frames: list[Frame] = []
    with tempfile.TemporaryDirectory() as home:
        command = ("-m", "mlx_rev.repl", "--seed", "7")
        terminal = Terminal(Path(home), *command, columns=COLUMNS, lines=REPL_LINES)

        def wait(until: Callable[[list[str]], bool], hold: float, each: float = 0.12) -> None:
            terminal.wait(until, on_frame=lambda: frames.append(drawn(terminal.screen, each)))
            frames.append(drawn(terminal.screen, hold))

        wait(at_prompt, 1.0)
        for start in range(0, len(ENDING), 3):
            typed = ENDING[: start + 3]
            terminal.type(ENDING[start : start + 3])
            wait(partial(_shows, typed.rstrip()), 0.05)
        terminal.type("\r")
        wait(at_prompt, 4.0)
        terminal.type("/surprise\r")
        wait(at_prompt, 6.0)
        terminal.leave()
    return frames


def _shows(text: str, rows: list[str]) -> bool:
    return any(text in row for row in rows)


def dashboard(steps: int = 1600) -> list[Frame]:
    """A run on the bundled stories, as it stands when it ends."""
    every = steps // 4
    with tempfile.TemporaryDirectory() as home:
        terminal = Terminal(
            Path(home), "-m", "mlx_rev.train", "--steps", str(steps), "--sample-every", str(every),
            "--eval-every", str(every // 2), "--log-every", str(steps // 80), columns=COLUMNS,
            lines=DASHBOARD_LINES,
        )  # fmt: skip
        last: list[Frame] = []

        def keep() -> None:
            text = "\n".join(terminal.rows)
            if f"{steps}/{steps}" in text and "talk to the model" not in text:
                last[:] = [drawn(terminal.screen, 1.0)]

        terminal.wait(lambda rows: any("talk to the model" in row for row in rows), 900, keep)
        return last


def at_prompt(rows: Sequence[str]) -> bool:
    """Whether an empty prompt is the last thing on the screen."""
    return [row for row in rows if row][-1:] == ["ending>"]


def drawn(screen: pyte.Screen, seconds: float) -> Frame:
    """The screen's text as SVG elements, one for each run of cells that look alike."""
    elements = []
    for row in range(screen.lines):
        cells = [(column, screen.buffer[row][column]) for column in range(screen.columns)]
        for look, group in groupby(cells, key=lambda cell: _look(cell[1])):
            run, (colour, *styles) = list(group), look
            text = "".join(cell.data for _, cell in run)
            if not text.strip():
                continue
            left = len(text) - len(text.lstrip())
            shown = text.strip()
            x = MARGIN + (run[0][0] + left) * CELL_WIDTH
            y = MARGIN + (row + 0.75) * CELL_HEIGHT
            elements.append(
                f'<text x="{x:.1f}" y="{y:.1f}" textLength="{len(shown) * CELL_WIDTH:.1f}" '
                f'fill="{PALETTE.get(colour, FOREGROUND)}"{"".join(styles)}>{escape(shown)}</text>'
            )
    return Frame("".join(elements), seconds)


def _look(cell: pyte.screens.Char) -> tuple[str, ...]:
    """The colour of a cell and the attributes of its text."""
    return (
        cell.fg,
        ' font-weight="bold"' if cell.bold else "",
        ' text-decoration="underline"' if cell.underscore else "",
        ' fill-opacity="0.6"' if cell.italics else "",
    )


def picture(frames: Sequence[Frame], lines: int) -> str:
    """The frames one after the other, over and over; where nothing moves, the last one."""
    merged = [
        Frame(elements, sum(frame.seconds for frame in same))
        for elements, same in groupby(frames, key=lambda frame: frame.elements)
    ]
    width, height = COLUMNS * CELL_WIDTH + 2 * MARGIN, lines * CELL_HEIGHT + 2 * MARGIN
    total = sum(frame.seconds for frame in merged)
    groups, start = [], 0.0
    for frame in merged:
        end = start + frame.seconds / total
        last = frame is merged[-1]
        times = f"0;{start:.4f}" if last else f"0;{start:.4f};{min(end, 1):.4f}"
        values = "hidden;visible" if last else "hidden;visible;hidden"
        moves = (
            f'<animate attributeName="visibility" calcMode="discrete" dur="{total:.1f}s" '
            f'repeatCount="indefinite" keyTimes="{times}" values="{values}"/>'
        )
        hidden = "" if last else ' visibility="hidden"'
        groups.append(f"<g{hidden}>{moves if len(merged) > 1 else ''}{frame.elements}</g>")
        start = end
    body = "\n".join(groups)
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width:.0f} {height:.0f}" '
        f'font-family="ui-monospace, Menlo, Consolas, DejaVu Sans Mono, monospace" '
        f'font-size="14" xml:space="preserve">\n<style>text {{ white-space: pre; }}</style>\n'
        f'<rect width="100%" height="100%" rx="8" fill="{BACKGROUND}"/>\n{body}\n</svg>\n'
    )


if __name__ == "__main__":
    main()
