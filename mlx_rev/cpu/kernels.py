"""The kernels that mx.compile builds on a CPU, kept where nobody else can put any.

On a CPU MLX has the system's compiler build a shared library for each fused kernel. It keeps them
in $TMPDIR/mlx, which on Linux all users share, and later loads what lies there as it is: a
truncated file ends the process. So here a process builds in a private folder of its own, which
begins with those kernels of earlier processes whose checksum is right; its new ones join them at
its end.
"""

import atexit
import hashlib
import os
import shutil
import tempfile
from functools import cache
from importlib.metadata import version
from pathlib import Path

import platformdirs

_VERSION = version("mlx")


@cache
def use_private_folder() -> None:
    """Let MLX build kernels in a new private folder, removed when the process ends."""
    store = Path(platformdirs.user_cache_dir("mlx-rev")) / "kernels" / _VERSION
    folder = tempfile.TemporaryDirectory(prefix="mlx-rev-", ignore_cleanup_errors=True)
    own = _inside(folder)
    own.mkdir(parents=True)
    # MLX reads this whenever it compiles; Python has by now chosen where its own files go.
    os.environ["TMPDIR"] = folder.name
    _fetch(store, own)
    atexit.register(_keep, store, folder)


def _fetch(store: Path, own: Path) -> None:
    """Copy the kernels that are whole; remove those that are not."""
    try:
        for kept in store.glob("*/*.so"):
            content = kept.read_bytes()
            if hashlib.sha256(content).hexdigest() == kept.parent.name:
                (own / kept.name).write_bytes(content)
            else:
                shutil.rmtree(kept.parent)
    except OSError:
        return  # Nothing is lost but time.


def _keep(store: Path, folder: tempfile.TemporaryDirectory[str]) -> None:
    """Add this process' kernels, each in a folder of its checksum's name."""
    try:
        store.mkdir(parents=True, exist_ok=True)
        store.parent.chmod(0o700)
        known = {kept.name for kept in store.glob("*/*.so")}
        for built in _inside(folder).glob("*.so"):
            if built.name not in known:
                whole = Path(tempfile.mkdtemp(dir=store.parent))
                content = built.read_bytes()
                (whole / built.name).write_bytes(content)
                whole.rename(store / hashlib.sha256(content).hexdigest())
    except OSError:
        return


def _inside(folder: tempfile.TemporaryDirectory[str]) -> Path:
    """Where in its temporary folder MLX has its kernels."""
    return Path(folder.name) / "mlx" / _VERSION / "cpu"
