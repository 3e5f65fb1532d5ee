"""What lies in the cache is taken only where it was made of what it is taken for."""

from dataclasses import replace
from pathlib import Path

import pytest

from mlx_rev.config import DataConfig
from mlx_rev.data.prepare import Prepared, prepare
from mlx_rev.data.shards import open_shard, write_shard
from mlx_rev.errors import DataError, RevError


@pytest.fixture
def config(tmp_path: Path, some_stories: list[str]) -> DataConfig:
    corpus = tmp_path / "stories.txt"
    corpus.write_text("\n<|endoftext|>\n".join(some_stories), encoding="utf-8")
    return DataConfig(data=str(corpus), valid_share=0.1)


def shards(cache: Path) -> list[Path]:
    return sorted((cache / "shards").glob("*/*.bin"))


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
    assert (again.train.tokens == first.train.tokens).all()
    found = open_shard(valid)
    write_shard(
        valid,
        [([5, 6], 3)],
        vocab_size=400,
        reversal=found.reversal,
        tokenizer_fingerprint="ab" * 32,
        corpus_fingerprint=found.corpus_fingerprint,
    )
    expected = found.tokenizer_fingerprint[:12]
    said = rf"{valid.name}: was made with the tokenizer abababababab, here it is {expected}"
    with pytest.raises(DataError, match=said):
        prepare(config, 400, cache)


def test_a_tokenizer_that_is_a_git_lfs_pointer_is_named(tmp_path: Path, config: DataConfig) -> None:
    pointer = tmp_path / "tokenizer.model"
    pointer.write_text("version https://git-lfs.github.com/spec/v1\noid sha256:00\nsize 5\n")
    with pytest.raises(RevError, match="a Git LFS pointer"):
        prepare(replace(config, tokenizer=str(pointer)), 400, tmp_path / "cache")
