"""Compressed files and Parquet."""

import errno
import gzip
import json
import zlib
from pathlib import Path, PurePath
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from mlx_rev.config import DataConfig
from mlx_rev.data.corpus import open_corpus
from mlx_rev.data.sources import content
from mlx_rev.data.sources.facts import facts_of
from mlx_rev.data.sources.problems import Problems
from mlx_rev.data.sources.story_files import StoryFile, notices, read_stories, story_files
from mlx_rev.errors import DataError

try:
    from compression import zstd
except ImportError:
    from backports import zstd

PACK = {".gz": gzip.compress, ".zst": zstd.compress}
STORIES = [f"Story {number} of a dög. " * 9 + "\nThe end." for number in range(300)]


def after_each(file: StoryFile) -> None:
    """What follows a place that was noted is what followed it before."""
    chunks = list(file.chunks((), Problems()))
    assert len(chunks) > 2
    for number, chunk in list(enumerate(chunks))[:: max(1, len(chunks) // 5)]:
        rest = [story for more in file.chunks(chunk.after, Problems()) for story in more.stories]
        assert rest == [story.strip() for more in chunks[number + 1 :] for story in more.stories]


@pytest.mark.parametrize("suffix", PACK)
@pytest.mark.parametrize("kind", ["txt", "jsonl", "json"])
def test_a_packed_file_reads_as_the_plain_one(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, kind: str, suffix: str
) -> None:
    monkeypatch.setattr(content, "BLOCK", 10_000)
    text = {
        "txt": "\n\n".join(STORIES),
        "jsonl": "\n".join(map(json.dumps, STORIES)),
        "json": json.dumps(STORIES),
    }
    path = tmp_path / f"s.{kind}{suffix}"
    # Both formats may have several members one after another.
    half = len(text[kind]) // 2
    parts = (text[kind][:half].encode(), text[kind][half:].encode())
    path.write_bytes(b"".join(map(PACK[suffix], parts)))
    assert list(read_stories(path)) == STORIES
    after_each(StoryFile(path, facts_of(path)))


@pytest.mark.parametrize("suffix", PACK)
def test_a_cut_or_damaged_packed_file_says_how_much_could_be_read(
    tmp_path: Path, suffix: str
) -> None:
    path = tmp_path / f"s.txt{suffix}"
    text = "\n\n".join(str(number) * 7 for number in range(50_000))
    whole = PACK[suffix](text.encode())
    path.write_bytes(whole[: len(whole) // 2])
    with pytest.raises(DataError, match=r"is cut off: [\d,]+ bytes could be unpacked") as caught:
        list(read_stories(path))
    assert "--on-error skip" in str(caught.value)
    config = DataConfig(data=str(path), valid_share=0.5, on_error="skip")
    corpus = open_corpus(config, tmp_path)
    read = set(corpus.train()) | set(corpus.valid())
    unpack = {".gz": zlib.decompressobj(wbits=31), ".zst": zstd.ZstdDecompressor()}[suffix]
    whole_stories = unpack.decompress(path.read_bytes()).decode().split("\n\n")[:-1]
    assert len(whole_stories) > 1000
    assert read == set(whole_stories)
    summary = corpus.problems.summary()
    assert summary.startswith(f"the rest of {path} after story {len(read):,} was left out")
    assert summary.count(": is cut off") == 1
    path.write_bytes(b"not packed at all")
    with pytest.raises(DataError, match="is damaged"):
        list(read_stories(path))


def write_parquet(path: Path, columns: dict[str, Any], **options: Any) -> None:
    pq.write_table(pa.table(columns), path, **options)


@pytest.mark.parametrize("kind", [pa.string(), pa.large_string(), pa.dictionary(pa.int32(), "str")])
def test_parquet_in_row_groups(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, kind: Any) -> None:
    monkeypatch.setattr("mlx_rev.data.sources.parquet._ROWS", 40)
    path = tmp_path / "s.parquet"
    column = pa.array(STORIES, pa.string()).cast(kind)
    write_parquet(path, {"id": list(range(300)), "text": column}, row_group_size=100)
    assert list(read_stories(path)) == STORIES
    assert list(read_stories(path, "text")) == STORIES
    after_each(StoryFile(path))


def test_parquet_without_a_text_says_what_there_is(tmp_path: Path) -> None:
    path = tmp_path / "s.parquet"
    write_parquet(path, {"tale": ["One."], "text": [7]})
    with pytest.raises(DataError, match="if it is in 'tale', name that with --field"):
        list(read_stories(path))
    assert list(read_stories(path, "tale")) == ["One."]
    path.write_bytes(path.read_bytes()[:-9])
    with pytest.raises(DataError, match="not a Parquet file that can be read to its end"):
        list(read_stories(path))


def test_rows_that_cannot_be_read_are_skipped_and_the_first_named(tmp_path: Path) -> None:
    path = tmp_path / "s.parquet"
    raw = pa.array([b"One.", None, b"\xff", b"Fo\xc3\xbcr.<|endoftext|>Five."], pa.binary())
    write_parquet(path, {"text": pa.Array.from_buffers(pa.string(), 4, raw.buffers())})
    with pytest.raises(DataError, match="row 2 has no story"):
        list(read_stories(path))
    problems = Problems(skip=True)
    chunks = StoryFile(path).chunks((), problems)
    assert [one for chunk in chunks for one in chunk.stories] == ["One.", "Foür.", "Five."]
    assert problems.count == 2


def test_without_pyarrow_it_is_said_how_to_get_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "s.parquet"
    path.touch()
    monkeypatch.setitem(__import__("sys").modules, "pyarrow", None)
    with pytest.raises(DataError, match=r"pip install 'mlx-rev\[parquet\]'"):
        list(read_stories(path))


def test_plain_files_of_a_folder_count_alone(tmp_path: Path) -> None:
    """As before there were others: a corpus keeps its fingerprint."""
    (tmp_path / "a.txt.gz").write_bytes(gzip.compress(b"One.\n\nTwo."))
    assert list(read_stories(tmp_path)) == ["One.", "Two."]
    (tmp_path / "b.txt").write_text("Three.\n\nFour.")
    assert list(read_stories(tmp_path)) == ["Three.", "Four."]
    assert "a.txt.gz: not read" in notices(str(tmp_path))[0]
    assert notices(str(tmp_path / "*.gz")) == []
    assert tuple(PACK) == content.COMPRESSED


def test_a_glob_finds_what_is_hidden_if_it_names_it(tmp_path: Path) -> None:
    for name in (".hidden/a.txt", ".hidden/.b.txt", ".hidden/deep/.er/c.txt", "d/e.txt"):
        path = tmp_path / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text("One.")

    def found(data: str) -> list[str]:
        return [str(path.relative_to(tmp_path)) for path in story_files(str(tmp_path / data))]

    assert found(".hidden/*.txt") == found(".hidden/**/*.txt") == found(".hidden")
    assert found(".hidden") == found(".h*/*.txt") == [".hidden/a.txt"]
    assert found(".hidden/.*.txt") == [".hidden/.b.txt"]
    assert found("") == found("**/*.txt") == ["d/e.txt"]


def test_many_files_are_told_apart_in_little_time(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for number in range(300):
        (tmp_path / f"{number}.txt").touch()
    hashed = 0

    def count(path: Path) -> int:
        nonlocal hashed
        hashed += 1
        return hash(str(path))

    monkeypatch.setattr(PurePath, "__hash__", count)
    assert len(story_files(str(tmp_path))) == 300
    assert hashed < 3000


def test_a_damaged_page_ends_what_can_be_read(tmp_path: Path) -> None:
    path = tmp_path / "s.parquet"
    write_parquet(path, {"text": STORIES}, row_group_size=100, use_dictionary=False)
    place = pq.read_metadata(path).row_group(1).column(0).data_page_offset
    damaged = bytearray(path.read_bytes())
    damaged[place : place + 40] = b"\xff" * 40
    path.write_bytes(damaged)
    with pytest.raises(DataError, match=r"get it again, or use what could be .*--on-error skip"):
        list(read_stories(path))
    problems = Problems(skip=True)
    chunks = StoryFile(path).chunks((), problems)
    assert [one for chunk in chunks for one in chunk.stories] == STORIES[:100]
    assert problems.summary().startswith(f"the rest of {path} after story 100 was left out")


def test_a_failing_disk_is_no_damaged_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "s.parquet"
    write_parquet(path, {"text": STORIES})

    def fail(*_: object, **__: object) -> None:
        raise OSError(errno.EIO, "Input/output error")

    monkeypatch.setattr(pq.ParquetFile, "iter_batches", fail)
    with pytest.raises(DataError, match=r"s\.parquet: cannot be read \(Input/output error\)"):
        list(StoryFile(path).chunks((), Problems(skip=True)))
