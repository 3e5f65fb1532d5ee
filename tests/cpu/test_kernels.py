"""Compiled kernels, each time in a fresh interpreter with a cache of its own."""

import os
import stat
import subprocess
import sys
from importlib.metadata import version
from pathlib import Path

import pytest

from mlx_rev import files
from mlx_rev.cpu import kernels
from mlx_rev.cpu.trusted import TrustedFolder

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="Metal builds kernels in memory")

COMPILE = """
import tempfile
before = tempfile.gettempdir()
import mlx_rev
import mlx.core as mx
from mlx_rev.cpu import kernels
kernels.use_private_folder()
# Kernels are named after what they do, so this one's name is long.
many = mx.compile(lambda *x: (sum(a * a - a / 2 for a in x),))
print(many(*mx.ones((9, 4)))[0].tolist(), tempfile.gettempdir() == before)
"""
RIGHT = "[4.5, 4.5, 4.5, 4.5] True\n"


@pytest.fixture
def builds(tmp_path: Path, precompiled_headers: Path) -> Path:
    """A file that gets a line whenever a kernel is built."""
    log = tmp_path / "builds"
    log.touch()
    compiler = tmp_path / "bin" / "g++"
    compiler.parent.mkdir()
    compiler.write_text(
        f'#!/bin/sh\n[ "$1" = --version ] || echo build >> {log}\n'
        f'PATH=${{PATH#*:}} exec g++ -I {precompiled_headers} "$@"\n'
    )
    compiler.chmod(0o755)
    return log


def run(builds: Path, more: str = "") -> str:
    """What COMPILE and `more` print, with g++ watched."""
    folder = builds.parent
    changed = {
        "PATH": f"{folder / 'bin'}:{os.environ['PATH']}",
        "XDG_CACHE_HOME": str(folder / "cache"),
        "TMPDIR": str(folder),
    }
    return subprocess.run(
        [sys.executable, "-c", COMPILE + more],
        env=os.environ | changed,
        capture_output=True,
        text=True,
        check=True,
        timeout=400,
    ).stdout


def kept(builds: Path) -> list[Path]:
    """The kernels in the cache."""
    return sorted((builds.parent / "cache/mlx-rev/kernels").glob("*/*/*.so"))


def test_kernels_are_built_once_in_private(builds: Path) -> None:
    """And others need not wait for the end of the process that built them."""
    more = "kernels.exchange(); print(len([*kernels._private_folder()._store.files()]))"
    assert run(builds, more) == f"{RIGHT}1\n"
    first = builds.read_text().count("build")
    assert first > 0
    assert run(builds) == RIGHT
    assert builds.read_text().count("build") == first
    assert (
        stat.S_IMODE((builds.parent / "cache/mlx-rev/kernels" / version("mlx")).stat().st_mode)
        == 0o700
    )
    assert not [*builds.parent.glob("mlx*"), *builds.parent.glob(".mlx*")]


def test_what_is_built_for_cuda_stays(builds: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    more = "import os; print(os.environ['MLX_PTX_CACHE_DIR'])"
    kept = builds.parent / "cache/mlx-rev/cuda" / version("mlx") / os.uname().machine
    monkeypatch.delenv("MLX_PTX_CACHE_DIR", raising=False)
    assert run(builds, more) == f"{RIGHT}{kept}\n"
    monkeypatch.setenv("MLX_PTX_CACHE_DIR", "/mine")
    assert run(builds, more) == f"{RIGHT}/mine\n"


def test_damaged_kernels_are_built_again(builds: Path) -> None:
    run(builds)
    whole = len(kept(builds))
    for damage in (
        lambda content: content[:4096],
        lambda content: content[:5000] + b"?" + content[5001:],
    ):
        for path in kept(builds):
            path.write_bytes(damage(path.read_bytes()))
        count = builds.read_text().count("build")
        assert run(builds) == RIGHT
        assert builds.read_text().count("build") == count + whole
        assert len(kept(builds)) == whole


def test_only_what_is_loaded_goes_to_other_processes(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """They may have begun before; what is not loaded may be half written."""
    store = TrustedFolder(tmp_path / "store")
    one, other = (kernels._PrivateFolder(tmp_path, store) for _ in range(2))
    for name in ("whole.so", "half.so"):
        (one._kernels / name).write_text(name)
    monkeypatch.setattr(one, "_loaded", lambda: {"whole.so", "libc.so"})
    one.exchange()
    other.exchange()
    assert [path.name for path in other._kernels.iterdir()] == ["whole.so"]
    assert (other._kernels / "whole.so").read_text() == "whole.so"
    monkeypatch.setattr(one, "_loaded", lambda: {"half.so"})
    one.exchange()
    other.exchange()
    assert dict(store.files()) == {"half.so": b"half.so", "whole.so": b"whole.so"}
    assert len(list(other._kernels.iterdir())) == 2
    one.remove()
    assert not one.folder.exists()


def test_a_cache_that_cannot_be_written_is_no_error(builds: Path) -> None:
    (builds.parent / "cache").write_text("in the way")
    assert run(builds) == RIGHT
    assert not [*builds.parent.glob("mlx*"), *builds.parent.glob(".mlx*")]


def test_what_a_dead_process_left_is_removed(builds: Path) -> None:
    """Whatever the moment of its death; a folder that is in use stays."""
    killed = COMPILE + "import os\nos._exit(0)\n"
    environment = os.environ | {"XDG_CACHE_HOME": str(builds.parent), "TMPDIR": str(builds.parent)}
    subprocess.run([sys.executable, "-c", killed], env=environment, check=True, timeout=400)
    [dead] = builds.parent.glob(".mlx-rev-new-*")
    assert list(dead.glob("mlx/*/cpu/*.so"))
    alive = files.private_folder(builds.parent)
    assert run(builds) == RIGHT
    assert list(builds.parent.glob(".mlx-rev-new-*")) == [alive]


def test_without_room_nothing_is_compiled_and_it_is_said(tmp_path: Path) -> None:
    full = "import shutil, collections\nshutil.disk_usage = lambda path: "
    full += "collections.namedtuple('usage', 'free')(1000)\n"
    done = subprocess.run(
        [sys.executable, "-c", full + COMPILE],
        env=os.environ | {"XDG_CACHE_HOME": str(tmp_path / "cache"), "TMPDIR": str(tmp_path)},
        capture_output=True,
        text=True,
        check=True,
        timeout=400,
    )
    assert done.stdout == RIGHT
    assert "no room for compiled kernels" in done.stderr
    assert not [*tmp_path.glob("mlx*"), *tmp_path.glob(".mlx*")]
