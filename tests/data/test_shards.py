from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from mlx_rev.data.shards import Shard, check_origin, divided, open_shard, write_shard
from mlx_rev.errors import DataError

SHA, OTHER = "ab" * 32, "cd" * 32
stories = st.lists(
    st.tuples(st.lists(st.integers(3, 299), max_size=20), st.integers(0, 1000)),
    min_size=1,
    max_size=15,
)


def write(path: Path, content: list[tuple[list[int], int]], vocab_size: int = 300) -> Shard:
    write_shard(
        path,
        content,
        vocab_size=vocab_size,
        order="word",
        tokenizer_fingerprint=SHA,
        corpus_fingerprint=OTHER,
    )
    return open_shard(path)


@given(stories, st.integers(1, 3000))
def test_a_shard_is_divided_where_new_ones_would_end(
    tmp_path_factory: pytest.TempPathFactory, content: list, size: int
) -> None:
    shard = write(tmp_path_factory.mktemp("shard") / "s.bin", content)
    parts = divided(shard, size)
    for part in parts:
        assert part.text_bytes[:-1].sum() < size
        assert part.starts[0] == 0
        assert part.starts[-1] == len(part.tokens) - 1
    assert all(part.text_bytes.sum() >= size for part in parts[:-1])
    found = [part.story(number).tolist() for part in parts for number in range(part.story_count)]
    assert found == [[1, *ids, 1] for ids, _ in content]


@given(stories, st.sampled_from([300, 1 << 16, (1 << 16) + 1]))
def test_what_is_written_comes_back(
    tmp_path_factory: pytest.TempPathFactory, content: list, vocab_size: int
) -> None:
    shard = write(tmp_path_factory.mktemp("shard") / "s.bin", content, vocab_size)
    assert (shard.vocab_size, shard.order) == (vocab_size, "word")
    assert (shard.tokenizer_fingerprint, shard.corpus_fingerprint) == (SHA, OTHER)
    assert shard.tokens.dtype == (np.uint16 if vocab_size <= 1 << 16 else np.uint32)
    assert shard.story_count == len(content)
    assert shard.text_bytes.tolist() == [size for _, size in content]
    for index, (ids, _) in enumerate(content):
        assert shard.story(index).tolist() == [1, *ids, 1]
    assert len(shard.tokens) == sum(len(ids) + 1 for ids, _ in content) + 1


@given(cut=st.integers(0, 400))
def test_a_shard_cut_short_is_refused(tmp_path_factory: pytest.TempPathFactory, cut: int) -> None:
    path = tmp_path_factory.mktemp("shard") / "s.bin"
    write(path, [([5, 6, 7], 9)] * 30)
    content = path.read_bytes()
    path.write_bytes(content[: min(cut, len(content) - 1)])
    with pytest.raises(DataError, match=r"s\.bin"):
        open_shard(path)


def test_any_flipped_bit_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "s.bin"
    write(path, [([5, 6, 7], 9)] * 6)
    content = path.read_bytes()
    for place in range(8 * len(content)):
        flipped = bytearray(content)
        flipped[place // 8] ^= 1 << place % 8
        path.write_bytes(flipped)
        with pytest.raises(DataError, match=r"s\.bin"):
            open_shard(path)


def without_checksum(path: Path) -> bytes:
    """A shard's content as versions wrote it that knew no checksum."""
    content = bytearray(path.read_bytes())
    content[112:128] = bytes(16)
    return bytes(content)


@given(place=st.integers(0, 600), bit=st.integers(0, 7))
def test_without_a_checksum_a_flipped_bit_is_refused_or_leaves_the_number_of_targets(
    tmp_path_factory: pytest.TempPathFactory, place: int, bit: int
) -> None:
    path = tmp_path_factory.mktemp("shard") / "s.bin"
    write(path, [([5, 6, 7], 9)] * 30)
    content = bytearray(without_checksum(path))
    content[place] ^= 1 << bit
    path.write_bytes(content)
    try:
        shard = open_shard(path)
    except DataError:
        return
    assert sum(len(shard.story(index)) - 1 for index in range(shard.story_count)) == 120


def test_a_shard_without_a_checksum_is_read(tmp_path: Path) -> None:
    path = tmp_path / "s.bin"
    shard = write(path, [([5, 6, 7], 9), ([8], 2)])
    path.write_bytes(without_checksum(path))
    assert open_shard(path).tokens.tolist() == shard.tokens.tolist()


def test_no_story_makes_no_shard(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="no story"):
        write(tmp_path / "s.bin", [])
    assert list(tmp_path.iterdir()) == []


def test_a_story_that_cannot_be_made_leaves_no_file(tmp_path: Path) -> None:
    def failing() -> object:
        yield [5], 1
        raise DataError("the source broke")

    with pytest.raises(DataError, match="broke"):
        write(tmp_path / "s.bin", failing())
    assert list(tmp_path.iterdir()) == []


def test_ids_beyond_the_vocabulary_are_refused(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"s\.bin: has token 300 in a vocabulary of 300"):
        write(tmp_path / "s.bin", [([5, 300], 9)])


@pytest.mark.parametrize(
    ("name", "value", "said"),
    [
        ("tokenizer_fingerprint", "ef" * 32, "the tokenizer abababababab, expected efefefefefef"),
        ("corpus_fingerprint", "ef" * 32, "the corpus cdcdcdcdcdcd, expected efefefefefef"),
        ("order", "token", "the order word, expected token"),
        ("vocab_size", 301, "the vocabulary 300, expected 301"),
    ],
)
def test_a_shard_of_something_else_is_refused_by_what_differs(
    tmp_path: Path, name: str, value: object, said: str
) -> None:
    path = tmp_path / "s.bin"
    shard = write(path, [([5, 6], 9)])
    made_of: dict = {
        "vocab_size": 300,
        "order": "word",
        "tokenizer_fingerprint": SHA,
        "corpus_fingerprint": OTHER,
    }
    check_origin(path, shard, **made_of)
    with pytest.raises(DataError, match=said):
        check_origin(path, shard, **made_of | {name: value})
