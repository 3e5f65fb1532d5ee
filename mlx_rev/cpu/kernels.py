"""The kernels that mx.compile builds on a CPU, kept where nobody else can put any.

On a CPU MLX has the system's compiler build a shared library for each fused kernel. It keeps them
in $TMPDIR/mlx, which on Linux all users share, and later loads what lies there as it is: a
truncated file ends the process. So here a process builds in a private folder of its own, which
begins with those kernels of earlier processes that can be trusted; its new ones join them at its
end.
"""

import atexit
import os
import shutil
import tempfile
import warnings
from functools import cache
from importlib.metadata import version
from pathlib import Path

import mlx.core as mx
import platformdirs

from mlx_rev import files
from mlx_rev.cpu.trusted import TrustedFolder

_VERSION = version("mlx")
_ROOM = 64 << 20
"""Bytes that must be free where kernels are built: a full disk truncates them, which is fatal."""


@cache
def use_private_folder() -> None:
    """Let MLX build kernels in a new private folder, removed when the process ends.

    Where there is no room for one, warns (RuntimeWarning) and turns compilation off.
    """
    cached = Path(platformdirs.user_cache_dir("mlx-rev"))
    store = TrustedFolder(cached / "kernels" / _VERSION)
    for parent in (Path(tempfile.gettempdir()), cached):
        files.remove_leftovers(parent)
        try:
            if shutil.disk_usage(parent).free > _ROOM:
                folder = files.private_folder(parent)
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
    # MLX reads this whenever it compiles; Python has by now chosen where its own files go.
    os.environ["TMPDIR"] = str(folder)
    atexit.register(_keep, store, folder)
    own = _inside(folder)
    own.mkdir(parents=True)
    for name, content in store.files():
        (own / name).write_bytes(content)


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
