"""A preparation that was killed at any moment is gone on with, and ends in the same bytes."""

import os
import random
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from mlx_rev.data import bundled

HERE = Path(__file__).parent


@pytest.fixture(scope="module")
def corpus(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("corpus") / "stories.txt"
    stories = [story.text for story in bundled.stories("train", count=500)]
    path.write_text("\n<|endoftext|>\n".join(stories), encoding="utf-8")
    return path


def started(corpus: Path, cache: Path, *shards: int) -> subprocess.Popen[bytes]:
    """The preparation, with its worker; it waits once there are so many shards."""
    environment = {**os.environ, "PYTHONPATH": str(HERE.parents[1]), "OPENBLAS_NUM_THREADS": "1"}
    command = [sys.executable, HERE / "preparing.py", corpus, cache, *map(str, shards)]
    return subprocess.Popen(command, env=environment)


def content(cache: Path) -> dict[str, bytes]:
    """What is there, but for what is on the way: it is gone when all is there."""
    return {
        str(path.relative_to(cache)): path.read_bytes()
        for path in cache.rglob("*")
        if path.is_file() and not path.name.startswith(".mlx-rev-") and path.name != "place.json"
    }


@pytest.fixture(scope="module")
def whole(corpus: Path, tmp_path_factory: pytest.TempPathFactory) -> dict[str, bytes]:
    """What a preparation makes that nothing happens to."""
    cache = tmp_path_factory.mktemp("whole")
    assert started(corpus, cache).wait() == 0
    files = content(cache)
    assert sum("/train/" in name for name in files) > 20
    return files


def workers_of(process: subprocess.Popen[bytes]) -> list[int]:
    found = subprocess.run(["pgrep", "-P", str(process.pid)], capture_output=True, check=False)
    return [int(pid) for pid in found.stdout.split()]


def wait_until(true: Callable[[], bool]) -> None:
    deadline = time.monotonic() + 60
    while not true():
        assert time.monotonic() < deadline
        time.sleep(0.005)


def is_there(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    # What ended stays in the table until whoever inherited it looks.
    state = subprocess.run(["ps", "-o", "stat=", "-p", str(pid)], capture_output=True, check=False)
    return not state.stdout.startswith(b"Z") and state.returncode == 0


def kill_at(corpus: Path, cache: Path, shards: int) -> None:
    """Kill a preparation once there are so many shards; its workers end too."""
    process = started(corpus, cache, shards)
    wait_until(lambda: len(written(cache)) >= shards or process.poll() is not None)
    workers = workers_of(process)
    process.send_signal(signal.SIGKILL)
    process.wait()
    wait_until(lambda: not any(map(is_there, workers)))


def written(cache: Path) -> set[tuple[str, int]]:
    """The shards, and when each was written."""
    return {
        (str(path.relative_to(cache)), path.stat().st_mtime_ns)
        for path in cache.rglob("[!.]*.bin")  # the others are unfinished, and gone in a moment
    }


@pytest.mark.process
def test_killed_twice(corpus: Path, tmp_path: Path, whole: dict[str, bytes]) -> None:
    kept: set[tuple[str, int]] = set()
    shards = sum(name.endswith(".bin") for name in whole)
    for share in (0.3, 0.7):
        kill_at(corpus, tmp_path, int(share * shards))
        left = content(tmp_path)
        assert len(kept) < len(left) < len(whole)
        assert left.items() <= whole.items()
        # Where a shard is there in one direction alone, it is made again in both; and what a
        # process that was killed was writing has a name of its own.
        assert len(kept - written(tmp_path)) <= 1
        kept = {one for one in written(tmp_path) if one[0] in left}
    assert started(corpus, tmp_path).wait() == 0
    assert content(tmp_path) == whole
    assert len(kept) > 10
    assert len(kept - written(tmp_path)) <= 1


@pytest.mark.slow
def test_killed_at_random_moments(corpus: Path, tmp_path: Path, whole: dict[str, bytes]) -> None:
    moments = random.Random(18)
    begin = time.monotonic()
    assert started(corpus, tmp_path / "timed").wait() == 0
    takes = time.monotonic() - begin
    for number in range(20):
        cache = tmp_path / str(number)
        kills = 0
        while True:
            process = started(corpus, cache)
            try:
                assert process.wait(moments.uniform(0, takes)) == 0
                break
            except subprocess.TimeoutExpired:
                process.send_signal(signal.SIGKILL)
                process.wait()
                kills += 1
                assert content(cache).items() <= whole.items()
            if kills == 3:
                assert started(corpus, cache).wait() == 0
                break
        assert content(cache) == whole
        assert sum(path.is_file() for path in cache.rglob("*")) == len(whole)
        shutil.rmtree(cache)
