"""The bytes of a file of stories, decompressed on the way."""

import gzip
import io
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from mlx_rev import files
from mlx_rev.errors import DataError

BLOCK = 1 << 18
"""Bytes that are read at once; more would not stay in a processor's cache."""
LARGEST_STORY = 16 << 20
"""Bytes, twice the longest novel. Beyond this, a file is not what it is taken for."""
COMPRESSED = (".gz", ".zst")


class Content:
    """The bytes of a file from its start, or from an offset.

    Whatever is damaged about it becomes a DataError, after all bytes before the damage were given.
    """

    def __init__(self, path: Path, file: io.BufferedReader) -> None:
        self.path = path
        self.size = max(path.stat().st_size, 1)
        """Bytes on disk."""
        self._file = file
        self._given = 0
        self._failure: Exception | None = None
        self._kinds: tuple[type[Exception], ...] = (EOFError, OSError, zlib.error)
        suffix = path.suffix.lower()
        self._stream: Any = file
        if suffix == ".gz":
            self._stream = gzip.GzipFile(fileobj=file)
        elif suffix == ".zst":
            zstd = _zstandard(path)
            self._stream = zstd.ZstdFile(file)
            self._kinds += (zstd.ZstdError,)

    @property
    def consumed(self) -> int:
        """Bytes on disk that were read so far."""
        return self._file.tell()

    def seek(self, offset: int) -> None:
        """Go on `offset` bytes of content further than the start; nothing was read yet."""
        if self._stream is self._file:
            self._file.seek(offset)
            self._given = offset
            return
        while offset > 0 and (passed := self.read(min(BLOCK, offset))):
            offset -= len(passed)

    def read(self, size: int = BLOCK) -> bytes:
        """The next `size` bytes, fewer only at the end. Raises DataError."""
        pieces: list[bytes] = []
        missing = size
        while missing > 0 and self._failure is None:
            try:
                piece = self._stream.read1(missing)
            except self._kinds as error:
                self._failure = error
                break
            if not piece:
                break
            pieces.append(piece)
            missing -= len(piece)
        if self._failure is not None and not pieces:
            raise self._said(self._failure) from self._failure
        content = b"".join(pieces)
        self._given += len(content)
        return content

    def _said(self, error: Exception) -> DataError:
        if isinstance(error, OSError) and error.errno is not None:
            return DataError(f"{self.path}: cannot be read ({error.strerror})")
        advice = "get the file again, or use what could be read with --on-error skip"
        if isinstance(error, EOFError):
            what = f"is cut off: {self._given:,} bytes could be unpacked of it, then it ends"
        else:
            what = f"is damaged: {self._given:,} bytes could be unpacked of it, then {error}"
        return DataError(f"{self.path}: {what}; {advice}")


def size_of_next(waiting: int, largest: int) -> int:
    """How much to read on where so much is not whole yet: as much again, so that each byte is
    looked at a few times only, but no more than it takes to see that it is too long."""
    return max(BLOCK, min(waiting, largest + 1 - waiting))


@contextmanager
def opened(path: Path) -> Iterator[Content]:
    """Open a file for `Content`. Raises DataError; RevError where it is no regular file."""
    with reading(path), files.open_regular(path) as file:
        yield Content(path, file)


@contextmanager
def reading(path: Path) -> Iterator[None]:
    """An OSError while `path` is read becomes a DataError."""
    try:
        yield
    except OSError as error:
        raise DataError(f"{path}: cannot be read ({error.strerror or error})") from error


def line_of(path: Path, offset: int) -> int:
    """The line, counted from 1, that a byte of a file's content is in."""
    line = 1
    with opened(path) as content:
        while offset > 0 and (block := content.read(min(BLOCK, offset))):
            line += block.count(b"\n")
            offset -= len(block)
    return line


def _zstandard(path: Path) -> Any:
    """Python's own module, or the same for a Python before 3.14."""
    try:
        try:
            from compression import zstd  # type: ignore[import-not-found,unused-ignore]
        except ImportError:
            from backports import zstd
    except ImportError as error:
        raise DataError(
            f"{path}: this Python cannot unpack .zst; unpack it with zstd -d first"
        ) from error
    return zstd
