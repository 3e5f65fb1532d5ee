"""A story as a file: text, Markdown, JSON, or a replay of how it grew."""

import json
from dataclasses import asdict
from pathlib import Path

from mlx_rev import files
from mlx_rev.errors import ConfigError
from mlx_rev.generate.story import Story
from mlx_rev.repl.names import short_name
from mlx_rev.repl.replaying import described, picture, web_page


def save_story(story: Story, path: Path, *, force: bool = False) -> None:
    """Write a story in the format that the file name implies. Raises ConfigError for another name,
    and for an existing file unless `force` is given."""
    makers = {
        ".txt": _as_text,
        ".md": _as_markdown,
        ".html": web_page,
        ".svg": picture,
        ".json": _as_json,
    }
    suffix = path.suffix.lower()
    if suffix not in makers:
        *others, last = makers
        raise ConfigError(f"{path}: expected a name that ends in {', '.join(others)} or {last}")
    if path.exists() and not force:
        raise ConfigError(f"{path}: exists; choose another name, or replace it with --force")
    files.write_text(path, makers[suffix](story))


def as_object(story: Story) -> dict[str, object]:
    """A story for programs: what was given and told, by whom and how."""
    settings = asdict(story.settings) if story.settings else {}
    return {
        "ending": story.prompt,
        **({"beginning": story.beginning} if story.beginning else {}),
        "story": story.text,
        "tokens": len(story.tokens),
        "seconds": round(story.seconds, 4),
        "seed": story.seed,
        "model": short_name(story.model),
        "reference": story.model,
        "finished": story.finished,
        "settings": {name: value for name, value in settings.items() if name != "seed"},
    }


def _as_text(story: Story) -> str:
    return story.text + "\n"


def _as_json(story: Story) -> str:
    return json.dumps(as_object(story), ensure_ascii=False, indent=2) + "\n"


def _as_markdown(story: Story) -> str:
    side = "Ending" if story.leftwards else "Opening"
    given = f"{side} given: {' '.join(story.prompt.split())}"
    if story.beginning:
        given = f"Beginning given: {' '.join(story.beginning.split())}\n\n{given}"
    body = "\n\n".join(line for line in story.text.split("\n") if line.strip())
    return f"{body}\n\n---\n\n{described(story)}. {given}\n"
