"""Datasets of a hub on loopback: which files are read, and downloads that break off."""

import gzip
import hashlib
import io
import json
from collections.abc import Iterator
from pathlib import Path

import huggingface_hub
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from mlx_rev import hub
from mlx_rev.config import DataConfig
from mlx_rev.data import tinystories
from mlx_rev.data.corpus import Corpus, open_corpus
from mlx_rev.data.sources import hub_dataset
from mlx_rev.errors import DataError
from tests.hub import FakeHub, serving, use_endpoint, use_here


class Dataset(FakeHub):
    """Remembers from where files were asked for."""

    repository = "datasets/me/tales"
    asked: list[tuple[str, str]]
    knows_ranges = True

    def _give(self, name: str, headers: dict[str, str], *, body: bool) -> None:
        if body:
            self.asked.append((name, self.headers.get("Range", "")))
            if not self.knows_ranges:
                del self.headers["Range"]
        super()._give(name, headers, body=body)


@pytest.fixture
def dataset(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[type[Dataset]]:
    handler = type("Dataset", (Dataset,), {"files": {}, "asked": []})
    with serving(handler, tmp_path / "home") as settings:
        use_here(settings, monkeypatch)
        yield handler
    huggingface_hub.close_session()


def parquet(**columns: list[object]) -> bytes:
    content = io.BytesIO()
    pq.write_table(pa.table(columns), content)
    return content.getvalue()


def lines(*stories: str) -> bytes:
    return "".join(json.dumps({"text": story}) + "\n" for story in stories).encode()


def corpus(data: str, folder: Path, **options: object) -> Corpus:
    return open_corpus(DataConfig(**{"data": data, "valid_share": 0.5, **options}), folder / "c")


def all_of(found: Corpus) -> list[str]:
    return sorted([*found.train(), *found.valid()])


def test_parquet_comes_before_other_kinds_and_splits_are_kept(
    dataset: type[Dataset], tmp_path: Path
) -> None:
    dataset.files = {
        "README.md": b"# Tales",
        "data/train-00000-of-00002.parquet": parquet(id=[1, 2], text=["One.", "Two."]),
        "data/train-00001-of-00002.parquet": parquet(id=[3], text=["Latest three."]),
        "data/validation-00000-of-00001.parquet": parquet(id=[4], text=["Held out."]),
        "data/test-00000-of-00001.parquet": parquet(id=[5], text=["Never read."]),
        "tales.jsonl": lines("The same again."),
        "dataset_infos.json": b"{}",
    }
    found = corpus("hf:me/tales", tmp_path)
    assert list(found.train()) == ["One.", "Two.", "Latest three."]
    assert list(found.valid()) == ["Held out."]
    assert f"@{'0' * 40} keeps it there" in found.notices[0]
    assert "files of a test split that are not read: 1" in found.notices[1]
    assert list(corpus("hf:me/tales/tales.jsonl=2", tmp_path, valid="hf:me/tales").train()) == [
        *("The same again.", "The same again.")
    ]
    assert list(corpus("hf:me/tales/data/test*", tmp_path, valid="bundled").train()) == [
        "Never read."
    ]
    with pytest.raises(DataError, match="no file there whose name ends in"):
        corpus("hf:me/tales/README.md", tmp_path)


def test_a_column_a_revision_and_a_share_held_out(dataset: type[Dataset], tmp_path: Path) -> None:
    stories = [f"Story {number}." for number in range(40)]
    tales = "".join(json.dumps({"id": "x", "tale": story}) + "\n" for story in stories)
    dataset.files = {"a.jsonl.gz": gzip.compress(tales.encode()), "info.json": b"[7]"}
    name = f"hf:me/tales:tale@{'0' * 40}"
    found = corpus(name, tmp_path)
    assert all_of(found) == sorted(stories)
    assert 8 < len(list(found.valid())) < 32
    assert not found.notices
    with pytest.raises(DataError, match="if it is in 'id', 'tale', name that with --field"):
        list(corpus("hf:me/tales", tmp_path).train())


def test_files_of_the_same_content_and_of_a_new_commit_are_found(
    dataset: type[Dataset], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Each is downloaded once, also where it would come in parts."""
    monkeypatch.setattr(hub_dataset, "IN_PARTS", 1)
    same = lines(*map(str, range(20)))
    dataset.files = {"a.jsonl": same, "b.jsonl": same}
    for commit in ("0" * 40, "1" * 40):
        dataset.commit = commit
        assert len(all_of(corpus("hf:me/tales", tmp_path))) == 40
    assert [name for name, _ in dataset.asked] == ["a.jsonl"]
    assert not list((tmp_path / "home").rglob("*.incomplete"))


def test_what_was_downloaded_is_read_without_a_hub(
    dataset: type[Dataset], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    dataset.files = {"a.jsonl": lines(*map(str, range(20)))}
    found = corpus("hf:me/tales", tmp_path)
    use_endpoint("http://127.0.0.1:9", monkeypatch)
    huggingface_hub.close_session()
    again = corpus("hf:me/tales", tmp_path)
    assert again.fingerprint == found.fingerprint
    assert all_of(again) == all_of(found)
    with pytest.raises(DataError, match="cannot download the list of files of me/others"):
        corpus("hf:me/others", tmp_path)
    with pytest.raises(DataError, match="the hub cannot be reached"):
        corpus("hf:me/tales", tmp_path / "elsewhere")


@pytest.mark.parametrize("in_lfs", [(), (".jsonl",)])
def test_a_download_that_breaks_off_goes_on_where_it_stopped(
    dataset: type[Dataset],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    in_lfs: tuple[str, ...],
) -> None:
    dataset.in_lfs = in_lfs
    monkeypatch.setattr(hub_dataset, "IN_PARTS", 1000)
    monkeypatch.setattr(hub, "PATIENCE", 0.3)
    content = lines(*(f"Story {number}." for number in range(1000)))
    dataset.files, dataset.sends = {"a.jsonl": content}, 0.4
    kept = int(len(content) * 0.4)
    with pytest.raises(DataError, match=f"stopped sending after {kept:,} of {len(content):,} by"):
        corpus("hf:me/tales", tmp_path)
    dataset.asked.clear()
    with pytest.raises(DataError, match="the same command goes on from there"):
        corpus("hf:me/tales", tmp_path)
    assert dataset.asked == [("a.jsonl", f"bytes={kept}-")]
    dataset.asked.clear()
    dataset.sends = 1.0
    assert len(all_of(corpus("hf:me/tales", tmp_path))) == 1000
    assert dataset.asked == [("a.jsonl", f"bytes={kept}-")]
    assert not list((tmp_path / "home").rglob("*.incomplete"))


def test_a_part_of_another_file_is_noticed(
    dataset: type[Dataset], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(hub_dataset, "IN_PARTS", 1000)
    monkeypatch.setattr(hub, "PATIENCE", 0.3)
    content = lines(*(f"Story {number}." for number in range(1000)))
    dataset.files, dataset.sends, dataset.in_lfs = {"a.jsonl": content}, 0.4, (".jsonl",)
    with pytest.raises(DataError):
        corpus("hf:me/tales", tmp_path)
    [part] = (tmp_path / "home").rglob("*.incomplete")
    part.write_bytes(b"x" * part.stat().st_size)
    dataset.sends = 1.0
    with pytest.raises(DataError, match="its sha256 differs"):
        corpus("hf:me/tales", tmp_path)
    assert len(all_of(corpus("hf:me/tales", tmp_path))) == 1000


@pytest.mark.parametrize("size", [500, 1_000_000])
def test_a_part_that_is_of_no_use_is_begun_anew(
    dataset: type[Dataset], tmp_path: Path, monkeypatch: pytest.MonkeyPatch, size: int
) -> None:
    monkeypatch.setattr(hub_dataset, "IN_PARTS", 1000)
    dataset.in_lfs = (".jsonl",)
    content = lines(*(f"Story {number}." for number in range(1000)))
    dataset.files, dataset.knows_ranges = {"a.jsonl": content}, False
    blobs = tmp_path / "home" / "a" / "b" / "hub" / "datasets--me--tales" / "blobs"
    blobs.mkdir(parents=True)
    name = hashlib.sha256(content).hexdigest()
    (blobs / f"{name}.mlx-rev.incomplete").write_bytes(b"x" * size)
    assert len(all_of(corpus("hf:me/tales", tmp_path))) == 1000
    assert [each for each, _ in dataset.asked] == ["a.jsonl"]


def test_tinystories_version_2(
    dataset: type[Dataset], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    dataset.repository = f"datasets/{tinystories.REPOSITORY}"
    train, valid = tinystories.VERSION_2
    mark = "\n<|endoftext|>\n"
    dataset.files = {train: f"One.{mark}Two.{mark}".encode(), valid: f"Held out.{mark}".encode()}
    told: list[tuple[str, float]] = []
    config = DataConfig(data="tinystories-v2")
    found = open_corpus(config, tmp_path, lambda what, share: told.append((what, share)))
    assert list(found.train()) == ["One.", "Two."]
    assert list(found.valid()) == ["Held out."]
    assert told[0] == ("downloading TinyStories V2", 0.0)
    assert told[-1][1] == 1.0
    use_endpoint("http://127.0.0.1:9", monkeypatch)
    huggingface_hub.close_session()
    assert open_corpus(config, tmp_path).fingerprint == found.fingerprint
