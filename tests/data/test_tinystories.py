import io
import json
import os
import subprocess
import sys
import tarfile
from collections.abc import Iterator
from pathlib import Path

import pytest

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
        from mlx_rev.data.corpus import open_corpus
        from mlx_rev.errors import RevError
        try:
            corpus = open_corpus(
                "tinystories", valid=None, valid_share=0.1, cache=Path(sys.argv[1]),
                progress=lambda what, share: print(what) if share == 1 else None,
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


@pytest.mark.parametrize("content", [b"not an archive", WHOLE[: len(WHOLE) // 2]])
def test_a_broken_archive_is_refused(tmp_path: Path, content: bytes) -> None:
    archive = tmp_path / "a.tar.gz"
    archive.write_bytes(content)
    with pytest.raises(DataError, match=r"not a whole tar\.gz"):
        tinystories.unpack(archive, tmp_path, lambda share: None)


def test_fewer_than_two_shards_are_refused(tmp_path: Path) -> None:
    (tmp_path / "data00.json").write_text("[]")
    with pytest.raises(DataError, match="holds 1 JSON shards"):
        tinystories.shards(tmp_path)
