"""The kernels that mx.compile builds on a CPU, kept where nobody else can put any.

On a CPU MLX has the system's compiler build a shared library for each fused kernel. It keeps them
in $TMPDIR/mlx, which on Linux all users share, and later loads what lies there as it is: a
truncated file ends the process. So here a process builds in a private folder of its own, which
begins with those kernels of other processes that can be trusted. Its own join them as soon as they
are loaded, so that what starts while it trains for hours need not build them again.
"""

import atexit
import os
import shutil
import sys
import tempfile
import warnings
from contextlib import suppress
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


class _PrivateFolder:
    """Where this process builds kernels, and the store that it shares them through."""

    def __init__(self, parent: Path, store: TrustedFolder) -> None:
        """Raises OSError."""
        self.folder = files.private_folder(parent)
        self._store = store
        self._kernels = self.folder / "mlx" / _VERSION / "cpu"
        self._kernels.mkdir(parents=True)
        self._shared: set[str] = set()
        """Kernels that are in the store as well."""
        self._fetched: int | None = None
        """When the store had last changed at the last look."""

    def exchange(self) -> None:
        """Add what was built here to the store, and take over what other processes put there."""
        with suppress(OSError):  # Nothing is lost but time.
            self._keep()
            self._fetch()

    def remove(self) -> None:
        """Keep what is new, and remove the folder: at the end of the process."""
        with suppress(OSError):
            self._keep()
        shutil.rmtree(self.folder, ignore_errors=True)

    def _keep(self) -> None:
        built = {path.name for path in self._kernels.glob("*.so")} - self._shared
        # What is not loaded yet may be half written.
        for name in built & self._loaded() if built else ():
            self._store.keep(name, (self._kernels / name).read_bytes())
            self._shared.add(name)

    def _fetch(self) -> None:
        changed = self._store.folder.stat().st_mtime_ns
        if changed == self._fetched:
            return
        for name, content in self._store.files():
            if name not in self._shared and not (self._kernels / name).exists():
                unfinished = self.folder / name
                unfinished.write_bytes(content)
                unfinished.replace(self._kernels / name)
            self._shared.add(name)
        self._fetched = changed

    def _loaded(self) -> set[str]:
        """The kernels that are mapped into this process."""
        lines = Path("/proc/self/maps").read_text(encoding="utf-8").splitlines()
        return {line.rpartition("/")[2] for line in lines if f"/{self.folder.name}/mlx/" in line}


def use_private_folder() -> None:
    """Let MLX build kernels in a new private folder, removed when the process ends.

    Where there is no room for one, warns (RuntimeWarning) and turns compilation off. Does nothing
    where MLX keeps no kernels in files: only Linux's does.
    """
    _private_folder()


def exchange() -> None:
    """Let other processes have what was compiled here so far, rather than at this one's end, and
    take over what they have compiled meanwhile."""
    if (private := _private_folder()) is not None:
        private.exchange()


@cache
def _private_folder() -> _PrivateFolder | None:
    if sys.platform != "linux":
        return None
    cached = Path(platformdirs.user_cache_dir("mlx-rev"))
    store = TrustedFolder(cached / "kernels" / _VERSION)
    for parent in (Path(tempfile.gettempdir()), cached):
        files.remove_leftovers(parent)
        try:
            if shutil.disk_usage(parent).free > _ROOM:
                private = _PrivateFolder(parent, store)
                break
        except OSError:
            continue
    else:
        warnings.warn(
            f"mlx-rev: no room for compiled kernels in {tempfile.gettempdir()} or {cached}, so "
            "nothing is compiled and everything is slower; free some space, or set TMPDIR",
            RuntimeWarning,
            stacklevel=4,
        )
        mx.disable_compile()
        return None
    # CUDA's would be built below TMPDIR too: a minute's work, lost with the folder. Their names do
    # not say for which GPU they are.
    architecture = str(mx.device_info().get("architecture", "gpu")).replace("/", "-")
    os.environ.setdefault("MLX_PTX_CACHE_DIR", str(cached / "cuda" / _VERSION / architecture))
    # MLX reads this whenever it compiles; Python has by now chosen where its own files go.
    os.environ["TMPDIR"] = str(private.folder)
    atexit.register(private.remove)
    private.exchange()
    return private
