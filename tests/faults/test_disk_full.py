"""Where a write fails in the middle, a training ends with one line, and its last checkpoint is as
it was."""

import resource
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

Run = Callable[..., subprocess.CompletedProcess[str]]


def files_of(run: Path) -> dict[str, bytes]:
    folder = (run / "checkpoints" / "latest").resolve()
    return {path.name: path.read_bytes() for path in folder.iterdir()}


@contextmanager
def files_up_to(size: int) -> Iterator[None]:
    """No file of this process can grow beyond `size` bytes."""
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, before[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)


@pytest.fixture(scope="module")
def begun(run: Run, tiny_flags: list[str], tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run of 5 steps."""
    folder = tmp_path_factory.mktemp("begun") / "run"
    flags = ("--log-every", 1, "--sample-every", 7, "--steps", 5, "--plain", "--out", folder)
    assert run("train", *tiny_flags, *flags).returncode == 0
    return folder


@pytest.fixture(scope="module")
def whole(run: Run, begun: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The same run, of 8 steps."""
    folder = tmp_path_factory.mktemp("whole") / "run"
    shutil.copytree(begun, folder, symlinks=True)
    assert run("train", "--resume", folder, "--steps", 8, "--plain").returncode == 0
    return folder


@pytest.mark.parametrize(
    ("size", "name"),
    [
        (300, "metrics.jsonl"),
        (7600, "checkpoints/step-00000008"),
        (80_000, "checkpoints/step-00000008"),
    ],
)
def test_a_file_that_cannot_grow(
    run: Run, begun: Path, whole: Path, tmp_path: Path, size: int, name: str
) -> None:
    folder = tmp_path / "run"
    shutil.copytree(begun, folder, symlinks=True)
    before = files_of(folder)
    with files_up_to(size):
        done = run("train", "--resume", folder, "--steps", 8, "--plain")
    assert done.returncode == 2
    assert len(done.stderr.splitlines()) == 1
    assert (
        f"{folder / name}: File too large; resume from the last checkpoint, step-00000005: "
        in done.stderr
    )
    assert not list(folder.rglob(".mlx-rev-*"))
    assert files_of(folder) == before
    assert run("train", "--resume", folder, "--steps", 8, "--plain").returncode == 0
    assert files_of(folder) == files_of(whole)


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Callable[[int], Path]]:
    """Mounts a disk of so many bytes, where this user may."""
    folder = tmp_path / "disk"
    folder.mkdir()

    def mount(size: int) -> Path:
        subprocess.run(["umount", folder], capture_output=True, check=False)
        command = ["mount", "-t", "tmpfs", "-o", f"size={size}", "tmpfs", folder]
        if sys.platform != "linux" or subprocess.run(command, capture_output=True).returncode:
            pytest.skip("no permission to mount a small disk")
        return folder

    yield mount
    subprocess.run(["umount", folder], capture_output=True, check=False)


@pytest.mark.slow
def test_a_small_disk(
    run: Run, begun: Path, whole: Path, small_disk: Callable[[int], Path]
) -> None:
    """From one that holds next to nothing to one that holds all."""
    held = sum(path.stat().st_blocks * 512 for path in begun.rglob("*"))
    ends = set()
    for room in range(8 << 10, 1 << 20, 24 << 10):
        disk = small_disk(held + room)
        folder = disk / "run"
        shutil.copytree(begun, folder, symlinks=True)
        before = files_of(folder)
        done = run("train", "--resume", folder, "--steps", 8, "--plain")
        if done.returncode == 0:
            break
        assert done.returncode == 2
        [line] = done.stderr.splitlines()
        assert "No space left on device; make room, and then resume from" in line
        assert files_of(folder) in (before, files_of(whole))
        ends.add(line.split(":")[1].removeprefix(f" {folder}"))
        assert not list(folder.rglob(".mlx-rev-*"))
    assert files_of(folder) == files_of(whole)
    assert len(ends) >= 2
