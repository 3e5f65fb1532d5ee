import json
from pathlib import Path

import numpy as np
import pytest

from mlx_rev.data.shard_set import ShardSet, open_shards, shard_path, write_done
from mlx_rev.data.shards import Shard, open_shard, write_shard
from mlx_rev.errors import DataError

SHA, OTHER = "ab" * 32, "cd" * 32
STORIES = [([number, *range(3, 3 + number % 5)], number) for number in range(10, 17)]


def write(path: Path, content: list, *, order: str = "word", corpus: str = OTHER) -> Shard:
    write_shard(
        path,
        content,
        vocab_size=300,
        order=order,
        tokenizer_fingerprint=SHA,
        corpus_fingerprint=corpus,
    )
    return open_shard(path)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Seven stories in shards of three, one and three."""
    parts = [STORIES[:3], STORIES[3:4], STORIES[4:]]
    shards = [write(shard_path(tmp_path, number), part) for number, part in enumerate(parts)]
    write_done(tmp_path, ShardSet(tuple(shards)))
    return tmp_path


def test_shards_are_read_as_one(folder: Path, tmp_path: Path) -> None:
    together, one = open_shards(folder), ShardSet((write(tmp_path / "one.bin", STORIES),))
    assert (together.story_count, len(together.shards)) == (7, 3)
    assert together.token_count == one.token_count + 2  # each shard begins with a boundary
    for shards in (together, one):
        assert [shards.story(index).tolist() for index in range(7)] == [
            [1, *ids, 1] for ids, _ in STORIES
        ]
        assert [ids.tolist() for ids in shards.stories()] == [[1, *ids, 1] for ids, _ in STORIES]
        assert shards.lengths.tolist() == [len(ids) + 1 for ids, _ in STORIES]
        assert shards.text_bytes.tolist() == [size for _, size in STORIES]
        assert (shards.order, shards.vocab_size) == ("word", 300)
        assert (shards.tokenizer_fingerprint, shards.corpus_fingerprint) == (SHA, OTHER)


def test_a_folder_without_done_is_not_whole(folder: Path) -> None:
    (folder / "done.json").unlink()
    with pytest.raises(DataError, match=r"done\.json: cannot be read"):
        open_shards(folder)


@pytest.mark.parametrize(
    ("name", "value", "said"),
    [
        ("shards", 2, "says stories 7, the shards have 4"),
        ("shards", 4, r"00003\.bin: missing; done\.json says that it is there"),
        ("shards", 0, "shards is 0, expected 1 to"),
        ("shards", True, "damaged, expected shards"),
        ("stories", 8, "says stories 8, the shards have 7"),
        ("tokens", 1, "says tokens 1, the shards have"),
        ("tokens", "1", "damaged, expected shards"),
        ("corpus", SHA, "says corpus abababababab, the shards have cdcdcdcdcdcd"),
    ],
)
def test_what_done_says_is_compared(folder: Path, name: str, value: object, said: str) -> None:
    done = folder / "done.json"
    done.write_text(json.dumps(json.loads(done.read_text()) | {name: value}))
    with pytest.raises(DataError, match=said):
        open_shards(folder)


@pytest.mark.parametrize("content", [b"", b"[]", b"{", b"\xff", b"[" * 100_000])
def test_a_damaged_done_is_said_to_be_one(folder: Path, content: bytes) -> None:
    (folder / "done.json").write_bytes(content)
    with pytest.raises(DataError, match=r"done\.json"):
        open_shards(folder)


def test_shards_of_different_origin_are_refused(folder: Path) -> None:
    write(shard_path(folder, 1), STORIES[3:4], order="token")
    with pytest.raises(DataError, match=r"differ in order \(token and word\)"):
        open_shards(folder)
    write(shard_path(folder, 1), STORIES[3:4], corpus=SHA)
    with pytest.raises(DataError, match="differ in corpus_fingerprint"):
        open_shards(folder)


def test_checksums_are_verified_where_that_is_asked_for_or_quick(folder: Path) -> None:
    path = shard_path(folder, 2)
    content = bytearray(path.read_bytes())
    content[-4] ^= 1  # an id
    path.write_bytes(content)
    for verify in (None, True):
        with pytest.raises(DataError, match=r"00002\.bin: its checksum"):
            open_shards(folder, verify=verify)
    assert open_shards(folder, verify=False).story_count == 7
    path.write_bytes(content[:-2])
    with pytest.raises(DataError, match=r"00002\.bin: has \d+ bytes, its header says"):
        open_shards(folder, verify=False)
    header = bytearray(content)
    header[128 + 8] = 255  # a position
    path.write_bytes(header)
    with pytest.raises(DataError, match=r"00002\.bin: its story positions"):
        open_shards(folder, verify=False)


def test_no_shards_are_refused() -> None:
    with pytest.raises(DataError, match="no token shard"):
        ShardSet(())


def test_lengths_are_small_numbers(folder: Path) -> None:
    """Four bytes a story, as there are millions."""
    assert open_shards(folder).lengths.dtype == np.int32
