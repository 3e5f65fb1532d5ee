import contextlib
import gzip
import hashlib
import io
import json
import os
import subprocess
import sys
import tarfile
import tempfile
import time
import tracemalloc
from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mlx_rev.data import tinystories
from mlx_rev.errors import DataError
from tests.hub import FakeHub, serving


def archive_of(members: dict[str, object]) -> bytes:
    content = io.BytesIO()
    with tarfile.open(fileobj=content, mode="w:gz") as tar:
        for name, entries in members.items():
            data = json.dumps(entries).encode()
            member = tarfile.TarInfo(name)
            member.size = len(data)
            tar.addfile(member, io.BytesIO(data))
    return content.getvalue()


WHOLE = archive_of(
    {
        "TinyStories/data01.json": [{"story": "Train one."}, {"story": "Train two."}],
        "TinyStories/data00.json": [{"story": "Held out."}],
        "TinyStories/readme.txt": "not a shard",
    }
)


@pytest.fixture(scope="module")
def hub(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    served = {
        "repository": f"datasets/{tinystories.REPOSITORY}",
        "files": {tinystories.ARCHIVE: WHOLE},
    }
    with serving(type("Hub", (FakeHub,), served), tmp_path_factory.mktemp("hf")) as settings:
        yield settings["HF_ENDPOINT"]


def fetch(endpoint: str, folder: Path) -> subprocess.CompletedProcess[str]:
    """Fetch and print, in a process of its own: the hub's library reads its settings on import."""
    code = """if True:
        import sys
        from pathlib import Path
        from mlx_rev.config import DataConfig
        from mlx_rev.data.corpus import open_corpus
        from mlx_rev.errors import RevError
        try:
            corpus = open_corpus(
                DataConfig(data="tinystories"),
                Path(sys.argv[1]),
                lambda what, share: print(what) if share == 1 else None,
            )
        except RevError as error:
            sys.exit(str(error))
        print(list(corpus.train()), list(corpus.valid()))
    """
    return subprocess.run(
        [sys.executable, "-c", code, str(folder)],
        env={**os.environ, "HF_ENDPOINT": endpoint, "HF_HOME": str(folder / "hf")}
        | {"MLX_REV_BLAS": "off", "NO_PROXY": "127.0.0.1", "HF_HUB_DISABLE_XET": "1"},
        capture_output=True,
        text=True,
        timeout=400,
        check=False,
    )


@pytest.mark.process
def test_it_is_downloaded_unpacked_and_found_again(hub: str, tmp_path: Path) -> None:
    first = fetch(hub, tmp_path)
    assert first.returncode == 0, first.stderr
    assert first.stdout.splitlines()[-1] == "['Train one.', 'Train two.'] ['Held out.']"
    assert "unpacking TinyStories" in first.stdout
    again = fetch("http://127.0.0.1:9", tmp_path)
    assert again.stdout.splitlines()[-1] == first.stdout.splitlines()[-1]


@pytest.mark.process
def test_without_a_network_it_says_what_to_do(tmp_path: Path) -> None:
    done = fetch("http://127.0.0.1:9", tmp_path)
    assert done.returncode == 1
    assert "cannot download TinyStories_all_data.tar.gz" in done.stderr
    assert "--data bundled" in done.stderr
    assert "Traceback" not in done.stderr
    assert not (tmp_path / "tinystories").exists()


def test_an_archive_cannot_write_elsewhere(tmp_path: Path) -> None:
    content = io.BytesIO()
    with tarfile.open(fileobj=content, mode="w:gz") as tar:
        for name in ("../outside.json", "/tmp/absolute.json", "data00.json"):
            member = tarfile.TarInfo(name)
            member.size = 2
            tar.addfile(member, io.BytesIO(b"[]"))
        link = tarfile.TarInfo("link.json")
        link.type, link.linkname = tarfile.SYMTYPE, "/etc/passwd"
        tar.addfile(link)
    archive, folder = tmp_path / "a.tar.gz", tmp_path / "unpacked"
    archive.write_bytes(content.getvalue())
    folder.mkdir()
    tinystories.unpack(archive, folder, lambda share: None)
    names = sorted(path.name for path in folder.iterdir())
    assert names == ["absolute.json", "data00.json", "outside.json"]
    assert not (tmp_path / "outside.json").exists()


def header(kind: bytes, size: int, name: str = "data00.json") -> bytes:
    """A member's header, which may promise what does not follow."""
    member = tarfile.TarInfo(name)
    member.type = kind
    block = bytearray(member.tobuf(tarfile.GNU_FORMAT))
    block[124:136] = (size & (1 << 95) - 1 | 1 << 95).to_bytes(12)  # GNU's way; may be negative
    if size < 0:
        block[124] = 0xFF
    block[148:156] = b" " * 8
    block[148:156] = b"%06o\0 " % sum(block)
    return bytes(block)


ZEROS = gzip.compress(bytes(1 << 20), 1) * 100
"""100 MB in a few hundred kB."""
ATTACKS = {
    "pax": (gzip.compress(header(tarfile.XHDTYPE, 2 << 30)) + ZEROS, "a header of 2,147,483,648"),
    "global pax": (gzip.compress(header(tarfile.XGLTYPE, 2 << 30)) + ZEROS, "a header of"),
    "long name": (gzip.compress(header(tarfile.GNUTYPE_LONGNAME, 2 << 30)) + ZEROS, "a header of"),
    "large": (gzip.compress(header(tarfile.REGTYPE, 3 << 30)) + ZEROS, "bytes in it"),
    "large, not wanted": (
        gzip.compress(header(tarfile.REGTYPE, 3 << 30, "x.txt")) + ZEROS,
        "bytes in it",
    ),
    "many": (
        gzip.compress(header(tarfile.REGTYPE, 0, "x.txt") * 30_000),
        "more than 1,000 members",
    ),
    "backwards": (gzip.compress(header(tarfile.REGTYPE, -1024) * 2), "negative size"),
    "nested headers": (
        gzip.compress((header(tarfile.GNUTYPE_LONGNAME, 1) + bytes(512)) * 3000),
        "recursion",
    ),
    "cut within": (gzip.compress(header(tarfile.REGTYPE, 5000) + bytes(2000)), "ends within"),
}


@pytest.mark.parametrize("name", ATTACKS)
def test_an_archive_that_attacks_takes_neither_memory_nor_disk_nor_time(
    tmp_path: Path, name: str
) -> None:
    content, reason = ATTACKS[name]
    archive, folder = tmp_path / "a.tar.gz", tmp_path / "unpacked"
    archive.write_bytes(content)
    folder.mkdir()
    tracemalloc.start()
    start = time.process_time()
    with pytest.raises(DataError, match=reason) as caught:
        tinystories.unpack(archive, folder, lambda share: None)
    assert time.process_time() - start < 2
    assert tracemalloc.get_traced_memory()[1] < 8 << 20
    tracemalloc.stop()
    assert "\n" not in str(caught.value)
    written = sum(path.stat().st_size for path in folder.iterdir())
    assert written <= tinystories.MOST_EXPANSION * len(content) + (1 << 20)


@given(st.data())
def test_damage_is_named_and_nothing_else(data: st.DataObject) -> None:
    """Bytes changed, in the archive and in what it holds; a limit or a name may also be met."""
    inside = bytearray(gzip.decompress(WHOLE)[:4096])
    damaged = bytearray(WHOLE)
    target = data.draw(st.sampled_from([inside, damaged]))
    for _ in range(data.draw(st.integers(1, 4))):
        target[data.draw(st.integers(0, len(target) - 1))] = data.draw(st.integers(0, 255))
    with tempfile.TemporaryDirectory() as folder:
        archive = Path(folder, "a.tar.gz")
        archive.write_bytes(gzip.compress(bytes(inside)) if target is inside else bytes(damaged))
        with contextlib.suppress(DataError):
            tinystories.unpack(archive, Path(folder), lambda share: None)


@pytest.mark.process
def test_a_damaged_archive_is_downloaded_anew(tmp_path: Path) -> None:
    hub = type(
        "Hub",
        (FakeHub,),
        {
            "repository": f"datasets/{tinystories.REPOSITORY}",
            "files": {tinystories.ARCHIVE: WHOLE[: len(WHOLE) // 2]},
        },
    )
    with serving(hub, tmp_path / "hf") as settings:
        damaged = fetch(settings["HF_ENDPOINT"], tmp_path)
        assert damaged.returncode == 1
        assert "the same command downloads it again" in damaged.stderr
        assert not [path for path in tmp_path.rglob("blobs/*") if path.is_file()]
        hub.files = {tinystories.ARCHIVE: WHOLE}
        # As a hub says it that serves the same file as before: the name in the cache is the same.
        hub.more_headers = {"ETag": f'"{hashlib.sha256(WHOLE[: len(WHOLE) // 2]).hexdigest()}"'}
        assert fetch(settings["HF_ENDPOINT"], tmp_path).returncode == 0


@pytest.mark.parametrize("content", [b"not an archive", WHOLE[: len(WHOLE) // 2]])
def test_a_broken_archive_is_refused(tmp_path: Path, content: bytes) -> None:
    archive = tmp_path / "a.tar.gz"
    archive.write_bytes(content)
    with pytest.raises(DataError, match=r"not a complete tar\.gz"):
        tinystories.unpack(archive, tmp_path, lambda share: None)


def test_fewer_than_two_shards_are_refused(tmp_path: Path) -> None:
    (tmp_path / "data00.json").write_text("[]")
    with pytest.raises(DataError, match="holds 1 JSON shards"):
        tinystories.shards(tmp_path)
