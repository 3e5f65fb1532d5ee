"""What to do about stories that cannot be read: stop, or leave them out and say so at the end."""

from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

from mlx_rev.errors import DataError

SKIP_ADVICE = "or leave it out with --on-error skip"


@dataclass
class Problems:
    """Counts the stories that are left out, and knows the files whose rest is; a file that is read
    twice counts once."""

    skip: bool = False
    """Whether to go on; otherwise the first problem is raised."""
    count: int = 0
    first: str = ""
    """Where the first was, and what was wrong with it."""
    rests: dict[Path, str] = field(default_factory=dict)
    """By file, how much of it was left out, and what was wrong there."""
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

    def meet_end(self, path: Path, number: int, error: Callable[[], DataError]) -> None:
        """Raise `error()`, or note that all is left out which follows a file's `number`-th story."""
        if not self.skip:
            raise error()
        if path not in self.rests:
            what = f"the rest of {path} after story {number:,}" if number else f"all of {path}"
            self.rests[path] = f"{what} was left out (--on-error skip) because of: {error()}"

    def summary(self) -> str:
        """What was left out, in a line; "" if nothing was."""
        said = list(self.rests.values())
        if self.count:
            what = "1 story was" if self.count == 1 else f"{self.count:,} stories were"
            because = "because of" if self.count == 1 else "the first because of"
            said.insert(0, f"{what} left out (--on-error skip), {because}: {self.first}")
        return "; ".join(said)
