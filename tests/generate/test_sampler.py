import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from mlx_rev.config import SampleConfig
from mlx_rev.generate import sampler

rows = st.integers(0, 10_000).map(
    lambda seed: np.random.default_rng(seed).normal(0, 3, (2, 12)).astype(np.float32)
)
NONE = np.zeros((1, 0), dtype=int)


def sampled(logits: np.ndarray, count: int, **settings: float) -> np.ndarray:
    """The shares of tokens among `count` samples of one row."""
    random = np.random.default_rng(0)
    config = SampleConfig(**settings)
    tokens = [sampler.sample(logits, NONE, [random], config)[0] for _ in range(count)]
    return np.bincount(tokens, minlength=logits.shape[-1]) / count


def nucleus(weights: np.ndarray, p: float) -> np.ndarray:
    """The tokens of top-p by the definition: sorted, added up."""
    order = np.argsort(-weights)
    reached = np.cumsum(weights[order]) / weights.sum()
    return order[: int(np.searchsorted(reached, p)) + 1]


@given(rows, st.integers(1, 12))
def test_top_k_keeps_the_k_likeliest(row: np.ndarray, k: int) -> None:
    mask = sampler.keep_top_k(sampler.unnormalised(row), k) > 0
    assert (mask.sum(axis=1) == k).all()
    assert (
        np.where(mask, row, np.inf).min(axis=1) >= np.where(mask, -np.inf, row).max(axis=1)
    ).all()


@given(rows, st.floats(0.05, 0.99), st.integers(0, 1000))
def test_top_p_draws_in_the_nucleus_only(row: np.ndarray, p: float, seed: int) -> None:
    weights = sampler.unnormalised(row)[0]
    allowed = set(nucleus(weights.astype(np.float64), p + 1e-6))
    random = np.random.default_rng(seed)
    assert all(sampler.draw(weights, weights, p, random) in allowed for _ in range(20))


@pytest.mark.parametrize("p", [0.3, 0.65, 0.9])
def test_top_p_keeps_the_shares_of_the_nucleus(p: float) -> None:
    logits = np.log(np.array([[0.28, 0.05, 0.22, 0.3, 0.15]], dtype=np.float32))
    weights = np.exp(logits[0].astype(np.float64))
    expected = np.zeros(5)
    inside = nucleus(weights, p)
    expected[inside] = weights[inside] / weights[inside].sum()
    assert sampled(logits, 4000, temperature=1.0, top_p=p) == pytest.approx(expected, abs=0.03)


def test_the_nucleus_is_of_all_tokens_also_of_those_that_min_p_leaves_out() -> None:
    """The fifth is in the nucleus: those before it have 0.58 of all weight, but 0.92 of what min-p
    leaves."""
    odds = np.array([0.16, 0.15, 0.14, 0.13, 0.05, *[0.037] * 10])
    logits = np.log(odds[None].astype(np.float32))
    expected = np.where(odds >= 0.3 * 0.16, odds, 0) / 0.63
    shares = sampled(logits, 4000, temperature=1.0, top_p=0.9, min_p=0.3)
    assert shares == pytest.approx(expected, abs=0.03)
    assert shares[4] > 0.05


@given(rows, st.floats(0.01, 1))
def test_min_p_keeps_what_is_likely_enough(row: np.ndarray, p: float) -> None:
    mask = sampler.keep_min_p(sampler.unnormalised(row), p) > 0
    ratio = np.exp(row - row.max(axis=1, keepdims=True))
    clear = np.abs(ratio - p) > 1e-5
    assert (mask[clear] == (ratio >= p)[clear]).all()


def test_a_masked_token_is_never_drawn() -> None:
    logits = np.array([[-np.inf, 1.0, -np.inf, -30.0]], dtype=np.float32)
    assert sampled(logits, 500, temperature=2.0, top_p=1.0)[[0, 2]].tolist() == [0, 0]


def test_repetition_penalty_looks_only_at_recent_tokens() -> None:
    logits = np.array([[2.0, -2.0, 2.0, -2.0]], dtype=np.float32)
    penalised = sampler.penalise(logits, np.array([[0, 1, 0, -1]]), 2.0)
    assert penalised.tolist() == [[1.0, -4.0, 2.0, -2.0]]
    assert logits[0, 0] == 2.0


@pytest.mark.parametrize(
    "settings",
    [{"temperature": 0.0}, {"temperature": 1e-40}, {"top_k": 1}, {"min_p": 1.0}, {"top_p": 1e-6}],
)
def test_settings_that_leave_only_the_likeliest(settings: dict[str, float]) -> None:
    logits = np.random.default_rng(1).normal(size=(3, 50)).astype(np.float32)
    random = [np.random.default_rng(seed) for seed in range(3)]
    chosen = sampler.sample(logits, np.zeros((3, 0)), random, SampleConfig(**settings))
    assert chosen.tolist() == logits.argmax(axis=1).tolist()


def test_sampled_shares_follow_the_probabilities() -> None:
    logits = np.log(np.array([[0.5, 0.3, 0.2]], dtype=np.float32))
    shares = sampled(logits, 4000, temperature=1.0, top_p=1.0)
    assert shares == pytest.approx([0.5, 0.3, 0.2], abs=0.03)


@given(rows)
def test_surprise_is_minus_the_binary_logarithm(row: np.ndarray) -> None:
    odds = np.exp(row.astype(np.float64))
    odds /= odds.sum(axis=1, keepdims=True)
    chosen = np.array([3, 7])
    assert sampler.surprise(row, chosen) == pytest.approx(-np.log2(odds[[0, 1], chosen]), abs=1e-4)


def test_surprise_is_finite_where_the_probability_is_no_more() -> None:
    logits = np.array([[1e4, 0.0]], dtype=np.float32)
    assert sampler.surprise(logits, np.array([1])) == pytest.approx([1e4 / np.log(2)])


@pytest.mark.parametrize("temperature", [0.5, 2.0])
def test_a_low_temperature_sharpens_and_a_high_one_flattens(temperature: float) -> None:
    odds = np.array([0.5, 0.3, 0.2])
    logits = np.log(odds[None].astype(np.float32))
    expected = odds ** (1 / temperature)
    shares = sampled(logits, 4000, temperature=temperature, top_p=1.0)
    assert shares == pytest.approx(expected / expected.sum(), abs=0.03)


def test_a_penalty_makes_every_repeated_token_less_likely() -> None:
    logits = np.array([[0.5, 1e-3, 0.0, -1e-3, -0.5]], dtype=np.float32)
    penalised = sampler.penalise(logits, np.array([[0, 1, 2, 3, 4]]), 1.25)
    assert penalised == pytest.approx(np.array([[0.4, 8e-4, 0.0, -1.25e-3, -0.625]]))


@given(rows, st.floats(0.01, 1), st.sampled_from([0.01, 3.0, 100.0]))
def test_min_p_does_not_depend_on_the_scale_of_the_weights(
    row: np.ndarray, p: float, scale: float
) -> None:
    weights = np.exp(row - row.max(axis=1, keepdims=True))
    clear = np.abs(weights - p) > 1e-5
    one, other = sampler.keep_min_p(weights, p), sampler.keep_min_p(weights * np.float32(scale), p)
    assert ((one > 0)[clear] == (other > 0)[clear]).all()


def test_the_nucleus_is_the_fewest_tokens_that_reach_top_p() -> None:
    """Two quarters and a half: half of the weight is reached by the half alone."""
    weights, random = np.array([1, 2, 1], dtype=np.float32), np.random.default_rng(0)
    assert {sampler.draw(weights, weights, 0.5, random) for _ in range(100)} == {1}
    assert {sampler.draw(weights, weights, 0.51, random) for _ in range(100)} == {0, 1, 2}


@given(st.integers(0, 1000), st.floats(0.05, 1), st.integers(0, 9))
def test_a_row_is_drawn_as_if_it_were_alone(seed: int, p: float, k: int) -> None:
    logits = np.random.default_rng(seed).normal(0, 3, (5, 12)).astype(np.float32)
    config = SampleConfig(top_p=p, top_k=k, min_p=0.01, repetition_penalty=1.3)
    recent = np.random.default_rng(seed).integers(-1, 12, (5, 4))
    random, again = ([np.random.default_rng([seed, row]) for row in range(5)] for _ in range(2))
    for _ in range(3):
        together = sampler.sample(logits, recent, random, config).tolist()
        alone = [
            int(sampler.sample(logits[row : row + 1], recent[row : row + 1], [own], config)[0])
            for row, own in enumerate(again)
        ]
        assert together == alone


class Largest:
    """A generator whose every number is the largest there is, for so many numbers."""

    def __init__(self, numbers: int) -> None:
        self._left = iter([float(np.nextafter(1, 0))] * numbers)

    def random(self) -> float:
        return next(self._left)


def test_what_is_rejected_once_is_not_drawn_again() -> None:
    """So no more draws are needed than there are tokens, and none falls behind the last token."""
    weights = np.array([0.3, 0.25, 0.2, 0.15, 0.1], dtype=np.float32)
    for p, last in ((1.0, 4), (0.95, 4), (0.8, 3), (0.5, 1), (0.1, 0)):
        assert sampler.draw(weights, weights, p, Largest(len(weights))) == last  # type: ignore[arg-type]


def test_the_nucleus_is_of_what_top_k_leaves() -> None:
    """The likeliest has 0.3 of all weight but 0.55 of what is left, so it is all of the nucleus."""
    logits = np.log(np.array([[0.3, 0.25, 0.2, 0.15, 0.1]], dtype=np.float32))
    assert sampled(logits, 50, temperature=1.0, top_k=2, top_p=0.5)[0] == 1
