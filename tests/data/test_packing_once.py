"""The rows of runs that earlier versions began stay as they were."""

import hashlib

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from mlx_rev.data.packing import packing_report
from mlx_rev.data.packing_once import pack_once

_CHANCE = np.random.default_rng(3)
_SOME = (
    (64, _CHANCE.integers(3, 90, 400), "9ff52eeeb76695ab"),
    (64, np.full(200, 40), "198346dd1cc35d64"),
    (50, _CHANCE.integers(60, 200, 50), "f7b7df5de6afac47"),
)
"""Context, lengths, and what commit 9aabd3d made of them."""


@pytest.mark.parametrize("case", range(len(_SOME)))
def test_the_same_rows_come_as_ever(case: int) -> None:
    context, lengths, expected = _SOME[case]
    rows = pack_once(lengths, context)
    starts = np.cumsum([0, *lengths])[rows.stories] + rows.offsets
    content = b"".join(part.astype("<i8").tobytes() for part in (rows.first, starts, rows.lengths))
    assert hashlib.sha256(content).hexdigest()[:16] == expected


@given(st.lists(st.integers(1, 90), min_size=8, max_size=60), st.integers(4, 64))
def test_rows_hold_every_target_once(own: list[int], context: int) -> None:
    lengths = np.array(own)
    rows = pack_once(lengths, context)
    covered = np.zeros(sum(own), int)
    starts = np.cumsum([0, *own])[rows.stories] + rows.offsets
    for start, length in zip(starts, rows.lengths, strict=True):
        covered[start : start + length] += 1
    assert (covered == 1).all()
    assert (np.add.reduceat(rows.lengths, rows.first[:-1]) <= context).all()
    report = packing_report(rows, lengths, context)
    assert report.targets == sum(own)
