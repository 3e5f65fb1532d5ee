"""Chunks by their bytes, however many there are."""

import numpy as np
from hypothesis import example, given
from hypothesis import strategies as st

from mlx_rev.text.chunk_table import LONGEST, PADDING, ChunkTable, Keys, keys_of

chunks = st.lists(st.binary(max_size=LONGEST + 4), max_size=60)


def keys(chunks: list[bytes]) -> Keys:
    lengths = np.array([len(chunk) for chunk in chunks], np.int64)
    text = b"".join(chunks) + bytes(PADDING)
    return keys_of(text, np.cumsum(lengths) - lengths, lengths)


@given(chunks, chunks)
@example([b"", b"\0", b"\0\0", b"a", b"a\0", b"12345678", b"123456789"], [b"x" * 15, b"x" * 16])
@example([number.to_bytes(2) for number in range(3000)], [])
def test_what_is_found_is_what_was_added(first: list[bytes], second: list[bytes]) -> None:
    """Its own number and no other, also of chunks that differ in trailing zeros only; none of what
    is too long."""
    table, known = ChunkTable(), dict[bytes, int]()
    for some in (first, second, first[::-1]):
        expected = [known.get(chunk, -1) for chunk in some]
        assert table.find(keys(some)).tolist() == expected
        new = [chunk for chunk in dict.fromkeys(some) if chunk not in known]
        short = [chunk for chunk in new if len(chunk) <= LONGEST]
        numbers = np.arange(len(known), len(known) + len(short), dtype=np.int32)
        table.add(keys(short), numbers)
        known.update(zip(short, numbers.tolist(), strict=True))


def test_a_slot_that_many_want() -> None:
    table = ChunkTable()
    table._slots = lambda keys: np.full(len(keys.low), 1022)  # type: ignore[method-assign]
    some = [b"a", b"b", b"c", b"d"]
    table.add(keys(some[:2]), np.array([5, 6], np.int32))
    table.add(keys(some[2:]), np.array([7, 8], np.int32))
    assert table.find(keys([*some, b"e"])).tolist() == [5, 6, 7, 8, -1]
