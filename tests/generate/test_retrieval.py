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


def test_another_seed_deals_otherwise() -> None:
    assert (retrieval.dealt_out(30, 1) != retrieval.dealt_out(30, 2)).any()


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


@pytest.mark.parametrize("true", [0.01, 0.05, 0.5])
def test_the_interval_of_a_share_covers_it_also_where_it_is_rare(true: float) -> None:
    random, drawn = np.random.default_rng(2), bootstrap.resamples(100, 0)
    found = [bootstrap.estimate(random.random(100) < true, np.ones(100), drawn) for _ in range(400)]
    inside = np.mean([one.low <= true <= one.high for one in found])
    assert 0.91 < inside < 0.99


def test_the_interval_of_a_share_is_wilsons() -> None:
    """Two of the examples of Newcombe (1998, Table I), and what never happened."""
    for hits, count, low, high in ((81, 263, 0.2553, 0.3662), (15, 148, 0.0624, 0.1605)):
        found = bootstrap.share(hits / count, count)
        assert (found.low, found.high) == pytest.approx((low, high), abs=5e-5)
    never = bootstrap.estimate(np.zeros(20, bool), np.ones(20), bootstrap.resamples(20, 0))
    assert (never.mean, never.low, never.high) == (0, 0, pytest.approx(0.1611, abs=5e-5))
    always = bootstrap.estimate(np.ones(20, bool), np.ones(20), bootstrap.resamples(20, 0))
    assert (always.low, always.high) == (pytest.approx(0.8389, abs=5e-5), 1)
    # Bytes weigh stories: no share of so many.
    drawn = bootstrap.resamples(2, 0)
    weighted = bootstrap.estimate(np.array([False, True]), np.array([1.0, 3]), drawn)
    assert (weighted.mean, weighted.low) == (0.75, 0)


def test_what_is_no_share_has_no_interval_of_shares_where_it_happens_to_be_0_or_1() -> None:
    values, drawn = np.array([0.0, 1, 1]), bootstrap.resamples(3, 0)
    found = bootstrap.estimate(values, np.ones(3), drawn)
    assert (found.low, found.high) == (0, 1)
    always = bootstrap.estimate(np.ones(3), np.ones(3), drawn)
    assert (always.low, always.high) == (1, 1)


@pytest.mark.parametrize("count", [3, 10, 20, 100, 263])
def test_the_interval_of_a_share_ends_exactly_where_shares_do(count: int) -> None:
    assert bootstrap.share(0.0, count).low == 0
    assert bootstrap.share(1.0, count).high == 1
    assert bootstrap.share(1 / count, count).low > 0
    assert bootstrap.share(1 - 1 / count, count).high < 1


def test_a_difference_draws_the_same_places_for_both() -> None:
    random, drawn = np.random.default_rng(0), bootstrap.resamples(50, 0)
    values, weights = random.normal(size=50), random.uniform(1, 2, 50)
    found = bootstrap.difference((values + 0.5, weights), (values, weights), drawn)
    assert (found.mean, found.low, found.high) == pytest.approx((0.5, 0.5, 0.5))
    found = bootstrap.difference((values, weights), (values[::-1], weights), drawn)
    assert found.high - found.low > 0.3
