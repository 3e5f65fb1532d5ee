from itertools import permutations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from mlx_rev.data.permutation import Permutation


@given(st.integers(1, 3000), st.integers(0, 1 << 62))
def test_every_number_comes_once(count: int, seed: int) -> None:
    found = Permutation(count, (seed,))(np.arange(count))
    assert found.dtype == np.int64
    assert sorted(found.tolist()) == list(range(count))


def test_a_place_has_its_number_whoever_else_is_asked_for() -> None:
    permutation = Permutation(1000, (1, 2))
    places = np.array([999, 0, 500, 0])
    assert (permutation(places) == permutation(np.arange(1000))[places]).all()


def test_all_orders_of_a_few_numbers_occur() -> None:
    found = {tuple(Permutation(4, (seed,))(np.arange(4)).tolist()) for seed in range(600)}
    assert found == set(permutations(range(4)))


@pytest.mark.parametrize("count", [1000, 4096, 100_003])
def test_where_a_number_goes_says_nothing_of_its_neighbour(count: int) -> None:
    """As many runs up, fixed points and short ways as chance gives, within five deviations."""
    found = Permutation(count, (7, 8))(np.arange(count))
    rises = int((np.diff(found) > 0).sum())
    assert abs(rises - count / 2) < 5 * np.sqrt(count / 12)
    assert (found == np.arange(count)).sum() < 8
    near = int((np.abs(np.diff(found)) < count / 100).sum())
    assert abs(near - 0.0199 * count) < 5 * np.sqrt(0.02 * count)
    correlation = np.corrcoef(np.arange(count), found)[0, 1]
    assert abs(correlation) < 5 / np.sqrt(count)


def test_a_million_million_numbers_need_no_more_than_their_root() -> None:
    count = 10**12
    found = Permutation(count, (5,))(np.array([0, 1, 2, count - 1]))
    assert len(set(found.tolist())) == 4
    assert ((found >= 0) & (found < count)).all()


def test_another_seed_is_another_order() -> None:
    places = np.arange(5000)
    one, other = (Permutation(5000, seed)(places) for seed in ((1, 0), (1, 1)))
    assert (one == other).sum() < 10


def test_the_order_is_the_same_in_every_version() -> None:
    """A run that was begun with it is resumed with it."""
    assert Permutation(10, (1337, 0, 0))(np.arange(10)).tolist() == [9, 0, 5, 6, 8, 2, 3, 1, 4, 7]
