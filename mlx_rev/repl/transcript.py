"""Sessions that are kept: a file each, a line for each story, readable by nobody else.

The newest MOST_SESSIONS are kept, each up to LARGEST bytes. A line that was cut short by a crash is
passed over.
"""

import errno
import json
import os
import secrets
from dataclasses import asdict, dataclass
from datetime import datetime
from pathlib import Path
from typing import Any, get_args, get_type_hints

from mlx_rev import files
from mlx_rev.config import SampleConfig
from mlx_rev.errors import RevError
from mlx_rev.generate.story import StopReason, Story
from mlx_rev.repl.names import lasting_reference
from mlx_rev.text.order import ORDER_NAMES
from mlx_rev.text.stream import Growth

MOST_SESSIONS = 50
LARGEST = 2 << 20
_SUFFIX = ".jsonl"


class Transcript:
    """Where a session is kept. Its file comes with the first story."""

    def __init__(self, folder: Path, path: Path | None = None) -> None:
        self.folder = folder
        self.path = path
        """None until there is something in it."""

    def add(self, story: Story) -> None:
        """Append a story. Raises OSError where that is impossible, and at LARGEST bytes."""
        line = (json.dumps(_as_object(story), ensure_ascii=False) + "\n").encode("utf-8", "replace")
        if self.path is None:
            self.folder.mkdir(parents=True, exist_ok=True, mode=0o700)
            _remove_oldest(self.folder, MOST_SESSIONS - 1)
            name = f"{datetime.now():%Y%m%d-%H%M%S}-{secrets.token_hex(2)}{_SUFFIX}"
            self.path = self.folder / name
        flags = os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_NOFOLLOW
        with files.naming(self.path), open(os.open(self.path, flags, 0o600), "ab") as file:
            if file.tell() + len(line) > LARGEST:
                raise OSError(errno.EFBIG, f"is full at {LARGEST >> 20} MB")
            file.write(line)


@dataclass(frozen=True)
class Kept:
    """A session on disk."""

    path: Path
    when: str
    """When it was last written to, to the minute."""

    def stories(self) -> list[Story]:
        """Its stories, as far as they can be read."""
        try:
            lines = files.read_bytes(self.path).decode(errors="replace").split("\n")
        except (OSError, RevError):
            return []
        return [story for story in map(_story, lines) if story is not None]


def sessions(folder: Path, besides: Path | None = None) -> list[Kept]:
    """The sessions that are kept, the newest first."""
    found = []
    for path in _by_age(folder):
        if path != besides:
            when = datetime.fromtimestamp(path.stat().st_mtime)
            found.append(Kept(path, f"{when:%Y-%m-%d %H:%M}"))
    return found


def _by_age(folder: Path) -> list[Path]:
    """The newest first, and of one moment by name."""
    paths = [path for path in folder.glob(f"*{_SUFFIX}") if path.is_file()]
    return sorted(paths, key=lambda path: (path.stat().st_mtime_ns, path.name), reverse=True)


def _remove_oldest(folder: Path, most: int) -> None:
    for path in _by_age(folder)[most:]:
        path.unlink(missing_ok=True)


class Settled(Growth):
    """The text of a story that will not grow."""

    def __init__(self, text: str) -> None:
        self._text = text

    def push(self, piece: bytes) -> None:
        """Adds nothing: the text is known."""

    def finish(self) -> None:
        """Nothing is left to show."""

    @property
    def text(self) -> str:
        """What was generated."""
        return self._text


def _as_object(story: Story) -> dict[str, object]:
    return {
        "prompt": story.prompt,
        "beginning": story.beginning,
        "generated": story.generated,
        "leftwards": story.leftwards,
        "model": lasting_reference(story.model),
        "reversal": story.reversal,
        "tokenizer": lasting_reference(story.tokenizer),
        "settings": asdict(story.settings or SampleConfig(seed=story.seed)),
        "finished": story.finished,
        "seconds": round(story.seconds, 3),
        "tokens": story.tokens,
        "surprises": [round(bits, 3) for bits in story.surprises],
    }


def _story(line: str) -> Story | None:
    """The story of a line; None for what no session wrote."""
    try:
        entry = json.loads(line)
        settings = _settings(entry["settings"])
        generated, beginning = _a(str, entry["generated"]), _a(str, entry.get("beginning", ""))
        story = Story(
            prompt=_a(str, entry["prompt"]),
            beginning=beginning if generated.startswith(beginning) else "",
            spelling=(),
            leftwards=_a(bool, entry["leftwards"]),
            growth=Settled(generated),
            seed=settings.seed,
            model=_a(str, entry["model"]),
            reversal=_reversal(entry.get("reversal", "")),
            tokenizer=_a(str, entry.get("tokenizer", "")),
            settings=settings,
            seconds=float(_a((int, float), entry["seconds"])),
        )
        if entry["finished"] not in get_args(StopReason):
            return None
        story.finished = entry["finished"]
        for token, bits in zip(entry["tokens"], entry["surprises"], strict=True):
            story.grow(_a(int, token), b"", float(_a((int, float), bits)))
    except (ValueError, TypeError, KeyError, RecursionError):
        return None
    return story


def _reversal(name: Any) -> str:
    if name not in ("", *ORDER_NAMES):
        raise ValueError
    return str(name)


def _a(kind: Any, value: Any) -> Any:
    if not isinstance(value, kind) or (kind is not bool and isinstance(value, bool)):
        raise TypeError
    return value


def _settings(table: object) -> SampleConfig:
    kinds = get_type_hints(SampleConfig)
    values = {name: _a((int, kinds[name]), value) for name, value in _a(dict, table).items()}
    settings = SampleConfig(**values)
    if settings.problems():
        raise ValueError
    return settings
