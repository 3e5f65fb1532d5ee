import contextlib
import gzip
import hashlib
import io
import json
import tarfile
import tempfile
import time
import tracemalloc
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import NamedTuple

import huggingface_hub
import pytest
from hypothesis import given
from hypothesis import strategies as st

from mlx_rev.config import DataConfig
from mlx_rev.data import tinystories
from mlx_rev.data.corpus import open_corpus
from mlx_rev.errors import DataError
from tests.hub import FakeHub, serving, use_here


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


class Fetched(NamedTuple):
    """What a corpus holds, and what was said on the way."""

    train: list[str]
    valid: list[str]
    said: list[str]


Fetch = Callable[[str, Path], Fetched]


@pytest.fixture
def fetch(monkeypatch: pytest.MonkeyPatch) -> Iterator[Fetch]:
    """Fetches TinyStories from a hub into a folder, which has the hub's cache too."""

    def fetched(endpoint: str, folder: Path) -> Fetched:
        settings = {"HF_HOME": str(folder / "hf"), "HF_TOKEN": "hf_test", "NO_PROXY": "127.0.0.1"}
        use_here(settings | {"HF_ENDPOINT": endpoint}, monkeypatch)
        said: list[str] = []
        corpus = open_corpus(
            DataConfig(data="tinystories"),
            folder,
            lambda what, share: said.append(what) if share == 1 else None,
        )
        return Fetched(list(corpus.train()), list(corpus.valid()), said)

    yield fetched
    huggingface_hub.close_session()


def test_it_is_downloaded_unpacked_and_found_again(hub: str, fetch: Fetch, tmp_path: Path) -> None:
    first = fetch(hub, tmp_path)
    assert (first.train, first.valid) == (["Train one.", "Train two."], ["Held out."])
    assert "unpacking TinyStories" in first.said
    again = fetch("http://127.0.0.1:9", tmp_path)
    assert again == Fetched(first.train, first.valid, [])


def test_without_a_network_it_says_what_to_do(fetch: Fetch, tmp_path: Path) -> None:
    expected = "cannot download TinyStories_all_data.tar.gz.*--data bundled"
    with pytest.raises(DataError, match=expected):
        fetch("http://127.0.0.1:9", tmp_path)
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


def test_a_damaged_archive_is_downloaded_anew(fetch: Fetch, tmp_path: Path) -> None:
    hub = type(
        "Hub",
        (FakeHub,),
        {
            "repository": f"datasets/{tinystories.REPOSITORY}",
            "files": {tinystories.ARCHIVE: WHOLE[: len(WHOLE) // 2]},
        },
    )
    with serving(hub, tmp_path / "hf") as settings:
        with pytest.raises(DataError, match="the same command downloads it again"):
            fetch(settings["HF_ENDPOINT"], tmp_path)
        assert not [path for path in tmp_path.rglob("blobs/*") if path.is_file()]
        hub.files = {tinystories.ARCHIVE: WHOLE}
        # As a hub says it that serves the same file as before: the name in the cache is the same.
        hub.more_headers = {"ETag": f'"{hashlib.sha256(WHOLE[: len(WHOLE) // 2]).hexdigest()}"'}
        assert fetch(settings["HF_ENDPOINT"], tmp_path).valid == ["Held out."]


@pytest.mark.parametrize("content", [b"not an archive", WHOLE[: len(WHOLE) // 2]])
def test_a_broken_archive_is_refused(tmp_path: Path, content: bytes) -> None:
    archive = tmp_path / "a.tar.gz"
    archive.write_bytes(content)
    with pytest.raises(DataError, match=r"not a complete tar\.gz"):
        tinystories.unpack(archive, tmp_path, lambda share: None)


def test_fewer_than_two_shards_are_refused(tmp_path: Path) -> None:
    (tmp_path / "data00.json").write_text("[]")
    with pytest.raises(DataError, match="at least two JSON shards, found 1"):
        tinystories.shards(tmp_path)
