"""What is prepared of a corpus, and what in the cache is taken for it."""

import hashlib
import json
from dataclasses import replace
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from mlx_rev.config import DataConfig, ReversalMode
from mlx_rev.data.prepare import Prepared, prepare
from mlx_rev.data.shard_set import ShardSet
from mlx_rev.data.shards import open_shard, write_shard
from mlx_rev.errors import ConfigError, DataError, RevError
from mlx_rev.text.byte_level import ByteLevel
from mlx_rev.text.byte_level_vocabulary import BYTES
from tests.byte_level import byte_level

STORY = "Le petit e\u0301le\u0300ve re\u0302vait. Tom was number {}."


@pytest.fixture
def corpus(tmp_path: Path) -> Path:
    path = tmp_path / "stories.txt"
    stories = [STORY.format(number) for number in range(300)]
    path.write_text("\n<|endoftext|>\n".join(stories), encoding="utf-8")
    return path


@pytest.mark.parametrize("name", ["word2", "word"])
def test_a_shard_says_which_pattern_it_was_made_with(
    corpus: Path, tmp_path: Path, name: ReversalMode
) -> None:
    config = DataConfig(data=str(corpus), reversal=name)
    prepared = prepare(config, 300, tmp_path / "cache")
    assert (prepared.train.order, prepared.codec.order.name) == (name, name)
    assert prepared.codec.decode(prepared.train.story(0)[1:-1].tolist()).startswith(
        "Le petit e\u0301"
    )


def test_what_is_new_keeps_marks_and_what_was_learnt_before_is_found(
    corpus: Path, tmp_path: Path
) -> None:
    new = prepare(DataConfig(data=str(corpus)), 300, tmp_path / "cache")
    assert new.train.order == "word2"
    old = prepare(DataConfig(data=str(corpus), reversal="word"), 300, tmp_path / "cache")
    assert old.corpus_fingerprint != new.corpus_fingerprint
    # Where a vocabulary of the article's order has always been kept.
    parts = (old.train.corpus_fingerprint, "reversed", "300")
    key = hashlib.sha256("\0".join(parts).encode()).hexdigest()
    assert (tmp_path / "cache" / "tokenizers" / f"{key[:32]}.model").exists()


def test_what_cannot_be_learnt_from_is_counted_in_the_story(tmp_path: Path) -> None:
    path = tmp_path / "stories.txt"
    path.write_text("\n<|endoftext|>\n".join(["One da▁y. The end."] * 50), encoding="utf-8")
    with pytest.raises(DataError, match="at character 7;"):
        prepare(DataConfig(data=str(path)), 300, tmp_path / "cache")


def written(path: Path, stories: list[str]) -> Path:
    """A file of stories, of the kind that its name says."""
    if path.suffix == ".parquet":
        pq.write_table(pa.table({"text": stories}), path)
    elif path.suffix == ".json":
        path.write_text(json.dumps([{"text": story} for story in stories]))
    else:
        path.write_text("\n<|endoftext|>\n".join(stories), encoding="utf-8")
    return path


@pytest.mark.parametrize("suffix", [".txt", ".json", ".parquet"])
def test_what_a_story_may_hold_is_for_the_given_tokenizer_to_say(
    tmp_path: Path, suffix: str
) -> None:
    stories = [f"Tom ran {number}." for number in range(40)]
    whole = byte_level(stories, 300)
    pieces = [BYTES[4] * 2 if piece == BYTES[4] else piece for piece in whole.vocabulary.pieces]
    partly = ByteLevel(replace(whole.vocabulary, pieces=tuple(pieces)))
    marked = written(tmp_path / f"marked{suffix}", [*stories, "A block ▁ one."])
    bad = written(tmp_path / f"bad{suffix}", [*stories[:30], "Bad \x04 one.", *stories[30:]])

    def prepared(path: Path, tokenizer: ByteLevel, **options: object) -> Prepared:
        tokenizer.save(tmp_path / "tokenizer.json")
        options = {"tokenizer": str(tmp_path / "tokenizer.json"), "valid_share": 0.1, **options}
        data = DataConfig(**{"data": str(path), **options})
        return prepare(data, tokenizer.vocab_size, tmp_path / "cache", workers=1)

    def count(found: Prepared) -> int:
        return found.train.story_count + found.valid.story_count

    assert count(prepared(marked, whole)) == count(prepared(bad, whole)) == 41
    assert count(prepared(marked, partly)) == 41
    with pytest.raises(DataError, match=rf"bad{suffix}: story 31: the text has U\+0004 at char"):
        prepared(bad, partly)
    found = prepared(bad, partly, on_error="skip")
    assert count(found) == 40
    assert found.left_out.startswith("1 story was left out")


def test_duplicates_are_numbered_by_what_the_tokenizer_takes(tmp_path: Path) -> None:
    stories = [f"Tom ran {number}." for number in range(40)]
    path = written(tmp_path / "s.txt", ["▁", *stories, *stories[:20]])
    tokens = byte_level(stories, 300)
    tokens.save(tmp_path / "tokenizer.json")
    options = DataConfig(data=str(path), on_error="skip", deduplicate=True, valid_share=0.1)
    given = str(tmp_path / "tokenizer.json")
    for tokenizer, size, expected in ((None, 280, 40), (given, tokens.vocab_size, 41)):
        data = replace(options, tokenizer=tokenizer)
        found = prepare(data, size, tmp_path / "cache", workers=1)
        assert found.train.story_count + found.valid.story_count == expected
        told = [found.codec.decode(one) for part in (found.train, found.valid) for one in ids(part)]
        assert len(set(told)) == expected


def ids(part: ShardSet) -> list[list[int]]:
    return [part.story(number)[1:-1].tolist() for number in range(part.story_count)]


@pytest.fixture
def config(tmp_path: Path, some_stories: list[str]) -> DataConfig:
    corpus = tmp_path / "stories.txt"
    corpus.write_text("\n<|endoftext|>\n".join(some_stories), encoding="utf-8")
    return DataConfig(data=str(corpus), valid_share=0.1)


def shards(cache: Path) -> list[Path]:
    return sorted((cache / "shards").glob("*/*/*.bin"))


def test_shards_of_another_tokenizer_are_refused_and_damaged_ones_made_again(
    tmp_path: Path, config: DataConfig
) -> None:
    cache = tmp_path / "cache"
    first: Prepared = prepare(config, 400, cache)
    train, valid = shards(cache)
    kept = train.read_bytes()
    train.write_bytes(kept[:-1])
    again = prepare(config, 400, cache)
    assert train.read_bytes() == kept
    for one, other in zip(again.train.stories(), first.train.stories(), strict=True):
        assert (one == other).all()
    found = open_shard(valid)
    write_shard(
        valid,
        [([5, 6], 3)],
        vocab_size=400,
        order=found.order,
        tokenizer_fingerprint="ab" * 32,
        corpus_fingerprint=found.corpus_fingerprint,
    )
    expected = found.tokenizer_fingerprint[:12]
    said = rf"{valid.name}: was made with the tokenizer abababababab, expected {expected}"
    with pytest.raises(DataError, match=said):
        prepare(config, 400, cache)


def test_a_tokenizer_that_is_a_git_lfs_pointer_is_named(tmp_path: Path, config: DataConfig) -> None:
    pointer = tmp_path / "tokenizer.model"
    pointer.write_text("version https://git-lfs.github.com/spec/v1\noid sha256:00\nsize 5\n")
    with pytest.raises(RevError, match="a Git LFS pointer"):
        prepare(replace(config, tokenizer=str(pointer)), 400, tmp_path / "cache")


def test_one_mark_for_both_ends_cannot_tell_two_directions_apart(
    corpus: Path, tmp_path: Path
) -> None:
    vocabulary = byte_level([STORY], 280).vocabulary
    path = tmp_path / "tokenizer.json"
    ByteLevel(replace(vocabulary, forward_boundary=vocabulary.boundary)).save(path)
    config = DataConfig(data=str(corpus), tokenizer=str(path), reversal="token,none")
    with pytest.raises(ConfigError, match="nothing would tell the directions apart"):
        prepare(config, len(vocabulary.pieces), tmp_path / "cache")
