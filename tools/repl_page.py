"""Write docs/repl.md from the help of the REPL's commands.

    python tools/repl_page.py

A test says when the page is no longer what the commands say.
"""

import sys
from collections.abc import Sequence
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT))

from mlx_rev.repl.command import Command  # noqa: E402
from mlx_rev.repl.commands import FIGURES, GROUPS, KEYS  # noqa: E402

PAGE = ROOT / "docs" / "repl.md"
INTRODUCTION = """\
# The REPL

Made by `python tools/repl_page.py` from the help of the commands: change that, not this page.

`mlx-rev repl`, or `mlx-rev` alone in a terminal, asks how a story ends, and shows how the model
writes what led to it. Any line that does not begin with a slash is an ending (or, for a forward
model, an opening); put a space in front of one that does. What is typed while a story grows waits
for the next prompt.

The story that was told or taken up last is the one *in hand*: the commands are about it. What
stands of it after `/cut`, `/edit` or `/alternatives` is the ending of the next story, byte for
byte.

Sessions are kept on this machine, in files that only you can read; `--no-transcript` keeps none. In
a pipe each line is an ending and empty ones are skipped; there are no commands there.
"""


def main() -> None:
    """Write the page."""
    PAGE.write_text(page(), encoding="utf-8")


def page() -> str:
    """The whole page, in Markdown."""
    parts = [INTRODUCTION, "## What stands beside a story", _rows(FIGURES), "## Keys", _rows(KEYS)]
    for title, group in GROUPS:
        parts += [f"## {title}", *map(_section, group)]
    return "\n\n".join(part.strip() for part in parts) + "\n"


def _rows(rows: Sequence[tuple[str, str]]) -> str:
    return "\n".join(["| | |", "| --- | --- |", *(f"| {left} | {right} |" for left, right in rows)])


def _section(command: Command) -> str:
    names = [f"`{name}`" for name in command.aliases]
    parts = [
        f"### `{command.usage}`",
        command.explanation.replace("<", "\\<"),
        f"Example: `{command.example}`" + (f" Also: {', '.join(names)}." if names else ""),
    ]
    return "\n\n".join(parts)


if __name__ == "__main__":
    main()
