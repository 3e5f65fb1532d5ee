"""Make the README's pictures: the REPL while a story grows, and a training run.

    python tools/pictures.py            writes docs/repl.svg and docs/dashboard.svg

Both programs really run, in a terminal of pyte's; what it shows is drawn as SVG. Takes two minutes.
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
COLUMNS = 84
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
    """Write both pictures."""
    docs = ROOT / "docs"
    docs.mkdir(exist_ok=True)
    (docs / "repl.svg").write_text(picture(repl(), lines=22), encoding="utf-8")
    (docs / "dashboard.svg").write_text(picture(dashboard(), lines=26), encoding="utf-8")


def repl() -> list[Frame]:
    """An ending is typed, a story grows, and its words are coloured by surprise."""
    frames: list[Frame] = []
    with tempfile.TemporaryDirectory() as home:
        command = ("-m", "mlx_rev.repl", "--seed", "9")
        terminal = Terminal(Path(home), *command, columns=COLUMNS, lines=22)

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


def dashboard() -> list[Frame]:
    """A run on the bundled stories, as it stands when it ends."""
    with tempfile.TemporaryDirectory() as home:
        terminal = Terminal(
            Path(home), "-m", "mlx_rev.train", "--steps", "1600", "--sample-every", "400",
            "--eval-every", "200", "--log-every", "20", columns=COLUMNS, lines=26,
        )  # fmt: skip
        last: list[Frame] = []

        def keep() -> None:
            text = "\n".join(terminal.rows)
            if "1600/1600" in text and "talk to the model" not in text:
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
        for (colour, bold), group in groupby(cells, key=lambda cell: (cell[1].fg, cell[1].bold)):
            run = list(group)
            text = "".join(cell.data for _, cell in run)
            if not text.strip():
                continue
            left = len(text) - len(text.lstrip())
            shown = text.strip()
            x = MARGIN + (run[0][0] + left) * CELL_WIDTH
            y = MARGIN + (row + 0.75) * CELL_HEIGHT
            weight = ' font-weight="bold"' if bold else ""
            elements.append(
                f'<text x="{x:.1f}" y="{y:.1f}" textLength="{len(shown) * CELL_WIDTH:.1f}" '
                f'fill="{PALETTE.get(colour, FOREGROUND)}"{weight}>{escape(shown)}</text>'
            )
    return Frame("".join(elements), seconds)


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
        f'font-size="14" xml:space="preserve">\n'
        f'<rect width="100%" height="100%" rx="8" fill="{BACKGROUND}"/>\n{body}\n</svg>\n'
    )


if __name__ == "__main__":
    main()
