"""Files that appear whole or not at all, locks and checksums.

What is written gets a temporary name beside its target first. Its writer holds a lock on it, which
ends with the process however that ends, so that the next writer in the folder knows which
temporaries a dead process left, and removes them.
"""

import fcntl
import hashlib
import io
import os
import secrets
import shutil
import stat
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from mlx_rev import run_folder
from mlx_rev.errors import RevError

_LFS_POINTER = b"version https://git-lfs.github.com/spec/"


def open_regular(path: Path) -> io.BufferedReader:
    """Open a regular file for reading, in binary.

    Raises RevError at once, where open() would wait or read without end, for a folder, a pipe, a
    device or a socket, and for what Git LFS leaves in a file's place; OSError as open() does, for
    instance where nothing is there.
    """
    # Without O_NONBLOCK, opening a pipe waits for a writer; a socket cannot be opened at all.
    if not stat.S_ISSOCK(path.stat().st_mode):
        descriptor = os.open(path, os.O_RDONLY | os.O_NONBLOCK)
        if stat.S_ISREG(os.fstat(descriptor).st_mode):
            return _no_pointer(path, open(descriptor, "rb"))
        os.close(descriptor)
    raise RevError(f"{path}: is {_kind(path.stat().st_mode)}, expected a regular file")


def read_bytes(path: Path) -> bytes:
    """The contents of a regular file. Raises as `open_regular` does."""
    with open_regular(path) as file:
        return file.read()


def check_regular(path: Path) -> None:
    """Raise what `open_regular` would; for readers that want a name."""
    open_regular(path).close()


def _no_pointer(path: Path, file: io.BufferedReader) -> io.BufferedReader:
    if not file.peek(len(_LFS_POINTER)).startswith(_LFS_POINTER):
        return file
    file.close()
    raise RevError(
        f"{path}: a Git LFS pointer, not the file itself; run git lfs pull, or download it"
    )


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


_UNFINISHED = ".mlx-rev-new-"
"""How temporary names begin."""
_ASIDE = ".mlx-rev-old-"
"""How the name of a folder begins that holds, under its own name, one that is being replaced."""


@contextmanager
def atomic_path(target: Path) -> Iterator[Path]:
    """Yield a temporary path beside `target`; on success it replaces `target`, on error it goes.

    For writers that want a name (safetensors, matplotlib). The temporary name keeps the suffix. A
    link at `target` is replaced, not followed. An OSError names the target.
    """
    target.parent.mkdir(parents=True, exist_ok=True)
    with naming(target), _temporary(target.parent, target.suffix) as temporary:
        yield temporary
        temporary.chmod(0o666 & ~_umask())
        sync_file(temporary)
        os.replace(temporary, target)
        sync_folder(target.parent)


@contextmanager
def atomic_folder(target: Path) -> Iterator[Path]:
    """Yield a temporary folder beside `target`; on success it takes `target`'s place.

    A folder that stood at `target` is removed only after the new one is complete. An OSError names
    the target.
    """
    target.parent.mkdir(parents=True, exist_ok=True)
    with naming(target), _temporary(target.parent, None) as temporary:
        yield temporary
        temporary.chmod(0o777 & ~_umask())
        for path in [*temporary.rglob("*"), temporary]:
            if not path.is_symlink():
                sync_folder(path) if path.is_dir() else sync_file(path)
        if target.exists():
            _exchange(temporary, target)
        else:
            os.replace(temporary, target)
        sync_folder(target.parent)


def atomic_link(link: Path, name: str) -> None:
    """Make `link` a link to `name` beside it, in place of what it was. An OSError names `link`."""
    with naming(link), _temporary(link.parent, None) as temporary:
        (temporary / name).symlink_to(name)
        os.replace(temporary / name, link)
        sync_folder(link.parent)


def remove_folder(folder: Path) -> None:
    """Remove a folder that others may be looking at: for them it is there whole, or not at all."""
    unfinished = folder.with_name(_UNFINISHED + secrets.token_hex(8))
    os.replace(folder, unfinished)
    shutil.rmtree(unfinished, ignore_errors=True)


def private_folder(parent: Path) -> Path:
    """A new folder in `parent` that only this user can open, and that counts as in use until the
    process ends, however it does; then `remove_leftovers` removes it."""
    folder, _ = _made(parent, None, _UNFINISHED)  # The lock ends with the process.
    return folder


def remove_leftovers(folder: Path) -> None:
    """Remove what this user's dead processes left in `folder` while they wrote a file or folder
    there.

    A folder whose replacement they did not finish comes back.
    """
    for prefix, settle in ((_ASIDE, _put_back), (_UNFINISHED, _remove)):
        for path in folder.glob(f"{prefix}*"):
            with suppress(OSError):
                descriptor = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK)
                try:
                    if os.fstat(descriptor).st_uid == os.geteuid():
                        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
                        settle(path)
                finally:
                    os.close(descriptor)


@contextmanager
def _temporary(parent: Path, suffix: str | None) -> Iterator[Path]:
    """A new file with a suffix, or without one a new folder, in `parent`; what is left of it at
    the end goes."""
    remove_leftovers(parent)
    path, descriptor = _made(parent, suffix, _UNFINISHED)
    try:
        yield path
    finally:
        _remove(path)
        os.close(descriptor)


def _made(parent: Path, suffix: str | None, prefix: str) -> tuple[Path, int]:
    """A new file or folder and the descriptor by which it is locked."""
    while True:
        if suffix is None:
            path = Path(tempfile.mkdtemp(prefix=prefix, dir=parent))
            descriptor = None
        else:
            descriptor, name = tempfile.mkstemp(prefix=prefix, suffix=suffix, dir=parent)
            path = Path(name)
        # Before it was locked, another process may have taken it for a dead one's.
        with suppress(FileNotFoundError):
            if descriptor is None:
                descriptor = os.open(path, os.O_RDONLY)
            with suppress(OSError):  # A file system without locks: nobody removes it there.
                fcntl.flock(descriptor, fcntl.LOCK_EX)
            if os.path.samestat(os.fstat(descriptor), path.stat()):
                return path, descriptor
        if descriptor is not None:
            os.close(descriptor)


def _remove(path: Path) -> None:
    if path.is_dir():
        shutil.rmtree(path, ignore_errors=True)
    else:
        path.unlink(missing_ok=True)


def _exchange(new: Path, target: Path) -> None:
    """Put the folder `new` in `target`'s place; what stood there goes, or comes back on error."""
    aside, descriptor = _made(target.parent, None, _ASIDE)
    try:
        os.replace(target, aside / target.name)
        os.replace(new, target)
    finally:
        _put_back(aside)
        os.close(descriptor)


def _put_back(aside: Path) -> None:
    """Remove a folder with what was being replaced, which comes back where nothing replaced it."""
    for old in list(aside.iterdir()):
        if not os.path.lexists(place := aside.with_name(old.name)):
            os.replace(old, place)
    remove_folder(aside)


@contextmanager
def naming(target: Path) -> Iterator[None]:
    """What the system refuses is said of `target`, not of a temporary file beside it, nor of
    nothing, as when a write fails."""
    try:
        yield
    except OSError as error:
        raise OSError(error.errno, error.strerror or str(error), str(target)) from error


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


class LockedError(RevError):
    """Another process holds a folder."""


@contextmanager
def lock(folder: Path) -> Iterator[None]:
    """Hold `folder` against other processes. Raises LockedError where one holds it already."""
    path = folder / run_folder.LOCK
    while True:
        descriptor = os.open(path, os.O_RDWR | os.O_CREAT, 0o666)
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
            if os.path.samestat(os.fstat(descriptor), path.stat()):
                break
        except BlockingIOError as error:
            os.close(descriptor)
            raise LockedError(f"{folder}: another process is at work in it; wait for it") from error
        except FileNotFoundError:  # Whoever held it has removed it.
            pass
        except OSError as error:
            os.close(descriptor)
            raise RevError(
                f"{path}: cannot be locked ({error.strerror}); name a folder on a file system that "
                "has locks"
            ) from error
        os.close(descriptor)
    try:
        yield
    finally:
        os.close(descriptor)


@contextmanager
def claim(folder: Path) -> Iterator[None]:
    """Hold `folder`, made where it is missing, as `lock` does. Where it was missing and nothing has
    come into it by the end, it is removed again.

    Raises LockedError where another process holds it.
    """
    made = [path for path in (folder, *folder.parents) if not path.exists()]
    folder.mkdir(parents=True, exist_ok=True)
    with lock(folder):
        try:
            yield
        finally:
            if made and [path.name for path in folder.iterdir()] == [run_folder.LOCK]:
                (folder / run_folder.LOCK).unlink()
                with suppress(OSError):
                    for path in made:
                        path.rmdir()


def write_text(path: Path, text: str) -> None:
    """Write `text` as UTF-8, atomically."""
    write_bytes(path, text.encode())


def write_bytes(path: Path, content: bytes) -> None:
    """Write `content`, atomically."""
    with atomic_path(path) as temporary:
        temporary.write_bytes(content)


def sha256_file(path: Path) -> str:
    """The sha256 of a file's contents, as hex. Raises RevError where it is no regular file."""
    with open_regular(path) as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _umask() -> int:
    mask = os.umask(0)
    os.umask(mask)
    return mask
