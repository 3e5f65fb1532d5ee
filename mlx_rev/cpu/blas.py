"""Gives MLX an optimised BLAS on Linux, whose wheel bundles a slow one.

libmlx takes cblas_sgemm, cblas_dgemm and cblas_cgemm from whichever library that has them was
loaded first, so one that is loaded with RTLD_GLOBAL before mlx.core wins. The wheel
scipy-openblas32 is self-contained but prefixes its names with scipy_; a shim of three functions,
compiled once into the user's cache, takes the prefix off. It also hands the product of a single
row, of which writing one story consists, to the matrix-vector routine, which is twice as fast.

MLX_REV_BLAS=off turns this off, MLX_REV_BLAS=/path/to/libfoo.so names a library. Only such a one
heeds OPENBLAS_CORETYPE: on machines that set it, often for the sake of old programs, products take
twice as long.
"""

import ctypes
import hashlib
import os
import shutil
import subprocess
import sys
import tempfile
import warnings
from collections.abc import Iterator
from contextlib import contextmanager, nullcontext
from functools import cache
from pathlib import Path

from mlx_rev.cpu.trusted import TrustedFolder

VARIABLE = "MLX_REV_BLAS"
_KERNELS_VARIABLE = "OPENBLAS_CORETYPE"

_SYSTEM_LIBRARIES = ("libopenblas.so.0", "libblis.so.4", "libmkl_rt.so.2")
_NEED = "cblas_sgemm"
_SET_THREADS = (
    "scipy_openblas_set_num_threads",
    "openblas_set_num_threads",
    "bli_thread_set_num_threads",
    "MKL_Set_Num_Threads",
)

_SHIM = """
#define GEMM(name, scalar) \\
  void scipy_##name(int, int, int, int, int, int, scalar, const void *, int, const void *, int, \\
                    scalar, void *, int); \\
  void name(int order, int ta, int tb, int m, int n, int k, scalar alpha, const void *a, int lda, \\
            const void *b, int ldb, scalar beta, void *c, int ldc) { \\
    scipy_##name(order, ta, tb, m, n, k, alpha, a, lda, b, ldb, beta, c, ldc); \\
  }
#define ROW_MAJOR 101
#define NO_TRANSPOSE 111
#define TRANSPOSE 112
void scipy_cblas_sgemm(int, int, int, int, int, int, float, const float *, int, const float *, int,
                       float, float *, int);
void scipy_cblas_sgemv(int, int, int, int, float, const float *, int, const float *, int, float,
                       float *, int);
void cblas_sgemm(int order, int ta, int tb, int m, int n, int k, float alpha, const float *a,
                 int lda, const float *b, int ldb, float beta, float *c, int ldc) {
  if (m != 1 || order != ROW_MAJOR) {
    scipy_cblas_sgemm(order, ta, tb, m, n, k, alpha, a, lda, b, ldb, beta, c, ldc);
    return;
  }
  int step = ta == NO_TRANSPOSE ? 1 : lda;
  if (beta == 0) {  /* Some sgemv multiply what lies in c, a NaN perhaps, by 0. */
    for (int i = 0; i < n; i++) c[i] = 0;
    beta = 1;
  }
  if (tb == NO_TRANSPOSE)
    scipy_cblas_sgemv(order, TRANSPOSE, k, n, alpha, b, ldb, a, step, beta, c, 1);
  else
    scipy_cblas_sgemv(order, NO_TRANSPOSE, n, k, alpha, b, ldb, a, step, beta, c, 1);
}
GEMM(cblas_dgemm, double)
GEMM(cblas_cgemm, const void *)
"""


def preload() -> str | None:
    """Load the best BLAS there is, on Linux, once; its path or name, None where there is none.

    Warns (RuntimeWarning, once) where that is not possible. Does nothing on other systems, or when
    MLX_REV_BLAS is off.
    """
    loaded = _loaded()
    return None if loaded is None else str(loaded._name)


def set_threads(count: int) -> None:
    """Let the preloaded BLAS use `count` threads; without one, do nothing."""
    library = _loaded()
    for name in _SET_THREADS:
        if library is not None and hasattr(library, name):
            getattr(library, name)(ctypes.c_int(count))
            return


@cache
def _preload(choice: str) -> ctypes.CDLL | None:
    if "mlx.core" in sys.modules:
        _warn("mlx was imported before mlx_rev, so its slow BLAS stays; import mlx_rev first")
        return None
    problem = (
        "no optimised BLAS was found; install a C compiler (apt install g++) or OpenBLAS "
        "(apt install libopenblas0-pthread)"
    )
    if choice:
        problem = f"{VARIABLE}={choice} cannot be used; give a library that has {_NEED}, or off"
    with nullcontext() if choice else _kernels_of_this_processor():
        for name in (choice,) if choice else (*_wheel(), *_SYSTEM_LIBRARIES):
            try:
                if (found := _open(name)) is not None:
                    return found
            except OSError as error:  # only the shim's: what cannot be loaded is passed over
                problem = (
                    f"the optimised BLAS cannot be used, because {cache_folder()} cannot be "
                    f"written ({error.strerror or error}); fix that, or set XDG_CACHE_HOME to a "
                    "folder of yours"
                )
    _warn(f"training will be ten times slower: {problem}")
    return None


def _loaded() -> ctypes.CDLL | None:
    choice = os.environ.get(VARIABLE, "")
    return _preload(choice) if sys.platform == "linux" and choice != "off" else None


def _wheel() -> list[str]:
    """The library of the wheel scipy-openblas32, where it is installed."""
    try:
        import scipy_openblas32
    except ImportError:
        return []
    return sorted(map(str, Path(scipy_openblas32.get_lib_dir()).glob("libscipy_openblas*.so")))


@contextmanager
def _kernels_of_this_processor() -> Iterator[None]:
    """Let an OpenBLAS that is loaded now find out which processor this is."""
    asked = os.environ.pop(_KERNELS_VARIABLE, None)
    try:
        yield
    finally:
        if asked is not None:
            os.environ[_KERNELS_VARIABLE] = asked


def _open(name: str) -> ctypes.CDLL | None:
    """Load a library for all to see; None where that fails or leaves MLX without its functions.

    Raises OSError where it needs the shim and that cannot be kept.
    """
    try:
        found = ctypes.CDLL(name, mode=ctypes.RTLD_LOCAL)
    except OSError:
        return None
    if hasattr(found, _NEED):
        return ctypes.CDLL(name, mode=ctypes.RTLD_GLOBAL)
    if not hasattr(found, f"scipy_{_NEED}") or (shim := _shim()) is None:
        return None
    found = ctypes.CDLL(name, mode=ctypes.RTLD_GLOBAL)
    ctypes.CDLL(str(shim), mode=ctypes.RTLD_GLOBAL)
    return found


def _shim() -> Path | None:
    """The compiled shim in the user's cache; made where it is not there or cannot be trusted.

    None where there is no compiler. Raises OSError where the cache cannot be written.
    """
    key = hashlib.sha256(f"{os.uname().machine} {_SHIM}".encode()).hexdigest()[:16]
    store, name = TrustedFolder(cache_folder()), f"shim-{key}.so"
    if (found := store.path_of(name)) is not None:
        return found
    compiler = next(filter(None, map(shutil.which, ("cc", "gcc", "g++", "clang"))), None)
    if compiler is None:
        return None
    with tempfile.TemporaryDirectory() as temporary:
        source, built = Path(temporary) / "shim.c", Path(temporary) / "shim.so"
        source.write_text(_SHIM)
        options = ("-x", "c", "-O2", "-shared", "-fPIC", "-o", str(built), str(source))
        try:
            subprocess.run([compiler, *options], check=True, capture_output=True, timeout=60)
        except subprocess.SubprocessError:
            return None
        return store.keep(name, built.read_bytes())


def cache_folder() -> Path:
    """Where the shim is kept."""
    import platformdirs

    return Path(platformdirs.user_cache_dir("mlx-rev")) / "blas"


def _warn(message: str) -> None:
    warnings.warn(f"mlx-rev: {message}", RuntimeWarning, stacklevel=4)
