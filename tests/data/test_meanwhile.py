"""Shards that a process makes while what is there is read."""

import time
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import pytest

from mlx_rev.config import DataConfig
from mlx_rev.data import child, tokenising
from mlx_rev.data.meanwhile import Meanwhile
from mlx_rev.data.prepare import Prepared, prepare
from mlx_rev.data.shard_set import ShardSet, shard_path
from mlx_rev.errors import DataError
from mlx_rev.text.sentencepiece import SentencePiece


@pytest.fixture
def config(tmp_path: Path, some_stories: list[str]) -> DataConfig:
    for name, stories in (("stories", some_stories[:120]), ("valid", some_stories[120:140])):
        (tmp_path / f"{name}.txt").write_text("\n<|endoftext|>\n".join(stories), encoding="utf-8")
    return DataConfig(data=str(tmp_path / "stories.txt"), valid=str(tmp_path / "valid.txt"))


@pytest.fixture
def begun(config: DataConfig, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Prepared:
    """The first of several shards."""
    with monkeypatch.context() as patch:
        patch.setattr(tokenising, "SHARD_BYTES", 30_000)
        return prepare(config, 400, tmp_path / "cache", first_only=True)


def asked(others: Meanwhile, number: int) -> Sequence[ShardSet]:
    begin = time.monotonic()
    while (found := others.more(number)) is None:
        assert time.monotonic() - begin < 60
        time.sleep(0.05)
    return found


def test_only_the_first_shard_is_made_and_then_the_others(
    config: DataConfig, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(tokenising, "SHARD_BYTES", 30_000)
    begun = prepare(config, 400, tmp_path / "cache", first_only=True)
    assert not begun.whole
    assert (len(begun.train.shards), begun.valid.story_count) == (1, 20)
    again = prepare(config, 400, tmp_path / "cache", first_only=True)
    assert not again.whole
    assert again.train.story_count == begun.train.story_count
    whole = prepare(config, 400, tmp_path / "cache")
    assert whole.whole
    assert whole.train.story_count == 120
    assert len(whole.train.shards) > 2
    assert prepare(config, 400, tmp_path / "cache", first_only=True).whole
    elsewhere = prepare(config, 400, tmp_path / "elsewhere")
    for one, other in zip(whole.train.shards, elsewhere.train.shards, strict=True):
        assert (one.tokens == other.tokens).all()


def test_what_is_one_shard_is_whole(config: DataConfig, tmp_path: Path) -> None:
    assert prepare(config, 400, tmp_path / "cache", first_only=True).whole


@pytest.mark.process
def test_a_process_makes_the_rest(config: DataConfig, tmp_path: Path, begun: Prepared) -> None:
    """All of it in one, as its shards have 64 MB; one that is there and damaged is made again."""
    [first] = begun.train.shards
    assert first.path is not None
    shard_path(first.path.parent, 1).write_bytes(first.path.read_bytes()[:-4] + b"many")
    with Meanwhile(begun, config, 400, tmp_path / "cache") as others:
        [second] = asked(others, 1)
        assert second.story_count == 120 - begun.train.story_count
        assert asked(others, 2) == []
        assert others._process.wait(20) == 0
    assert prepare(config, 400, tmp_path / "cache").train.story_count == 120


@pytest.mark.process
def test_what_it_leaves_out_is_said(
    config: DataConfig, tmp_path: Path, some_stories: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Each story that is left out counts once, by whoever makes the shard it would be in: a given
    tokenizer is tried on the first stories, which is no reason to count them."""
    bad, mark = b"\n<|endoftext|>\nab\xffc\n<|endoftext|>\n", "\n<|endoftext|>\n"
    some = mark.join(some_stories[:120]).encode()
    # The first shard ends amid those, and more than a block of the file, 256 KB, from both ends.
    many = mark.encode().join([some] * ((600 << 10) // len(some) + 1))
    text = bad.join([b"", some, some, many, some])
    Path(config.data).write_bytes(text)
    config = replace(config, on_error="skip", tokenizer=str(tmp_path / "t.model"))
    SentencePiece.train(some_stories, 400).save(tmp_path / "t.model")
    said: list[str] = []
    with monkeypatch.context() as patch:
        patch.setattr(tokenising, "SHARD_BYTES", 2 * len(some) + (300 << 10))
        begun = prepare(config, 400, tmp_path / "cache", warn=said.append, first_only=True)
        assert "3 stories were left out (--on-error skip), the first" in said[-1]
    with Meanwhile(begun, config, 400, tmp_path / "cache") as others:
        assert others.left_out == ""
        asked(others, 1)
        assert asked(others, 2) == []
        assert "1 story was left out (--on-error skip), because of" in others.left_out
        line = text[: text.rindex(b"ab\xff")].count(b"\n") + 1
        assert f"line {line:,}" in others.left_out
    said.clear()
    assert prepare(config, 400, tmp_path / "cache", warn=said.append).left_out == ""
    assert said == []
    # Where nobody is told how it went, as here, it is not tried.
    monkeypatch.setattr("mlx_rev.data.prepare.loss_of", None)
    prepare(config, 400, tmp_path / "cache")


@pytest.mark.process
def test_why_there_are_no_more_is_said(config: DataConfig, tmp_path: Path, begun: Prepared) -> None:
    missing = replace(config, data=str(tmp_path / "missing.txt"))
    other = replace(config, min_chars=300)
    for given, said in (
        (missing, r"missing\.txt"),
        (other, "the stories changed while they were made into token shards"),
    ):
        others = Meanwhile(begun, given, 400, tmp_path / "cache")
        with others, pytest.raises(DataError, match=said):
            asked(others, 1)


@pytest.mark.process
def test_a_process_that_is_killed_is_said_and_one_that_is_left_ends(
    config: DataConfig, tmp_path: Path, begun: Prepared, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(child, "PATIENCE", 60)
    with Meanwhile(begun, config, 400, tmp_path / "cache") as others:
        others._process.kill()
        others._process.wait()
        with pytest.raises(DataError, match="ended with exit code -9"):
            others.more(1)
    with Meanwhile(begun, config, 400, tmp_path / "cache") as others:
        pass
    assert others._process.returncode == 0
