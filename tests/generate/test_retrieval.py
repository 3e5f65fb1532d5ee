import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from mlx_rev.generate import bootstrap, retrieval


def by_definition(nats: np.ndarray, body: int, ending: int) -> float:
    others = [k for k in range(len(nats)) if k not in (body, ending)]
    return -nats[body, ending] - np.log(np.mean([np.exp(-nats[k, ending]) for k in others]))


@given(st.integers(3, 7), st.integers(0, 1000))
def test_scores_are_those_of_the_formula(count: int, seed: int) -> None:
    nats = np.random.default_rng(seed).normal(30, 8, (count, count))
    scored = retrieval.scores(nats)
    expected = [[by_definition(nats, i, j) for j in range(count)] for i in range(count)]
    assert scored == pytest.approx(np.array(expected), abs=1e-9)


@given(st.integers(0, 1000))
def test_an_ending_that_is_likely_anywhere_is_at_no_advantage(seed: int) -> None:
    random = np.random.default_rng(seed)
    nats = random.normal(30, 3, (6, 6))
    common = nats + random.normal(0, 50, 6)[None]
    assert retrieval.scores(common) == pytest.approx(retrieval.scores(nats), abs=1e-6)
    assert (
        retrieval.ranks(retrieval.scores(common)) == retrieval.ranks(retrieval.scores(nats))
    ).all()


def test_nothing_is_lost_where_likelihoods_are_far_apart() -> None:
    nats = np.full((5, 5), 900.0) + np.arange(5)
    np.fill_diagonal(nats, 1.0)
    scored = retrieval.scores(nats)
    assert np.isfinite(scored).all()
    assert retrieval.ranks(scored).tolist() == [1] * 5


def test_equals_come_first_so_that_a_judge_that_knows_nothing_finds_nothing() -> None:
    assert retrieval.ranks(np.zeros((4, 4))).tolist() == [4] * 4
    scored = np.array([[3.0, 1, 2], [9, 5, 1], [1, 1, 0]])
    assert retrieval.ranks(scored).tolist() == [1, 2, 3]


@given(st.integers(2, 40), st.integers(0, 100))
def test_every_story_gets_the_ending_of_another(count: int, seed: int) -> None:
    others = retrieval.dealt_out(count, seed)
    assert sorted(others) == list(range(count))
    assert (others != np.arange(count)).all()
    assert (others == retrieval.dealt_out(count, seed)).all()


def test_an_interval_covers_the_mean_as_often_as_it_says() -> None:
    random, inside = np.random.default_rng(1), 0
    for _ in range(200):
        values = random.exponential(2.0, 60)
        drawn = bootstrap.resamples(60, 0)[:400]
        found = bootstrap.estimate(values, np.ones(60), drawn)
        assert found.low <= found.mean <= found.high
        inside += found.low <= 2.0 <= found.high
    assert 175 <= inside <= 199


def test_an_estimate_is_weighted_and_of_the_seed() -> None:
    values, weights = np.array([1.0, 2.0, 6.0]), np.array([1.0, 1.0, 2.0])
    drawn = bootstrap.resamples(3, 5)
    found = bootstrap.estimate(values, weights, drawn)
    assert found.mean == pytest.approx(15 / 4)
    assert found == bootstrap.estimate(values, weights, bootstrap.resamples(3, 5))
    assert (drawn != bootstrap.resamples(3, 6)).any()
    same = bootstrap.estimate(np.full(3, 2.0), weights, drawn)
    assert (same.mean, same.low, same.high) == (2, 2, 2)
