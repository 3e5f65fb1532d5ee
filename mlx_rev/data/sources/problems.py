"""What to do about stories that cannot be read: stop, or leave them out and say so at the end."""

from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

from mlx_rev.errors import DataError
from mlx_rev.text.sentencepiece import SPACE_MARK, check_encodable
from mlx_rev.text.tokenizer import Tokenizer

SKIP_ADVICE = "or leave it out with --on-error skip"


@dataclass
class Problems:
    """Counts the stories that are left out, and knows the files whose rest is; a file that is read
    twice counts once."""

    skip: bool = False
    """Whether to go on; otherwise the first problem is raised."""
    tokenizer: Tokenizer | None = None
    """What the stories are for; without one, a SentencePiece model that is yet to be learnt."""
    count: int = 0
    first: str = ""
    """Where the first was, and what was wrong with it."""
    rests: dict[Path, str] = field(default_factory=dict)
    """By file, how much of it was left out, and what was wrong there."""
    _reached: dict[Path, int] = field(default_factory=dict)
    """How far each file was read, by the keys of its problems."""

    @property
    def refused(self) -> str | None:
        """The characters that make a story a problem, none of them in ASCII, besides lone
        surrogates; None where only `check` knows."""
        return SPACE_MARK if self.tokenizer is None else self.tokenizer.refused

    def check(self, story: str) -> None:
        """Raise DataError for a story that the tokenizer cannot take."""
        (check_encodable if self.tokenizer is None else self.tokenizer.check)(story)

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
        """Raise `error()`, or note that what follows a file's `number`-th story is left out."""
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
