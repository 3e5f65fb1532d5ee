"""How things look in a terminal, and what is shown where there is none."""

import os
from typing import IO

from rich.console import Console
from rich.text import Text
from rich.theme import Theme

THEME = Theme(
    {
        "ending": "bold cyan",
        "label": "dim",
        "train": "cyan",
        "valid": "magenta",
        "best": "green",
        "error": "red",
    }
)
"""Colours of the terminal's own palette, so that they fit light and dark backgrounds."""


def make_console(
    file: IO[str] | None = None,
    *,
    stderr: bool = False,
    plain: bool = False,
    quiet: bool = False,
) -> Console:
    """A console that takes no markup from text; NO_COLOR is respected. `plain`: no styles;
    `quiet`: it shows nothing."""
    return Console(
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


def story_text(story: str, ending: str) -> Text:
    """A story with the words the person typed in a style of their own, at either side."""
    text = Text(story)
    if ending and story.endswith(ending):
        text.stylize("ending", len(story) - len(ending))
    elif ending and story.startswith(ending):
        text.stylize("ending", 0, len(ending))
    return text
