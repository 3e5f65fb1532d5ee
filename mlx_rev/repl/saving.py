"""A story as a file: text, Markdown, HTML or a picture."""

import io
from pathlib import Path

from rich.console import Console
from rich.panel import Panel

from mlx_rev import files
from mlx_rev.errors import ConfigError
from mlx_rev.generate.story import Story
from mlx_rev.ui.console import THEME, story_text

PICTURE_COLUMNS = 80


def save_story(story: Story, path: Path, *, force: bool = False) -> None:
    """Write a story in the format that the file name implies. Raises ConfigError for another name,
    and for an existing file unless `force` is given."""
    makers = {".txt": _as_text, ".md": _as_markdown, ".html": _as_html, ".svg": _as_svg}
    suffix = path.suffix.lower()
    if suffix not in makers:
        raise ConfigError(f"{path}: expected a name that ends in {', '.join(makers)}")
    if path.exists() and not force:
        raise ConfigError(f"{path}: exists; choose another name, or replace it with --force")
    files.write_text(path, makers[suffix](story))


def _as_text(story: Story) -> str:
    return story.text + "\n"


def _as_markdown(story: Story) -> str:
    side = "Ending" if story.leftwards else "Opening"
    given = " ".join(story.prompt.split())
    body = "\n\n".join(line for line in story.text.split("\n") if line.strip())
    return f"{body}\n\n---\n\nModel: {story.model}, seed {story.seed}. {side} given: {given}\n"


def _as_html(story: Story) -> str:
    return _recorded(story).export_html(inline_styles=True)


def _as_svg(story: Story) -> str:
    return _recorded(story).export_svg(title=f"{story.model}, seed {story.seed}")


def _recorded(story: Story) -> Console:
    console = Console(
        file=io.StringIO(), record=True, width=PICTURE_COLUMNS, theme=THEME, force_terminal=True
    )
    console.print(Panel(story_text(story.text, story.prompt)))
    return console
