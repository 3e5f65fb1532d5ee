import mlx.core as mx
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from mlx_rev.config import SampleConfig
from mlx_rev.generate import sampler

rows = st.integers(0, 10_000).map(
    lambda seed: np.random.default_rng(seed).normal(0, 3, (2, 12)).astype(np.float32)
)


def kept(logits: mx.array) -> np.ndarray:
    return np.isfinite(np.array(logits))


@given(rows, st.integers(1, 12))
def test_top_k_keeps_the_k_likeliest(row: np.ndarray, k: int) -> None:
    mask = kept(sampler.keep_top_k(mx.array(row), k))
    assert (mask.sum(axis=1) == k).all()
    assert (
        np.where(mask, row, np.inf).min(axis=1) >= np.where(mask, -np.inf, row).max(axis=1)
    ).all()


@given(rows, st.floats(0.05, 0.99))
def test_top_p_keeps_the_fewest_that_reach_p(row: np.ndarray, p: float) -> None:
    mask = kept(sampler.keep_top_p(mx.array(row), p))
    odds = np.exp(row - row.max(axis=1, keepdims=True)).astype(np.float64)
    odds /= odds.sum(axis=1, keepdims=True)
    for own, chosen in zip(odds, mask, strict=True):
        assert own[chosen].sum() >= p - 1e-5
        assert own[chosen].sum() - own[chosen].min() < p + 1e-5


@given(rows, st.floats(0.01, 1))
def test_min_p_keeps_what_is_likely_enough(row: np.ndarray, p: float) -> None:
    mask = kept(sampler.keep_min_p(mx.array(row), p))
    ratio = np.exp(row - row.max(axis=1, keepdims=True))
    clear = np.abs(ratio - p) > 1e-5
    assert (mask[clear] == (ratio >= p)[clear]).all()


def test_the_choice_inverts_the_distribution() -> None:
    odds = mx.array([[0.1, 0.2, 0.3, 0.4]])
    chosen = [
        sampler.choose(mx.log(odds), mx.array([u])).item()
        for u in (0.0, 0.09, 0.11, 0.29, 0.31, 0.59, 0.61, 0.999)
    ]
    assert chosen == [0, 0, 1, 1, 2, 2, 3, 3]


def test_a_masked_token_is_never_chosen() -> None:
    logits = mx.array([[-mx.inf, 1.0, -mx.inf]])
    for uniform in (0.0, 0.5, 0.9999999):
        assert sampler.choose(logits, mx.array([uniform])).item() == 1


def test_repetition_penalty_looks_only_at_recent_tokens() -> None:
    logits = mx.array([[2.0, -2.0, 2.0, -2.0]])
    penalised = sampler.penalise(logits, mx.array([[0, 1, -1]]), 2.0)
    assert np.array(penalised).tolist() == [[1.0, -4.0, 2.0, -2.0]]


@pytest.mark.parametrize(
    "settings", [{"temperature": 0.0}, {"top_k": 1}, {"min_p": 1.0}, {"top_p": 1e-6}]
)
def test_settings_that_leave_only_the_likeliest(settings: dict[str, float]) -> None:
    logits = mx.array(np.random.default_rng(1).normal(size=(3, 50)))
    config = SampleConfig(**settings)
    chosen = sampler.sample(logits, mx.zeros((3, 0)), mx.array([0.1, 0.5, 0.9]), config)
    assert np.array(chosen).tolist() == np.array(logits).argmax(axis=1).tolist()


def test_sampled_shares_follow_the_probabilities() -> None:
    logits = mx.log(mx.array([[0.5, 0.3, 0.2]]))
    uniforms = np.random.default_rng(0).random(2000)
    config = SampleConfig(temperature=1.0, top_p=1.0)
    tokens = [
        sampler.sample(logits, mx.zeros((1, 0)), mx.array([u], dtype=mx.float32), config).item()
        for u in uniforms
    ]
    assert np.bincount(tokens) / 2000 == pytest.approx([0.5, 0.3, 0.2], abs=0.03)
