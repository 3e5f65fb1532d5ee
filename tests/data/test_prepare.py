import hashlib
from pathlib import Path

import pytest

from mlx_rev.config import DataConfig, ReversalMode
from mlx_rev.data.prepare import prepare
from mlx_rev.errors import DataError

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
