"""What a format is: how it is recognised, read and written, and how the result is run."""

from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

from mlx_rev.config import Dtype
from mlx_rev.errors import FormatError
from mlx_rev.files import open_regular
from mlx_rev.formats.model_file import ModelFile
from mlx_rev.text.tokenizer import Tokenizer

_START = 4096


@dataclass(frozen=True)
class Source:
    """A file or folder whose format is to be recognised."""

    path: Path
    start: bytes = field(repr=False)
    """The first bytes of a file; empty for a folder."""
    size: int
    """Bytes of a file; 0 for a folder."""

    @classmethod
    def at(cls, path: Path) -> "Source":
        """Look at `path`. Raises FormatError where it cannot be read."""
        if path.is_dir():
            return cls(path, b"", 0)
        try:
            with open_regular(path) as file:
                return cls(path, file.read(_START), path.stat().st_size)
        except OSError as error:
            raise FormatError(f"{path}: cannot be read ({error.strerror})") from error


@dataclass(frozen=True)
class Written:
    """What a writer returns."""

    files: list[Path]
    errors: dict[str, float] = field(default_factory=dict)
    """Largest error of each weight that is not stored exactly."""
    kept_whole: tuple[str, ...] = ()
    """Matrices whose rows the group size does not divide, stored as float16."""


@dataclass(frozen=True, kw_only=True)
class Format:
    """A way to store a model on disk."""

    name: str
    """What --to calls it."""
    summary: str
    """What it is, in a few words for --help."""
    suffix: str
    """Of its files; empty for a folder."""
    dtypes: tuple[Dtype, ...]
    """What it can hold, the default first."""
    recognises: Callable[[Source], bool]
    """Whether a file or folder is of this format, by its content."""
    read: Callable[[Path, Tokenizer | None], ModelFile]
    """Open it; a tokenizer that is given replaces its own. Raises FormatError."""
    write: Callable[[ModelFile, Path, Dtype, bool], Written]
    """Write a model, whole or not at all; with True, what exists may be replaced.
    Raises FormatError for what the format cannot hold."""
    how_to_run: Callable[[Path, ModelFile], str]
    """The command line that uses the result."""
    program: str = ""
    """The program whose format it is, for notes on what that cannot do; empty for our own."""
    refuses: tuple[str, ...] = ()
    """Options of a conversion that do not apply to it."""
