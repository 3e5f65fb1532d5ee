"""What a format is: how it is recognised, read and written, and how the result is run."""

from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

from mlx_rev.errors import FormatError
from mlx_rev.files import open_regular
from mlx_rev.formats.dtype import Dtype
from mlx_rev.formats.model_file import ModelFile
from mlx_rev.text.tokenizer import Tokenizer

_START = 4096


@dataclass(frozen=True)
class Source:
    """A file or folder of which the format is to be recognised."""

    path: Path
    start: bytes = field(repr=False)
    """The first bytes of a file; of a folder, none."""
    size: int
    """Bytes of a file; of a folder, 0."""

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
    """What a writer gives back."""

    files: list[Path]
    errors: dict[str, float] = field(default_factory=dict)
    """Largest error of each weight that is not kept in full."""
    kept_whole: tuple[str, ...] = ()
    """Matrices that the format's groups do not divide, kept as float16."""


@dataclass(frozen=True, kw_only=True)
class Format:
    """A way to keep a model on disk."""

    name: str
    """What --to calls it."""
    summary: str
    """What it is, in a few words of help."""
    suffix: str
    """Of its files; empty where it is a folder."""
    dtypes: tuple[Dtype, ...]
    """What it can hold, the one that is taken by default first."""
    recognises: Callable[[Source], bool]
    """Whether a file or folder is of this format, by its content."""
    read: Callable[[Path, Tokenizer | None], ModelFile]
    """Open it; a tokenizer that is given is taken instead of its own. Raises FormatError."""
    write: Callable[[ModelFile, Path, Dtype, bool], Written]
    """Write a model, whole or not at all; with True, what stands there may be replaced.
    Raises FormatError for what the format cannot hold."""
    how_to_run: Callable[[Path, ModelFile], str]
    """The command line that uses the result."""
    program: str = ""
    """Whose format it is, for what that program cannot do; none for our own."""
    refuses: tuple[str, ...] = ()
    """Options of a conversion that mean nothing here."""
