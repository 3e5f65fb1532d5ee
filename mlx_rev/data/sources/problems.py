"""What to do about a story that cannot be read: stop, or leave it out and say so at the end."""

from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

from mlx_rev.errors import DataError

SKIP_ADVICE = "or leave it out with --on-error skip"


@dataclass
class Problems:
    """Counts the stories that are left out; a file that is read twice counts once."""

    skip: bool = False
    """Whether to go on; otherwise the first problem is raised."""
    count: int = 0
    first: str = ""
    """Where the first was, and what was wrong with it."""
    _reached: dict[Path, int] = field(default_factory=dict)
    """How far each file was read, by the keys of its problems."""

    def meet(self, path: Path, key: int, error: Callable[[], DataError]) -> None:
        """Raise `error()`, or count it. `key` grows from problem to problem of a file."""
        if not self.skip:
            raise error()
        if key <= self._reached.get(path, -1):
            return
        self._reached[path] = key
        self.count += 1
        self.first = self.first or str(error())

    def summary(self) -> str:
        """What was left out, in a line; "" if nothing was."""
        if not self.count:
            return ""
        what = "1 story was" if self.count == 1 else f"{self.count:,} stories were"
        return f"{what} left out (--on-error skip), the first because of: {self.first}"
