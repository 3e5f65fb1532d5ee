"""How things look in a terminal, and what is shown where there is none."""

import os
import shutil
from collections.abc import Iterable
from typing import IO

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


def beside(console: Console, head: Text, text: str) -> None:
    """Print a text to the right of `head`: in a terminal wrapped at words, its lines below each
    other or, where there is too little room, all below `head`; in one line elsewhere."""
    if not console.is_terminal:
        console.print(head + Text(text), soft_wrap=True)
        return
    indent = head.cell_len
    if console.width - indent < _LEAST_BESIDE:
        console.print(head, soft_wrap=True)
        head, indent = Text("  "), 2
    lines = Text(visible(text)).wrap(console, max(1, console.width - indent))
    for number, line in enumerate(lines):
        line.rstrip()
        console.print((Text(" " * indent) if number else head) + line)


def story_text(story: str, ending: str) -> Text:
    """A story with the words the person typed in a style of their own, at either side."""
    text = Text(visible(story))
    if ending and story.endswith(ending):
        text.stylize("ending", len(story) - len(ending))
    elif ending and story.startswith(ending):
        text.stylize("ending", 0, len(ending))
    return text
