"""Shards are the same however they come about, and those that are there are not made again."""

import errno
import os
import shutil
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import accumulate
from pathlib import Path

import pytest

from mlx_rev.data import tokenising, workers
from mlx_rev.data.encoding import Encoder
from mlx_rev.data.reading import Reading
from mlx_rev.data.shard_set import ShardSet, open_shards, shard_path
from mlx_rev.data.shards import write_shard
from mlx_rev.data.sources.chunk import Chunk, State
from mlx_rev.data.sources.part import Part, Stream
from mlx_rev.data.sources.problems import Problems
from mlx_rev.data.tokenising import Direction, make_shards
from mlx_rev.data.workers import Encoders, Worker
from mlx_rev.errors import DataError
from mlx_rev.text.chunk_cache import Encoded
from mlx_rev.text.codec import StoryCodec
from tests.byte_level import byte_level

CORPUS = "ab" * 32


@pytest.fixture(autouse=True)
def small(monkeypatch: pytest.MonkeyPatch) -> None:
    """Shards of a few blocks of a few stories."""
    monkeypatch.setattr(tokenising, "SHARD_BYTES", 3000)
    monkeypatch.setattr(tokenising, "BLOCK_BYTES", 1000)
    monkeypatch.setattr(workers, "ALONE", 2000)


def directions(codec: StoryCodec, cache: Path) -> list[Direction]:
    return [
        Direction(each, CORPUS, cache / str(number)) for number, each in enumerate(codec.directions)
    ]


@dataclass
class File:
    """Stories as a file has them that is read a few at a time, and may break off."""

    stories: Sequence[str]
    breaks_off: int = 10**9
    size: int = 1
    read: int = 0
    """How many stories were read."""

    def chunks(self, start: State, problems: Problems) -> Iterator[Chunk]:
        [first] = start or (0,)
        if first < 0:
            raise OSError(errno.EINVAL, os.strerror(errno.EINVAL))
        for place in range(first, len(self.stories), 7):
            if place >= self.breaks_off:
                raise DataError("the hub broke off")
            some = list(self.stories[place : place + 7])
            self.read += len(some)
            yield Chunk(some, (place + len(some),), 1)
            yield Chunk([], (place + len(some),), 1)


def made(
    codec: StoryCodec, cache: Path, stories: Sequence[str] | File, count: int = 1
) -> list[ShardSet]:
    file = stories if isinstance(stories, File) else File(stories)
    part = Part("file", (Stream(name="file", files=(file,)),))
    with Encoders(codec, count) as encoders:
        reading = Reading(part, lambda share, text_bytes: None)
        return make_shards(directions(codec, cache), "train", reading, encoders)


def content(cache: Path) -> dict[str, bytes]:
    files = [path for path in cache.rglob("*") if path.is_file()]
    return {str(path.relative_to(cache)): path.read_bytes() for path in files}


def test_all_stories_are_there_in_each_direction(
    codec: StoryCodec, tmp_path: Path, some_stories: list[str]
) -> None:
    stories = [*some_stories[:40], "é"]
    for each, shards in zip(codec.directions, made(codec, tmp_path, stories), strict=True):
        assert len(shards.shards) > 3
        assert [story.tolist() for story in shards.stories()] == each.enclosed(stories)
        assert shards.text_bytes.tolist() == [len(story.encode()) for story in stories]
        for shard in shards.shards[:-1]:
            assert 3000 <= shard.text_bytes.sum() < 3000 + max(map(len, stories))


def test_a_shard_is_the_one_that_write_shard_writes(
    codec: StoryCodec, tmp_path: Path, some_stories: list[str]
) -> None:
    [shards, _] = made(codec, tmp_path, some_stories[:4])
    write_shard(
        tmp_path / "one.bin",
        [(codec.encode(story), len(story.encode())) for story in some_stories[:4]],
        vocab_size=400,
        order="word2",
        tokenizer_fingerprint=codec.tokenizer.fingerprint,
        corpus_fingerprint=CORPUS,
    )
    [shard] = shards.shards
    assert shard.path is not None
    assert shard.path.read_bytes() == (tmp_path / "one.bin").read_bytes()


def test_an_old_shard_of_all_stories_is_read_as_new_ones(
    codec: StoryCodec, tmp_path: Path, some_stories: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """So rows that begin with the first shards are those of a cache that is made now."""
    new = made(codec, tmp_path / "new", some_stories[:60])
    with monkeypatch.context() as patch:
        patch.setattr(tokenising, "SHARD_BYTES", 1 << 30)
        made(codec, tmp_path / "old", some_stories[:60])
    for direction, expected in zip(directions(codec, tmp_path / "old"), new, strict=True):
        shard_path(direction.folder / "train", 0).rename(direction.folder / "train.bin")
        shutil.rmtree(direction.folder / "train")
        found = direction.found("train")
        assert found is not None
        for one, other in zip(found.shards, expected.shards, strict=True):
            assert one.tokens.tolist() == other.tokens.tolist()
            assert one.starts.tolist() == other.starts.tolist()


@pytest.mark.process
@pytest.mark.parametrize("kind", ["SentencePiece", "byte-level BPE"])
def test_they_are_the_same_from_any_number_of_workers(
    codec: StoryCodec,
    tmp_path: Path,
    some_stories: list[str],
    kind: str,
    busy_workers: None,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    worked: list[Worker] = []
    receive = Worker.receive

    def noted(self: Worker) -> list[Encoded]:
        worked.append(self)
        return receive(self)

    monkeypatch.setattr(Worker, "receive", noted)
    if kind == "byte-level BPE":
        codec = StoryCodec(byte_level(some_stories[:50], 400, marks_last=True), codec.order)
    stories = [*some_stories[:60], "Ende gut, alles gut: <|endoftext|>"]
    for count in (1, 3):
        made(codec, tmp_path / str(count), stories, count)
    assert content(tmp_path / "1") == content(tmp_path / "3")
    assert len(set(worked)) == 2
    assert len(worked) > 6


def test_what_is_whole_is_kept_whatever_happened(
    codec: StoryCodec, tmp_path: Path, some_stories: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    stories = some_stories[:60]
    made(codec, tmp_path / "whole", stories)
    expected = content(tmp_path / "whole")

    with pytest.raises(DataError, match="broke off"):
        made(codec, tmp_path / "cache", File(stories, breaks_off=45))
    kept = content(tmp_path / "cache")
    kept.pop("0/train/place.json")
    assert len(kept) >= 4
    assert kept.items() < expected.items()
    encoded: list[str] = []
    encode = Encoder.__call__

    def counting(self: Encoder, stories: Sequence[str]) -> list[Encoded]:
        encoded.extend(stories)
        return encode(self, stories)

    monkeypatch.setattr(Encoder, "__call__", counting)
    made(codec, tmp_path / "cache", stories)
    assert content(tmp_path / "cache") == expected
    shards = open_shards(tmp_path / "whole" / "0" / "train").shards
    first = [0, *accumulate(shard.story_count for shard in shards)]
    assert encoded == stories[first[len(kept) // 2] :]


@pytest.mark.parametrize("kept_place", [True, False])
def test_a_run_goes_on_where_the_one_before_had_come_to(
    codec: StoryCodec, tmp_path: Path, some_stories: list[str], kept_place: bool
) -> None:
    stories = some_stories[:60]
    made(codec, tmp_path / "whole", stories)
    with pytest.raises(DataError, match="broke off"):
        made(codec, tmp_path / "cache", File(stories, breaks_off=45))
    if not kept_place:
        (tmp_path / "cache" / "0" / "train" / "place.json").unlink()
    file = File(stories)
    made(codec, tmp_path / "cache", file)
    assert content(tmp_path / "cache") == content(tmp_path / "whole")
    assert file.read < 40 if kept_place else file.read == 60


@pytest.mark.parametrize("count", [1, 14, 60])
def test_a_run_that_had_come_to_the_end_goes_on_there(
    codec: StoryCodec,
    tmp_path: Path,
    some_stories: list[str],
    count: int,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    stories, unlink = some_stories[:count], Path.unlink

    def killed(path: Path, missing_ok: bool = False) -> None:
        if path.name == "place.json":
            raise KeyboardInterrupt
        unlink(path, missing_ok)

    with monkeypatch.context() as patch:
        patch.setattr(Path, "unlink", killed)
        with pytest.raises(KeyboardInterrupt):
            made(codec, tmp_path, stories)
    assert not list(tmp_path.rglob("done.json"))
    file = File(stories)
    made(codec, tmp_path, file)
    assert file.read <= 14
    assert [shards.story_count for shards in made(codec, tmp_path, stories)] == [count, count]
    assert not list(tmp_path.rglob("place.json"))


@pytest.mark.parametrize(
    "place",
    [
        b"",
        b"[]",
        b'{"shards": 2, "position": [0, 7, 7], "stories": 3}',
        b'{"shards": 2, "position": [0, 7, 7], "stories": "x"}',
        b'{"shards": 5, "position": [], "stories": 3}',
        b'{"shards": 2, "position": [], "stories": 999}',
        b'{"shards": 0, "position": [0, 7, 7], "stories": 1}',
        b'{"shards": 2, "position": [0, 7, 7], "stories": -1}',
        b'{"shards": 2, "position": [9, 7, 7], "stories": 0}',
        b'{"shards": 2, "position": [5], "stories": 0}',
        b'{"shards": 2, "position": [0, 7], "stories": 0}',
        b'{"shards": 2, "position": [0, 7, 7, 7, 7, 7], "stories": 0}',
        b'{"shards": 2, "position": [0, 7, -7], "stories": 0}',
        b'{"shards": 2, "position": [-9, 7, 7], "stories": 0}',
        b'{"shards": 2, "position": [0, 7, 1e999], "stories": 0}',
        b'{"shards": 1e999, "position": [0, 7, 7], "stories": 0}',
        b'{"shards": 2, "position": [0, 7, 7], "stories": 99999999999999999999}',
    ],
)
def test_a_place_that_does_not_fit_is_not_believed(
    codec: StoryCodec, tmp_path: Path, some_stories: list[str], place: bytes
) -> None:
    stories = some_stories[:40]
    made(codec, tmp_path / "whole", stories)
    with pytest.raises(DataError, match="broke off"):
        made(codec, tmp_path / "cache", File(stories, breaks_off=20))
    (tmp_path / "cache" / "0" / "train" / "place.json").write_bytes(place)
    made(codec, tmp_path / "cache", stories)
    assert content(tmp_path / "cache") == content(tmp_path / "whole")


def test_a_shard_that_is_damaged_or_missing_in_one_direction_is_made_again(
    codec: StoryCodec, tmp_path: Path, some_stories: list[str]
) -> None:
    stories = some_stories[:40]
    made(codec, tmp_path, stories)
    whole = content(tmp_path)
    backward, forward = directions(codec, tmp_path)
    assert forward.found("train") is not None
    for name, damaged in (("1/train/00001.bin", b"x"), ("0/train/done.json", b"{}")):
        (tmp_path / name).write_bytes(damaged)
        assert (backward, forward)[int(name[0])].found("train") is None
        made(codec, tmp_path, stories)
        assert content(tmp_path) == whole


def test_a_full_disk_leaves_what_is_whole(
    codec: StoryCodec, tmp_path: Path, some_stories: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    stories = some_stories[:40]
    made(codec, tmp_path / "whole", stories)
    replace = os.replace

    def full(source: Path, target: Path) -> None:
        if Path(target).name == "00002.bin":
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        replace(source, target)

    with monkeypatch.context() as patch:
        patch.setattr(os, "replace", full)
        with pytest.raises(OSError, match=r"No space left on device: '.*00002\.bin'"):
            made(codec, tmp_path / "cache", stories)
    left = sorted(name for name in content(tmp_path / "cache") if name.endswith(".bin"))
    assert left == [f"{each}/train/0000{n}.bin" for each in (0, 1) for n in (0, 1)]
    made(codec, tmp_path / "cache", stories)
    assert content(tmp_path / "cache") == content(tmp_path / "whole")


def test_what_was_written_before_there_were_several_shards_is_found(
    codec: StoryCodec, tmp_path: Path
) -> None:
    direction, _ = directions(codec, tmp_path)
    assert direction.found("valid") is None
    write_shard(
        tmp_path / "0" / "valid.bin",
        [([5, 6], 3)],
        vocab_size=400,
        order="word2",
        tokenizer_fingerprint=codec.tokenizer.fingerprint,
        corpus_fingerprint=CORPUS,
    )
    found = direction.found("valid")
    assert found is not None
    assert found.story(0).tolist() == [1, 5, 6, 1]
    (tmp_path / "0" / "valid.bin").write_bytes(b"damaged")
    assert direction.found("valid") is None


def test_no_story_is_an_error(codec: StoryCodec, tmp_path: Path) -> None:
    with pytest.raises(DataError, match="no story"):
        made(codec, tmp_path, [])
