"""How things look in a terminal, and what is shown where there is none."""

import os
import shutil
from collections.abc import Iterable
from typing import IO

from rich.cells import cell_len
from rich.console import Console, ConsoleOptions, RenderableType
from rich.segment import Segment
from rich.text import Text
from rich.theme import Theme

from mlx_rev.ui.visible import visible

THEME = Theme(
    {
        "ending": "bold magenta",
        "label": "dim",
        "train": "cyan",
        "valid": "magenta",
        "best": "green",
        "error": "red",
    }
)
"""Colours of the terminal's own palette, so that they fit light and dark backgrounds."""


_LEAST_BESIDE = 16
"""Columns in which a text can still be read."""


class _SafeConsole(Console):
    """A console on which no text, wherever it comes from, acts as a control sequence."""

    def render(
        self, renderable: RenderableType, options: ConsoleOptions | None = None
    ) -> Iterable[Segment]:
        terminal = self.is_terminal or self.file.isatty()
        for text, style, control in super().render(renderable, options):
            safe = visible(text) if terminal and not control else text
            yield Segment(safe, style, control)


def make_console(
    file: IO[str] | None = None,
    *,
    stderr: bool = False,
    plain: bool = False,
    quiet: bool = False,
) -> Console:
    """A console that obeys neither markup nor control sequences in text; NO_COLOR is respected.
    `plain`: no styles; `quiet`: it shows nothing."""
    # Of a dumb terminal, Rich would not ask for the size.
    size = shutil.get_terminal_size() if os.environ.get("TERM") == "dumb" else None
    return _SafeConsole(
        width=size and size.columns,
        height=size and size.lines,
        file=file,
        stderr=stderr,
        theme=THEME,
        markup=False,
        highlight=False,
        emoji=False,
        no_color=True if plain else None,
        force_terminal=False if plain or quiet else None,
        quiet=quiet,
    )


def is_interactive(console: Console) -> bool:
    """Whether the console can redraw what it shows."""
    return console.is_terminal and os.environ.get("TERM") != "dumb"


def say(console: Console, line: str) -> None:
    """Print a sentence: wrapped at words in a terminal, in one line elsewhere."""
    console.print(line, soft_wrap=not console.is_terminal)


def beside(console: Console, head: str, text: str) -> None:
    """Print a text in a terminal wrapped at words, its lines below each other to the right of
    `head` or, where there is too little room for that, below it."""
    indent = cell_len(head)
    if console.width - indent < _LEAST_BESIDE:
        if head.strip():
            console.print(head, soft_wrap=True)
        head, indent = "", 2 if head else 0
    lines = Text(visible(text)).wrap(console, max(1, console.width - indent))
    for number, line in enumerate(lines):
        first = head if head and not number else " " * indent
        line.rstrip()
        console.print(Text(first).append(line))


def story_text(story: str, ending: str) -> Text:
    """A story with the words the person typed in a style of their own, at either side."""
    text = Text(visible(story))
    if ending and story.endswith(ending):
        text.stylize("ending", len(story) - len(ending))
    elif ending and story.startswith(ending):
        text.stylize("ending", 0, len(ending))
    return text
