"""Values and gradients of both forms against the formulas."""

import mlx.core as mx
import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from mlx_rev.backend import Backend
from mlx_rev.model.cache import advance, new_cache
from mlx_rev.model.ops import Ops, dropout
from tests.agreement import agree, normal
from tests.forms import shape

# The backend is the same for all of a test's examples.
few = settings(max_examples=10, suppress_health_check=[HealthCheck.function_scoped_fixture])


def attend(
    ops: Ops,
    q: mx.array,
    k: mx.array,
    v: mx.array,
    scale: float,
    segment_start: mx.array | None = None,
) -> mx.array:
    return ops.attention(q, k, v, scale, ops.attention_mask(q.shape[2], segment_start))


def plain_attention(
    q: mx.array, k: mx.array, v: mx.array, scale: float, segment_start: mx.array | None = None
) -> mx.array:
    groups, length = q.shape[1] // k.shape[1], q.shape[2]
    k, v = mx.repeat(k, groups, axis=1), mx.repeat(v, groups, axis=1)
    seen = mx.tri(length) > 0
    if segment_start is not None:
        keys = mx.arange(length)
        inside = (keys >= segment_start[..., None]) | (keys == keys[:, None])
        seen = (seen & inside)[:, None]
    scores = mx.where(seen, q @ k.swapaxes(-1, -2) * scale, -mx.inf)
    return mx.softmax(scores, axis=-1) @ v


@given(
    length=st.integers(1, 300),
    kv_heads=st.integers(1, 3),
    groups=st.integers(1, 3),
    seed=st.integers(0, 99),
)
@few
def test_attention(backend: Backend, length: int, kv_heads: int, groups: int, seed: int) -> None:
    q = normal(seed, 2, kv_heads * groups, length, 8)
    k, v = normal(seed + 1, 2, kv_heads, length, 8), normal(seed + 2, 2, kv_heads, length, 8)
    slope = normal(seed + 3, *q.shape)
    agree(
        lambda *x: attend(backend.ops, *x, 0.3),
        lambda *x: plain_attention(*x, 0.3),
        *(q, k, v),
        slope=slope,
    )


@given(length=st.integers(1, 200), groups=st.integers(1, 3), seed=st.integers(0, 99))
@few
def test_attention_within_segments(backend: Backend, length: int, groups: int, seed: int) -> None:
    q, k, v = (normal(seed, 2, heads, length, 8) for heads in (2 * groups, 2, 2))
    slope = normal(seed + 3, *q.shape)
    begins = np.random.default_rng(seed).random((2, length)) < 0.05
    begins[:, 0] = True
    segment_start = mx.array(np.maximum.accumulate(np.where(begins, np.arange(length), 0), axis=1))
    agree(
        lambda *x: attend(backend.ops, *x, 0.3, segment_start),
        lambda *x: plain_attention(*x, 0.3, segment_start),
        *(q, k, v),
        slope=slope,
    )


def test_a_query_before_its_segment_sees_itself(backend: Backend) -> None:
    q, k, v = (normal(0, 3, heads, 70, 8) for heads in (4, 2, 2))
    start = mx.array([[0], [3], [69]])
    found = attend(backend.ops, q, k, v, 0.3, start)
    assert mx.allclose(found, plain_attention(q, k, v, 0.3, start), atol=1e-5)


def test_attention_with_extreme_scores(backend: Backend) -> None:
    q, k = normal(0, 1, 2, 140, 8, scale=100), normal(1, 1, 2, 140, 8, scale=100)
    v = normal(2, 1, 2, 140, 8)
    found, expected = attend(backend.ops, q, k, v, 0.3), plain_attention(q, k, v, 0.3)
    assert mx.abs(found - expected).max().item() <= 1e-4


def test_the_future_is_not_seen(backend: Backend) -> None:
    q, k, v = (normal(seed, 1, 2, 200, 8) for seed in range(3))
    later = mx.arange(200)[None, None, :, None] >= 150
    changed = attend(backend.ops, q, mx.where(later, 9.0, k), mx.where(later, 9.0, v), 0.3)
    same = attend(backend.ops, q, k, v, 0.3)
    assert mx.abs(changed[:, :, :150] - same[:, :, :150]).max().item() < 1e-6


def plain_swiglu(gate: mx.array, up: mx.array) -> mx.array:
    return gate * mx.sigmoid(gate) * up


def plain_rms_norm(x: mx.array, weight: mx.array) -> mx.array:
    root = mx.rsqrt(mx.mean(x.square(), axis=-1, keepdims=True) + 1e-5)
    return x * root * weight


@given(seed=st.integers(0, 99), scale=st.sampled_from([0.01, 1.0, 30.0]))
@few
def test_swiglu(backend: Backend, seed: int, scale: float) -> None:
    agree(
        backend.ops.swiglu,
        plain_swiglu,
        *(normal(seed + 1, 4, 24, scale=scale), normal(seed + 2, 4, 24)),
        slope=normal(seed, 4, 24),
    )


@given(seed=st.integers(0, 99), scale=st.sampled_from([1e-4, 1.0, 1e3]))
@few
def test_rms_norm(backend: Backend, seed: int, scale: float) -> None:
    agree(
        lambda x, w: backend.ops.rms_norm(x, w, 1e-5),
        plain_rms_norm,
        *(normal(seed + 1, 2, 5, 24, scale=scale), normal(seed + 2, 24)),
        slope=normal(seed, 2, 5, 24),
    )


def test_rope_turns_pairs_by_their_position(backend: Backend) -> None:
    config, ops = shape(context=60), backend.ops
    x = normal(0, 2, 3, 40, config.head_dim)
    tables = ops.rope_tables(config)
    half = config.head_dim // 2
    for offset in (None, mx.array(17)):
        found = np.array(ops.rope(x, ops.rope_angles(tables, 40, offset)))
        positions = np.arange(40)[:, None] + (0 if offset is None else 17)
        turn = np.exp(1j * positions * config.rope_theta ** (-2.0 * np.arange(half) / (2 * half)))
        expected = (np.array(x[..., :half]) + 1j * np.array(x[..., half:])) * turn
        assert np.abs(found[..., :half] - expected.real).max() < 2e-5
        assert np.abs(found[..., half:] - expected.imag).max() < 2e-5


def test_a_mask_with_a_cache_is_of_positions_in_it(backend: Backend) -> None:
    cache = new_cache(shape(), 2, 8)
    advance(cache, 3)
    mask = backend.ops.attention_mask(2, mx.array([[0], [4]]), cache)
    rows = ["".join("x" if seen else "." for seen in row) for row in mask[:, 0].reshape(4, 8)]
    assert rows == ["xxxx....", "xxxxx...", "...x....", "....x..."]


def test_token_nats_in_several_parts(backend: Backend, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("mlx_rev.model.ops._LOGITS_AT_ONCE", 100)
    monkeypatch.setattr("mlx_rev.cpu.loss._LOGITS_AT_ONCE", 1)
    hidden, weight = normal(0, 600, 16), normal(1, 50, 16)
    targets = np.random.default_rng(0).integers(0, 50, 600)
    logits = np.array(hidden @ weight.T, np.float64)
    expected = np.log(np.exp(logits).sum(axis=1)) - logits[np.arange(600), targets]
    found = backend.ops.token_nats(hidden, weight, mx.array(targets))
    assert np.array(found) == pytest.approx(expected, abs=2e-5)


def test_nats_of_extreme_logits(backend: Backend) -> None:
    hidden, weight = mx.array([[1e4], [-1e4], [1.0]]), mx.array([[1.0], [-1.0], [0.0]])
    nats = backend.ops.token_nats(hidden, weight, mx.array([0, 0, 1]))
    assert np.array(nats) == pytest.approx([0, 2e4, 2.407606], rel=1e-5)


def test_dropout_keeps_the_mean_and_is_a_function_of_its_key() -> None:
    x, key = mx.ones((1000, 50)), mx.random.key(1)
    dropped = dropout(x, 0.2, key)
    assert mx.mean(dropped).item() == pytest.approx(1, abs=0.01)
    assert mx.mean(dropped == 0).item() == pytest.approx(0.2, abs=0.01)
    assert bool((dropped == dropout(x, 0.2, key)).all())


def test_a_target_that_is_no_id_counts_as_the_nearest(backend: Backend) -> None:
    hidden, weight = normal(0, 6, 16), normal(1, 50, 16)
    given, nearest = (mx.array(ids) for ids in ([-7, -1, 0, 49, 50, 99], [0, 0, 0, 49, 49, 49]))
    found = backend.ops.token_nats(hidden, weight, given)
    assert bool((found == backend.ops.token_nats(hidden, weight, nearest)).all())
    assert found.dtype == mx.float32


def test_dropout_of_more_and_of_less() -> None:
    x = mx.random.normal((400, 50), key=mx.random.key(0))
    for rate in (0.0, 0.5, 0.9):
        dropped = dropout(x, rate, mx.random.key(1))
        kept = dropped != 0
        assert mx.mean(kept).item() == pytest.approx(1 - rate, abs=0.02)
        assert mx.abs(dropped - mx.where(kept, x / (1 - rate), 0)).max().item() < 1e-4
    half = dropout(x.astype(mx.bfloat16), 0.5, mx.random.key(1))
    assert half.dtype == mx.bfloat16
