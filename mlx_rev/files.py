"""Files that appear whole or not at all, locks and checksums."""

import fcntl
import hashlib
import io
import os
import shutil
import stat
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from mlx_rev import run_folder
from mlx_rev.errors import RevError


def open_regular(path: Path) -> io.BufferedReader:
    """Open a regular file for reading, in binary.

    Raises RevError at once, where open() would wait or read without end, for a folder, a pipe, a
    device or a socket; OSError as open() does, for instance where nothing is there.
    """
    # Without O_NONBLOCK, opening a pipe waits for a writer; a socket cannot be opened at all.
    if not stat.S_ISSOCK(path.stat().st_mode):
        descriptor = os.open(path, os.O_RDONLY | os.O_NONBLOCK)
        if stat.S_ISREG(os.fstat(descriptor).st_mode):
            return open(descriptor, "rb")
        os.close(descriptor)
    raise RevError(f"{path}: is {_kind(path.stat().st_mode)}, expected a regular file")


def read_bytes(path: Path) -> bytes:
    """The contents of a regular file. Raises as `open_regular` does."""
    with open_regular(path) as file:
        return file.read()


def check_regular(path: Path) -> None:
    """Raise what `open_regular` would; for readers that want a name."""
    open_regular(path).close()


def _kind(mode: int) -> str:
    for is_kind, name in (
        (stat.S_ISDIR, "a folder"),
        (stat.S_ISFIFO, "a pipe"),
        (stat.S_ISSOCK, "a socket"),
        (stat.S_ISCHR, "a device"),
        (stat.S_ISBLK, "a device"),
    ):
        if is_kind(mode):
            return name
    return "no regular file"


def sync_folder(folder: Path) -> None:
    """Make renames inside `folder` durable."""
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def sync_file(path: Path) -> None:
    """Make the contents of `path` durable."""
    with open(path, "rb+") as file:
        os.fsync(file.fileno())


_LFS_POINTER = b"version https://git-lfs.github.com/spec/"


@contextmanager
def atomic_path(target: Path) -> Iterator[Path]:
    """Yield a temporary path beside `target`; on success it replaces `target`, on error it goes.

    For writers that want a name (safetensors, matplotlib). The temporary name keeps the suffix.
    An OSError names the target.
    """
    target.parent.mkdir(parents=True, exist_ok=True)
    with _naming(target):
        descriptor, name = tempfile.mkstemp(
            prefix=f".{target.stem}-", suffix=target.suffix, dir=target.parent
        )
        os.close(descriptor)
        temporary = Path(name)
        try:
            yield temporary
            temporary.chmod(0o666 & ~_umask())
            sync_file(temporary)
            os.replace(temporary, target)
            sync_folder(target.parent)
        finally:
            temporary.unlink(missing_ok=True)


@contextmanager
def atomic_folder(target: Path) -> Iterator[Path]:
    """Yield a temporary folder beside `target`; on success it takes `target`'s place.

    A folder that stood at `target` is removed only after the new one is complete. An OSError names
    the target.
    """
    target.parent.mkdir(parents=True, exist_ok=True)
    with _naming(target):
        temporary = Path(tempfile.mkdtemp(prefix=f".{target.name}-", dir=target.parent))
        try:
            yield temporary
            temporary.chmod(0o777 & ~_umask())
            for path in temporary.rglob("*"):
                if path.is_file():
                    sync_file(path)
            if target.exists():
                _exchange(temporary, target)
            else:
                os.replace(temporary, target)
            sync_folder(target.parent)
        finally:
            shutil.rmtree(temporary, ignore_errors=True)


@contextmanager
def _naming(target: Path) -> Iterator[None]:
    """What the system refuses is said of `target`, not of the temporary file beside it."""
    try:
        yield
    except OSError as error:
        raise OSError(error.errno, error.strerror or str(error), str(target)) from error


def _exchange(new: Path, target: Path) -> None:
    """Put the folder `new` in `target`'s place; what stood there goes, or comes back on error."""
    old = Path(tempfile.mkdtemp(prefix=f".{target.name}-old-", dir=target.parent))
    try:
        os.replace(target, old / target.name)
        os.replace(new, target)
    except BaseException:
        if not target.exists():
            os.replace(old / target.name, target)
        old.rmdir()
        raise
    shutil.rmtree(old)


@contextmanager
def naming_cache(cache: Path) -> Iterator[None]:
    """What the system refuses in the folder `cache`, or on the way to it, becomes a RevError that
    says how to name another one."""
    try:
        yield
    except OSError as error:
        refused = Path(str(error.filename))
        if not refused.is_relative_to(cache) and refused not in cache.parents:
            raise
        raise RevError(
            f"{refused}: {error.strerror}; the cache {cache} cannot be written: name another "
            "folder with --cache or MLX_REV_CACHE"
        ) from error


@contextmanager
def lock(folder: Path) -> Iterator[None]:
    """Hold `folder` against other processes. Raises RevError where one holds it already."""
    descriptor = os.open(folder / run_folder.LOCK, os.O_RDWR | os.O_CREAT, 0o666)
    try:
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            raise RevError(f"{folder}: another process is at work in it; wait for it") from error
        yield
    finally:
        os.close(descriptor)


def write_text(path: Path, text: str) -> None:
    """Write `text` as UTF-8, atomically."""
    write_bytes(path, text.encode())


def write_bytes(path: Path, content: bytes) -> None:
    """Write `content`, atomically."""
    with atomic_path(path) as temporary:
        temporary.write_bytes(content)


def check_content(path: Path, start: bytes) -> None:
    """Raise RevError where a file that begins with `start` is Git LFS's pointer to the real one."""
    if start.startswith(_LFS_POINTER):
        raise RevError(
            f"{path}: a Git LFS pointer, not the file itself; run git lfs pull, or download it"
        )


def sha256_file(path: Path) -> str:
    """The sha256 of a file's contents, as hex. Raises RevError where it is no regular file."""
    with open_regular(path) as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _umask() -> int:
    mask = os.umask(0)
    os.umask(mask)
    return mask
