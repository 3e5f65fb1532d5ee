import errno
import os
import stat
import subprocess
import sys
import tempfile
from pathlib import Path

import pytest

from mlx_rev import files
from mlx_rev.errors import RevError


def test_a_file_is_replaced_whole(tmp_path: Path) -> None:
    path = tmp_path / "new" / "file.txt"
    files.write_text(path, "one")
    files.write_text(path, "two\n")
    assert path.read_bytes() == b"two\n"
    assert [entry.name for entry in path.parent.iterdir()] == ["file.txt"]


def test_a_writer_that_fails_changes_nothing(tmp_path: Path) -> None:
    path = tmp_path / "file.txt"
    files.write_text(path, "one")

    def fail() -> None:
        with files.atomic_path(path) as temporary:
            temporary.write_text("half")
            assert path.read_text() == "one"
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        fail()
    assert path.read_text() == "one"
    assert [entry.name for entry in tmp_path.iterdir()] == ["file.txt"]


def test_a_folder_takes_the_place_of_another(tmp_path: Path) -> None:
    target = tmp_path / "folder"
    for name in ("old", "new"):
        with files.atomic_folder(target) as temporary:
            (temporary / "inner").mkdir()
            (temporary / "inner" / name).write_text(name)
    assert [entry.name for entry in (target / "inner").iterdir()] == ["new"]
    assert [entry.name for entry in tmp_path.iterdir()] == ["folder"]


def test_a_folder_that_fails_leaves_the_old_one(tmp_path: Path) -> None:
    target = tmp_path / "folder"
    target.mkdir()
    (target / "old").touch()

    def fail() -> None:
        with files.atomic_folder(target) as temporary:
            (temporary / "new").touch()
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        fail()
    assert [entry.name for entry in target.iterdir()] == ["old"]
    assert [entry.name for entry in tmp_path.iterdir()] == ["folder"]


def test_what_the_system_refuses_names_the_target(tmp_path: Path) -> None:
    target = tmp_path / "file.txt"

    def fill() -> None:
        with files.atomic_path(target):
            raise OSError(errno.ENOSPC, "No space left on device")

    with pytest.raises(OSError, match="No space left") as error:
        fill()
    assert error.value.filename == str(target)


@pytest.mark.parametrize("broken", [1, 2])
def test_a_folder_that_cannot_be_renamed_leaves_the_old_one(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, broken: int
) -> None:
    target = tmp_path / "folder"
    target.mkdir()
    (target / "old").touch()
    renames: list[object] = []
    rename = os.replace

    def sometimes(source: Path, to: Path) -> None:
        renames.append(source)
        if len(renames) == broken:
            raise OSError(errno.EBUSY, "busy", str(source))
        rename(source, to)

    monkeypatch.setattr(files.os, "replace", sometimes)
    with pytest.raises(OSError, match="busy") as error, files.atomic_folder(target):
        pass
    assert error.value.filename == str(target)
    assert [entry.name for entry in target.iterdir()] == ["old"]
    assert [entry.name for entry in tmp_path.iterdir()] == ["folder"]


def test_a_file_system_without_locks_is_named(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(*_: object) -> None:
        raise OSError(errno.ENOLCK, "No locks available")

    monkeypatch.setattr("fcntl.flock", fail)
    said = rf"{tmp_path}.*: cannot be locked \(No locks available\); name a folder"
    with pytest.raises(RevError, match=said), files.lock(tmp_path):
        pass


def test_a_lock_keeps_others_out_and_ends_with_its_process(tmp_path: Path) -> None:
    holder = (
        "import sys, pathlib\nfrom mlx_rev import files\n"
        "with files.lock(pathlib.Path(sys.argv[1])):\n    print('held', flush=True)\n    input()"
    )
    with subprocess.Popen(
        [sys.executable, "-c", holder, tmp_path], stdin=subprocess.PIPE, stdout=subprocess.PIPE
    ) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == b"held\n"
        with pytest.raises(RevError, match="another process is at work"), files.lock(tmp_path):
            pass
        process.kill()
    with files.lock(tmp_path):
        pass


def test_permissions_are_those_that_the_user_s_mask_leaves(tmp_path: Path) -> None:
    files.write_bytes(tmp_path / "ours", b"")
    with open(tmp_path / "plain", "wb"):
        pass
    assert (tmp_path / "ours").stat().st_mode == (tmp_path / "plain").stat().st_mode


def test_a_private_folder_is_kept_until_its_process_ends(tmp_path: Path) -> None:
    """Also one whose process was killed right after it was made is removed, at once."""
    alive = files.private_folder(tmp_path)
    make = "import sys, pathlib\nfrom mlx_rev import files\n"
    make += "files.private_folder(pathlib.Path(sys.argv[1]))"
    subprocess.run([sys.executable, "-c", make, tmp_path], check=True)
    tempfile.mkdtemp(prefix=".mlx-rev-new-", dir=tmp_path)
    (tmp_path / "other").mkdir()
    assert len(list(tmp_path.iterdir())) == 4
    files.remove_leftovers(tmp_path)
    assert sorted(tmp_path.iterdir()) == sorted([alive, tmp_path / "other"])
    assert stat.S_IMODE(alive.stat().st_mode) == 0o700


@pytest.mark.parametrize("after", ["open", "mkdtemp"])
def test_a_folder_that_was_taken_for_a_dead_one_s_is_made_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, after: str
) -> None:
    """Another process may look at it before it is locked."""
    taken: list[Path] = []
    module = files.os if after == "open" else files.tempfile
    made = getattr(module, after)

    def and_taken(*given: object, **named: object) -> object:
        result = made(*given, **named)
        if not taken:
            taken.extend(tmp_path.iterdir())
            taken[0].rmdir()
        return result

    monkeypatch.setattr(module, after, and_taken)
    folder = files.private_folder(tmp_path)
    assert len(taken) == 1
    assert list(tmp_path.iterdir()) == [folder] != taken


def test_what_another_user_left_is_not_touched(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    tempfile.mkdtemp(prefix=".mlx-rev-new-", dir=tmp_path)
    own = os.geteuid()
    monkeypatch.setattr(files.os, "geteuid", lambda: own + 1)
    files.remove_leftovers(tmp_path)
    assert len(list(tmp_path.iterdir())) == 1
