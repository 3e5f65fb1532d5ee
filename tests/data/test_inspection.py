from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from mlx_rev.data import inspection
from mlx_rev.data.inspection import examples, find_shards, find_tokenizer, inspect
from mlx_rev.data.shard_set import ShardSet, shard_path, write_done
from mlx_rev.data.shards import Shard, divided, open_shard, write_shard
from mlx_rev.errors import DataError
from mlx_rev.text.codec import StoryCodec
from mlx_rev.text.order import WORD

Write = Callable[[Path, list[str]], ShardSet]


@pytest.fixture
def codec(codecs: dict[object, StoryCodec]) -> StoryCodec:
    return codecs[WORD]


@pytest.fixture
def write(codec: StoryCodec) -> Write:
    """Write a shard of stories, each of so many bytes as it has."""

    def written(path: Path, stories: list[str]) -> ShardSet:
        sizes = (len(story.encode()) for story in stories)
        write_shard(
            path,
            zip(codec.encode_batch(stories), sizes, strict=True),
            vocab_size=codec.tokenizer.vocab_size,
            order=codec.order.name,
            tokenizer_fingerprint=codec.tokenizer.fingerprint,
            corpus_fingerprint="ab" * 32,
        )
        return ShardSet((open_shard(path),))

    return written


def test_what_is_in_shards_is_counted(
    write: Write, codec: StoryCodec, some_stories: list[str], tmp_path: Path
) -> None:
    stories = some_stories[:50]
    parts = [
        write(tmp_path / f"{n}.bin", part) for n, part in enumerate([stories[:9], stories[9:]])
    ]
    shards = ShardSet(tuple(shard for part in parts for shard in part.shards))
    told: list[float] = []
    found = inspect(shards, codec, told.append)
    ids = codec.encode_batch(stories)
    assert (found.shards, found.stories, found.without_checksum) == (2, 50, 0)
    assert found.tokens == sum(map(len, ids)) + 50 + 2
    assert found.text_bytes == sum(len(story.encode()) for story in stories)
    words = sum(len(story.split()) for story in stories)
    assert found.tokens_per_word == pytest.approx(sum(map(len, ids)) / words)
    assert inspect(shards).tokens_per_word is None
    assert told == sorted(told)
    assert told[-1] == 1
    lengths = np.array([len(own) + 1 for own in ids])
    assert found.lengths.longest == lengths.max()
    assert found.lengths.median == np.sort(lengths)[24]
    edges = np.arange(len(found.lengths.counts) + 1) * found.lengths.width
    expected = [
        int(((lengths > low) & (lengths <= high)).sum())
        for low, high in zip(edges[:-1], [*edges[1:-1], np.inf], strict=True)
    ]
    assert list(found.lengths.counts) == expected
    assert sum(expected) == 50


def test_a_file_that_is_read_in_parts_is_one_and_is_verified_once(
    write: Write, some_stories: list[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    [shard] = write(tmp_path / "1.bin", some_stories[:20]).shards
    parts = ShardSet(divided(shard, 1000))
    opened: list[Path] = []

    def verified(path: Path, *, verify: bool) -> Shard:
        opened.append(path)
        return open_shard(path, verify=verify)

    monkeypatch.setattr(inspection, "open_shard", verified)
    assert len(parts.shards) > 3
    found = inspect(parts)
    assert (found.shards, found.stories, found.without_checksum) == (1, 20, 0)
    assert opened == [tmp_path / "1.bin"]


def test_a_few_long_stories_are_counted_in_the_last_bin(write: Write, tmp_path: Path) -> None:
    shards = write(tmp_path / "s.bin", ["a b"] * 300 + ["a b " * 500])
    lengths = inspect(shards).lengths
    assert len(lengths.counts) <= 21
    assert lengths.counts[-1] == 1
    assert lengths.longest > 500 > lengths.width * len(lengths.counts)


def test_a_damaged_shard_is_named(write: Write, tmp_path: Path) -> None:
    write(tmp_path / "s.bin", ["a b c"] * 9)
    content = bytearray((tmp_path / "s.bin").read_bytes())
    content[-5] ^= 1
    (tmp_path / "s.bin").write_bytes(content)
    [shards] = find_shards(tmp_path / "s.bin").values()
    with pytest.raises(DataError, match=r"s\.bin: its checksum does not match"):
        inspect(shards)


def test_shards_from_before_checksums_are_said_to_have_none(write: Write, tmp_path: Path) -> None:
    write(tmp_path / "s.bin", ["a b c"] * 9)
    content = bytearray((tmp_path / "s.bin").read_bytes())
    content[112:128] = bytes(16)
    (tmp_path / "s.bin").write_bytes(content)
    [shards] = find_shards(tmp_path / "s.bin").values()
    assert inspect(shards).without_checksum == 1


def test_an_order_that_there_is_not_is_damage(write: Write, tmp_path: Path) -> None:
    write(tmp_path / "s.bin", ["a b c"] * 9)
    content = bytearray((tmp_path / "s.bin").read_bytes())
    content[24] ^= 1
    (tmp_path / "s.bin").write_bytes(content)
    with pytest.raises(DataError, match=r"s\.bin: its order is 'vord', expected word2, "):
        find_shards(tmp_path / "s.bin")


def test_shards_are_found_in_every_kind_of_folder(write: Write, tmp_path: Path) -> None:
    write(tmp_path / "old" / "train.bin", ["a"])
    write(tmp_path / "old" / "valid.bin", ["a", "b"])
    for part in ("train", "valid"):
        path = shard_path(tmp_path / "new" / part, 0)
        write_done(path.parent, write(path, ["a"] * len(part)))
    assert list(find_shards(tmp_path / "old" / "train.bin")) == ["train"]
    found = {name: len(own.lengths) for name, own in find_shards(tmp_path / "old").items()}
    assert found == {"train": 1, "valid": 2}
    assert list(find_shards(tmp_path / "new")) == ["train", "valid"]
    assert list(find_shards(tmp_path / "new" / "valid")) == ["valid"]
    (tmp_path / "new" / "train" / "done.json").unlink()
    assert list(find_shards(tmp_path / "new")) == ["valid"]
    with pytest.raises(DataError, match=r"train: has no config\.toml, done\.json or train\.bin"):
        find_shards(tmp_path / "new" / "train")
    with pytest.raises(DataError, match="nowhere: is not there; expected a training run"):
        find_shards(tmp_path / "nowhere")


def test_the_tokenizer_is_found_by_its_fingerprint(
    write: Write, codec: StoryCodec, codecs: dict[object, StoryCodec], tmp_path: Path
) -> None:
    shards, kept = write(tmp_path / "s.bin", ["a"]), tmp_path / "tokenizers"
    assert find_tokenizer(shards, kept) is None
    for name, own in enumerate(codecs.values()):
        own.tokenizer.save(kept / f"{name}.model")
    (kept / "damaged.model").write_bytes(b"no tokenizer")
    found = find_tokenizer(shards, kept)
    assert found is not None
    assert found.fingerprint == codec.tokenizer.fingerprint


def test_examples_are_spread_over_the_stories(
    write: Write, codec: StoryCodec, some_stories: list[str], tmp_path: Path
) -> None:
    stories = some_stories[:9]
    shards = write(tmp_path / "s.bin", stories)
    found = examples(shards, codec, 3)
    assert [story.text for story in found] == [stories[0], stories[4], stories[8]]
    assert "".join(found[0].pieces).split() == WORD.reverse(stories[0]).split()
    assert len(examples(shards, codec, 10**9)) == 9
    assert examples(shards, codec, 0) == []
