"""What is loaded into the process is what one of ours put there."""

import hashlib
import os
import time
from pathlib import Path

import pytest

from mlx_rev.cpu.trusted import TrustedFolder


@pytest.fixture
def store(tmp_path: Path) -> TrustedFolder:
    store = TrustedFolder(tmp_path / "cache" / "kernels")
    store.keep("one.so", b"first")
    store.keep("two.so", b"second")
    return store


def test_what_was_kept_is_there_for_others(store: TrustedFolder) -> None:
    other = TrustedFolder(store.folder)
    assert dict(other.files()) == {"one.so": b"first", "two.so": b"second"}
    path = other.path_of("one.so")
    assert path is not None
    assert path.read_bytes() == b"first"
    assert other.path_of("three.so") is None
    assert other.keep("one.so", b"first") == path


def test_nothing_is_there_before_something_is_kept(tmp_path: Path) -> None:
    store = TrustedFolder(tmp_path / "none")
    assert not list(store.files())
    assert store.path_of("one.so") is None
    assert not store.folder.exists()


def test_what_somebody_else_put_there_is_removed(store: TrustedFolder) -> None:
    """Under its checksum's name, as a file written through a hole elsewhere could be."""
    planted = store.folder / hashlib.sha256(b"evil").hexdigest() / "evil.so"
    planted.parent.mkdir()
    planted.write_bytes(b"evil")
    assert store.path_of("evil.so") is None
    assert "evil.so" not in dict(store.files())
    assert not planted.exists()


def test_a_kept_file_under_another_name_is_removed(store: TrustedFolder) -> None:
    path = store.path_of("one.so")
    assert path is not None
    path.rename(path.with_name("three.so"))
    assert dict(store.files()) == {"two.so": b"second"}


@pytest.mark.parametrize("damage", [b"", b"firsT", b"first "])
def test_a_damaged_file_is_removed_and_can_be_kept_again(
    store: TrustedFolder, damage: bytes
) -> None:
    path = store.path_of("one.so")
    assert path is not None
    path.write_bytes(damage)
    assert store.path_of("one.so") is None
    assert store.keep("one.so", b"first") == path
    path.write_bytes(damage)
    assert dict(store.files()) == {"two.so": b"second"}
    assert store.keep("one.so", b"first") == path
    assert store.path_of("one.so") == path


@pytest.mark.parametrize("mode", [0o640, 0o604, 0o644, 0o660])
def test_a_key_that_others_may_read_is_not_used(store: TrustedFolder, mode: int) -> None:
    """A file written through a hole elsewhere has the mode of any file."""
    (store.folder / ".key").chmod(mode)
    assert not list(store.files())
    store.keep("three.so", b"third")
    assert dict(store.files()) == {"three.so": b"third"}


def test_a_key_that_is_a_link_or_short_is_not_used(store: TrustedFolder, tmp_path: Path) -> None:
    key = store.folder / ".key"
    (tmp_path / "elsewhere").write_bytes(key.read_bytes())
    (tmp_path / "elsewhere").chmod(0o600)
    key.unlink()
    key.symlink_to(tmp_path / "elsewhere")
    assert not list(store.files())
    key.unlink()
    key.write_bytes(b"short")
    key.chmod(0o600)
    assert not list(store.files())


@pytest.mark.parametrize("mode", [0o777, 0o770, 0o702])
def test_a_folder_that_others_may_write_is_not_used(store: TrustedFolder, mode: int) -> None:
    store.folder.chmod(mode)
    assert not list(store.files())
    assert store.path_of("one.so") is None
    with pytest.raises(PermissionError, match="others can write it"):
        store.keep("three.so", b"third")


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can give files away")
def test_somebody_elses_folder_is_not_used(store: TrustedFolder) -> None:
    os.chown(store.folder, 12345, -1)
    assert not list(store.files())


def test_what_a_dead_process_left_unfinished_is_removed(store: TrustedFolder) -> None:
    for name, age in ((".new-old", 7200), (".new-fresh", 0)):
        (store.folder / name).mkdir()
        (store.folder / name / "x.so").write_bytes(b"?")
        os.utime(store.folder / name / "x.so", (time.time() - age,) * 2)
    assert len(list(store.files())) == 2
    assert not (store.folder / ".new-old").exists()
    assert (store.folder / ".new-fresh").exists()
