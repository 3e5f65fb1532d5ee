"""The preload, each time in a fresh interpreter."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="only Linux needs another BLAS")

REPORT = """
import mlx_rev
from mlx_rev.cpu import blas
print(blas.preload())
"""
PRODUCTS = """
import time
import mlx_rev
import mlx.core as mx
from mlx_rev.cpu import blas
blas.set_threads(1)
a, b = (mx.random.normal((512, 512), key=mx.random.key(i)) for i in range(2))
mx.eval(a, b, a @ b)
times = []
for _ in range(3):
    start = time.process_time()
    mx.eval(a @ b)
    times.append(time.process_time() - start)
z = (a[:64, :64] + 1j * b[:64, :64]).astype(mx.complex64)
print(blas.preload())
print(min(times))
print(mx.sum(mx.abs(a @ b)).item(), mx.sum(mx.abs(z @ z)).item())
"""


def python(code: str, cache: Path | None = None, **environment: str) -> tuple[list[str], str]:
    """Lines of standard output, and standard error, of `code` in a new interpreter."""
    if cache is not None:
        environment["XDG_CACHE_HOME"] = str(cache)
    inherited = {name: value for name, value in os.environ.items() if name != "MLX_REV_BLAS"}
    done = subprocess.run(
        [sys.executable, "-c", code],
        env=inherited | environment,
        capture_output=True,
        text=True,
        check=True,
        timeout=400,
    )
    return done.stdout.splitlines(), done.stderr


def test_products_are_fast_and_the_same() -> None:
    (library, fast, *sums), errors = python(PRODUCTS)
    assert "openblas" in library or "blis" in library
    assert not errors
    (none, slow, *slow_sums), errors = python(PRODUCTS, MLX_REV_BLAS="off")
    assert none == "None"
    assert not errors
    assert float(slow) > 3 * float(fast)
    expected = [float(word) for word in " ".join(slow_sums).split()]
    assert [float(word) for word in " ".join(sums).split()] == pytest.approx(expected, rel=1e-5)


ROWS = """
import mlx_rev
import mlx.core as mx
import numpy as np
w = mx.random.normal((37, 65), key=mx.random.key(0))
x = mx.random.normal((65, 3), key=mx.random.key(1))
exact = np.array(x).T.astype("f8") @ np.array(w).T.astype("f8")
turned = mx.contiguous(w.T)
for row in range(3):
    for left in (x[:, row : row + 1].T, mx.contiguous(x[:, row : row + 1].T)):
        for right in (w.T, turned):
            nan = mx.full((1, 37), float("nan"))  # What the result's memory may have held.
            mx.eval(nan)
            del nan
            print(abs(np.array(left @ right) - exact[row]).max())
            print(abs(np.array(mx.addmm(mx.ones((1, 37)), left, right)) - 1 - exact[row]).max())
"""


def test_products_of_one_row() -> None:
    """Both layouts of both factors, with and without something to add to."""
    lines, errors = python(ROWS)
    assert not errors
    assert len(lines) == 24
    assert max(map(float, lines)) < 1e-5


KERNELS = """
import ctypes, os
name = ctypes.CDLL(blas.preload()).scipy_openblas_get_corename
name.restype = ctypes.c_char_p
print(name().decode(), os.environ["OPENBLAS_CORETYPE"])
"""


def test_only_a_named_library_heeds_the_kernels_asked_for() -> None:
    (library,), _ = python(REPORT)
    if "scipy_openblas" not in library or os.uname().machine != "x86_64":
        pytest.skip("needs the wheel's OpenBLAS on x86-64")
    code, asked = REPORT + KERNELS, {"OPENBLAS_CORETYPE": "Nehalem"}
    (_, found), _ = python(code, **asked)
    assert found.split()[0] != "Nehalem"
    assert found.split()[1] == "Nehalem"
    (_, found), _ = python(code, MLX_REV_BLAS=library, **asked)
    assert found == "Nehalem Nehalem"


def test_a_path_names_the_library() -> None:
    (found,), _ = python(REPORT)
    (named, *_), errors = python(PRODUCTS, MLX_REV_BLAS=found)
    assert named == found
    assert not errors


def test_a_wrong_path_warns() -> None:
    (library,), errors = python(REPORT, MLX_REV_BLAS="/no/such/library.so")
    assert library == "None"
    assert errors.count("RuntimeWarning") == 1
    assert "MLX_REV_BLAS=/no/such/library.so" in errors


def test_a_library_that_is_no_blas_warns() -> None:
    (library,), errors = python(REPORT, MLX_REV_BLAS="libc.so.6")
    assert library == "None"
    assert "cblas_sgemm" in errors


def test_mlx_first_warns_once() -> None:
    (library,), errors = python("import mlx.core" + REPORT + "blas.preload()")
    assert library == "None"
    assert errors.count("RuntimeWarning") == 1
    assert "import mlx_rev first" in errors


def test_nothing_to_load_warns(tmp_path: Path) -> None:
    """No compiler and no cached shim, and no library of the system's under these names."""
    code = "from mlx_rev.cpu import blas\nblas._SYSTEM_LIBRARIES = ()\nblas.preload()"
    stop = "import sys\nsys.modules['mlx_rev'] = type(sys)('mlx_rev')\n"
    stop += f"sys.modules['mlx_rev'].__path__ = [{str(Path(__file__).parents[2] / 'mlx_rev')!r}]\n"
    _, errors = python(stop + code, tmp_path, PATH="")
    assert errors.count("RuntimeWarning") == 1
    assert "apt install" in errors


def test_a_damaged_shim_is_built_again(tmp_path: Path) -> None:
    (library,), _ = python(REPORT, tmp_path)
    shims = list(tmp_path.glob("mlx-rev/blas/*/*.so"))
    if "scipy_openblas" not in library:
        pytest.skip("no compiler here")
    (shim,) = shims
    assert shim.parents[1].stat().st_mode & 0o777 == 0o700
    whole = shim.read_bytes()
    for damage in (whole[: len(whole) // 2], whole[:5000] + b"x" + whole[5001:]):
        shim.write_bytes(damage)
        (again,), errors = python(REPORT, tmp_path)
        assert (again, errors) == (library, "")
        assert shim.read_bytes() == whole


def test_a_cache_that_cannot_be_written_is_no_error(tmp_path: Path) -> None:
    """Whichever library is wanted."""
    (usual,), _ = python(REPORT)
    (tmp_path / "mlx-rev").write_text("in the way")
    for environment in ({}, {"MLX_REV_BLAS": usual} if "scipy_openblas" in usual else {}):
        (library,), errors = python(REPORT, tmp_path, **environment)
        assert "Traceback" not in errors
        if not environment and library != "None":
            assert "blas" in library
            continue
        assert library == "None"
        assert f"{tmp_path / 'mlx-rev' / 'blas'} cannot be written (Not a directory)" in errors
        assert "set XDG_CACHE_HOME" in errors
        assert errors.count("RuntimeWarning") == 1


def test_never_on_macos() -> None:
    code = "import sys\nsys.platform = 'darwin'" + REPORT
    (library,), errors = python(code)
    assert library == "None"
    assert not errors
