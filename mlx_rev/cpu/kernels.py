"""The kernels that mx.compile builds on a CPU, kept where nobody else can put any.

On a CPU MLX has the system's compiler build a shared library for each fused kernel. It keeps them
in $TMPDIR/mlx, which on Linux all users share, and later loads what lies there as it is: a
truncated file ends the process. So here a process builds in a private folder of its own, which
begins with those kernels of earlier processes that can be trusted; its new ones join them at its
end.
"""

import atexit
import fcntl
import os
import shutil
import tempfile
import time
import warnings
from functools import cache
from importlib.metadata import version
from pathlib import Path

import mlx.core as mx
import platformdirs

from mlx_rev.cpu.trusted import TrustedFolder

_VERSION = version("mlx")
_PREFIX = "mlx-rev-"
_ROOM = 64 << 20
"""Bytes that must be free where kernels are built: a full disk truncates them, which is fatal."""
_HALF_MADE = 3600.0
"""Seconds after which a folder without a lock also counts as a dead process's."""


@cache
def use_private_folder() -> None:
    """Let MLX build kernels in a new private folder, removed when the process ends.

    Where there is no room for one, warns (RuntimeWarning) and turns compilation off.
    """
    cached = Path(platformdirs.user_cache_dir("mlx-rev"))
    store = TrustedFolder(cached / "kernels" / _VERSION)
    for parent in (Path(tempfile.gettempdir()), cached):
        _remove_leftovers(parent)
        try:
            if shutil.disk_usage(parent).free > _ROOM:
                folder = Path(tempfile.mkdtemp(prefix=_PREFIX, dir=parent))
                break
        except OSError:
            continue
    else:
        warnings.warn(
            f"mlx-rev: no room for compiled kernels in {tempfile.gettempdir()} or {cached}, so "
            "nothing is compiled and everything is slower; free some space, or set TMPDIR",
            RuntimeWarning,
            stacklevel=3,
        )
        mx.disable_compile()
        return
    lock = os.open(folder / ".lock", os.O_RDWR | os.O_CREAT, 0o600)
    fcntl.flock(lock, fcntl.LOCK_EX)  # until the process ends, however it does
    # MLX reads this whenever it compiles; Python has by now chosen where its own files go.
    os.environ["TMPDIR"] = str(folder)
    atexit.register(_keep, store, folder)
    own = _inside(folder)
    own.mkdir(parents=True)
    for name, content in store.files():
        (own / name).write_bytes(content)


def _remove_leftovers(parent: Path) -> None:
    """Remove the private folders of processes that are dead: nobody holds their locks."""
    for folder in parent.glob(f"{_PREFIX}*"):
        try:
            if folder.lstat().st_uid != os.geteuid() or folder.is_symlink():
                continue
            if (folder / ".lock").exists():
                with open(folder / ".lock", "rb") as lock:
                    fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
                    shutil.rmtree(folder, ignore_errors=True)
            elif time.time() - folder.stat().st_mtime > _HALF_MADE:
                shutil.rmtree(folder, ignore_errors=True)
        except OSError:
            continue


def _keep(store: TrustedFolder, folder: Path) -> None:
    """Add this process's kernels to the store, and remove its folder."""
    try:
        known = {name for name, _ in store.files()}
        for built in _inside(folder).glob("*.so"):
            if built.name not in known:
                store.keep(built.name, built.read_bytes())
    except OSError:
        pass  # Nothing is lost but time.
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def _inside(folder: Path) -> Path:
    """Where in its temporary folder MLX has its kernels."""
    return folder / "mlx" / _VERSION / "cpu"
