"""A folder of native code that this user's processes built, and nobody else's.

What is loaded into a process must be what one of ours put there. A checksum beside a file proves
nothing, since whoever can write the file can write the checksum. So each file carries a keyed hash,
and the key lies in the folder, readable by its owner alone; a folder or key that others can write
is not used at all.
"""

import hmac
import os
import secrets
import shutil
import stat
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

_KEY_BYTES = 32
_KEY = ".key"
_UNFINISHED = ".new-"
_ABANDONED = 3600.0
"""Seconds after which something unfinished counts as left by a dead process."""


class TrustedFolder:
    """Files by name, whole and ours or not there. Makes the folder when something is kept."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def files(self) -> Iterator[tuple[str, bytes]]:
        """Name and content of each file; one that is damaged or was put there is removed."""
        key = self._key()
        if key is None:
            return
        for path in sorted(self.folder.glob("*/*")):
            try:
                if path.parent.name.startswith(_UNFINISHED):
                    if time.time() - path.stat().st_mtime > _ABANDONED:
                        shutil.rmtree(path.parent)
                    continue
                name, content = path.name, path.read_bytes()
                if path.parent.name == _seal(key, name, content):
                    yield name, content
                else:
                    shutil.rmtree(path.parent)
            except OSError:
                continue

    def path_of(self, name: str) -> Path | None:
        """Where the file of this name is; None where there is none to be trusted."""
        key = self._key()
        if key is None:
            return None
        for path in self.folder.glob(f"*/{name}"):
            try:
                if path.parent.name == _seal(key, name, path.read_bytes()):
                    return path
            except OSError:
                continue
        return None

    def keep(self, name: str, content: bytes) -> Path:
        """Put a file there, whole or not at all; returns its path. Raises OSError."""
        self.folder.mkdir(parents=True, exist_ok=True, mode=0o700)
        key = self._key() or self._new_key()
        place = self.folder / _seal(key, name, content)
        if self.path_of(name) != place / name:
            shutil.rmtree(place, ignore_errors=True)  # damaged, if it is there
            whole = Path(tempfile.mkdtemp(dir=self.folder, prefix=_UNFINISHED))
            try:
                (whole / name).write_bytes(content)
                whole.replace(place)
            except OSError:
                shutil.rmtree(whole, ignore_errors=True)
                if not (place / name).exists():  # by another process meanwhile
                    raise
        return place / name

    def _key(self) -> bytes | None:
        """The key, where folder and key are this user's and nobody else can write them."""
        try:
            if not _is_private(os.lstat(self.folder), stat.S_ISDIR, 0o022):
                return None
            descriptor = os.open(self.folder / _KEY, os.O_RDONLY | os.O_NOFOLLOW)
        except OSError:
            return None
        with os.fdopen(descriptor, "rb") as file:
            if not _is_private(os.fstat(descriptor), stat.S_ISREG, 0o077):
                return None
            key = file.read(_KEY_BYTES + 1)
        return key if len(key) == _KEY_BYTES else None

    def _new_key(self) -> bytes:
        """Make a key; what was kept under another one is not trusted any more."""
        if not _is_private(os.lstat(self.folder), stat.S_ISDIR, 0o022):
            raise PermissionError(f"{self.folder}: others can write it")
        key = secrets.token_bytes(_KEY_BYTES)
        descriptor, name = tempfile.mkstemp(dir=self.folder, prefix=".key-")  # of mode 0600
        with os.fdopen(descriptor, "wb") as file:
            file.write(key)
        try:
            os.link(name, self.folder / _KEY)
        except FileExistsError:  # another process was first, or a key lies there that is not ours
            if (other := self._key()) is not None:
                return other
            os.replace(name, self.folder / _KEY)
        finally:
            Path(name).unlink(missing_ok=True)
        return key


def _is_private(found: os.stat_result, kind: object, others: int) -> bool:
    """Whether something is of this kind and user, and gives others none of these permissions."""
    return bool(
        callable(kind)
        and kind(found.st_mode)
        and found.st_uid == os.geteuid()
        and not found.st_mode & others
    )


def _seal(key: bytes, name: str, content: bytes) -> str:
    return hmac.digest(key, name.encode() + b"\0" + content, "sha256").hex()
