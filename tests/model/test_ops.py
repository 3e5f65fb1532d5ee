"""Values and gradients of the fast forms against plain ones."""

from collections.abc import Callable

import mlx.core as mx
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mlx_rev.model import ops

TOLERANCE = 1e-5


def normal(seed: int, *shape: int, scale: float = 1.0) -> mx.array:
    return mx.array(np.random.default_rng(seed).normal(0, scale, shape).astype(np.float32))


def agree(
    ours: Callable, plain: Callable, *inputs: mx.array, slope: mx.array | None = None
) -> None:
    """All values, and the gradients of all inputs, agree, relative to the largest entry, eagerly
    and compiled. `slope` is what the values' gradients are, 1 by default.

    A gradient that should be 0 may be off by a millionth of the inputs, which are about 1.
    """
    slope = mx.array(1.0) if slope is None else slope

    def differentiated(function: Callable) -> Callable:
        return lambda *given: [*map(tuple, mx.vjp(function, given, [slope]))]

    values, gradients = differentiated(plain)(*inputs)
    for wrap in (lambda function: function, mx.compile):
        found, by_inputs = wrap(differentiated(ours))(*inputs)
        for one, other in zip((*found, *by_inputs), (*values, *gradients), strict=True):
            assert bool(mx.isfinite(one).all())
            largest = max(mx.abs(other).max().item(), 0.1)
            assert mx.abs(one - other).max().item() <= TOLERANCE * largest


def test_sigmoid_over_its_whole_range() -> None:
    x = np.concatenate([np.linspace(-40, 40, 20_001), [0, -0.0, 1e-9, -1e-9, 1e4, -1e4]])
    found = np.array(ops.sigmoid(mx.array(x.astype(np.float32))))
    with np.errstate(over="ignore"):
        expected = 1 / (1 + np.exp(-x))
    assert np.abs(found - expected).max() < 5e-7
    assert np.array(ops.sigmoid(mx.array([-3e38, 3e38]))) == pytest.approx([0, 1], abs=1e-7)
    assert np.isnan(np.array(ops.sigmoid(mx.array(float("nan")))))


def test_decay_is_exp_of_the_negative() -> None:
    z = np.concatenate([np.linspace(0, 3, 20_001), np.geomspace(3, 3e38, 20_001)])
    z = z.astype(np.float32)
    found = np.array(ops.decay(mx.array(z)))
    assert np.abs(found - np.exp(-z.astype(np.float64))).max() < 2e-6
    assert found[0] == 1
    assert (found[z > 1e6] == 0).all()
    assert np.isnan(np.array(ops.decay(mx.array(float("nan")))))


def attend(
    q: mx.array, k: mx.array, v: mx.array, scale: float, first: mx.array | None = None
) -> mx.array:
    mask = ops.attention_mask(q.shape[2], q.shape[1] // k.shape[1], first)
    return ops.attention(q, k, v, scale, mask)


def plain_attention(
    q: mx.array, k: mx.array, v: mx.array, scale: float, first: mx.array | None = None
) -> mx.array:
    groups, length = q.shape[1] // k.shape[1], q.shape[2]
    k, v = mx.repeat(k, groups, axis=1), mx.repeat(v, groups, axis=1)
    seen = mx.tri(length) > 0
    if first is not None:
        seen = (seen & (mx.arange(length) >= first[..., None]))[:, None]
    scores = mx.where(seen, q @ k.swapaxes(-1, -2) * scale, -mx.inf)
    return mx.softmax(scores, axis=-1) @ v


@given(
    length=st.integers(1, 300),
    kv_heads=st.integers(1, 3),
    groups=st.integers(1, 3),
    seed=st.integers(0, 99),
)
@settings(max_examples=15)
def test_attention(length: int, kv_heads: int, groups: int, seed: int) -> None:
    q = normal(seed, 2, kv_heads * groups, length, 8)
    k, v = normal(seed + 1, 2, kv_heads, length, 8), normal(seed + 2, 2, kv_heads, length, 8)
    slope = normal(seed + 3, *q.shape)
    agree(
        lambda *x: attend(*x, 0.3),
        lambda *x: plain_attention(*x, 0.3),
        *(q, k, v),
        slope=slope,
    )


@given(length=st.integers(1, 200), groups=st.integers(1, 3), seed=st.integers(0, 99))
@settings(max_examples=10)
def test_attention_within_stories(length: int, groups: int, seed: int) -> None:
    q, k, v = (normal(seed, 2, heads, length, 8) for heads in (2 * groups, 2, 2))
    slope = normal(seed + 3, *q.shape)
    begins = np.random.default_rng(seed).random((2, length)) < 0.05
    begins[:, 0] = True
    first = mx.array(np.maximum.accumulate(np.where(begins, np.arange(length), 0), axis=1))
    agree(
        lambda *x: attend(*x, 0.3, first),
        lambda *x: plain_attention(*x, 0.3, first),
        *(q, k, v),
        slope=slope,
    )


def test_attention_with_extreme_scores() -> None:
    q, k = normal(0, 1, 2, 140, 8, scale=100), normal(1, 1, 2, 140, 8, scale=100)
    v = normal(2, 1, 2, 140, 8)
    found, expected = attend(q, k, v, 0.3), plain_attention(q, k, v, 0.3)
    assert mx.abs(found - expected).max().item() <= 1e-4


def test_the_future_is_not_seen() -> None:
    q, k, v = (normal(seed, 1, 2, 200, 8) for seed in range(3))
    later = mx.arange(200)[None, None, :, None] >= 150
    changed = attend(q, mx.where(later, 9.0, k), mx.where(later, 9.0, v), 0.3)
    same = attend(q, k, v, 0.3)
    assert mx.abs(changed[:, :, :150] - same[:, :, :150]).max().item() < 1e-6


def plain_loss(
    hidden: mx.array, weight: mx.array, targets: mx.array, weights: mx.array
) -> mx.array:
    logits = hidden @ weight.T
    own = mx.take_along_axis(logits, mx.maximum(targets, 0)[:, None], axis=-1)[:, 0]
    return (weights * (mx.logsumexp(logits, axis=-1) - own)).sum()


def with_known_gradients(
    hidden: mx.array, weight: mx.array, targets: mx.array, weights: mx.array
) -> mx.array:
    """The loss, such that differentiating it gives the gradients that came with it."""
    found = ops.linear_cross_entropy(hidden, weight, targets, weights)
    slope = mx.sum(hidden * found.by_hidden) + mx.sum(weight * found.by_weight)
    return mx.stop_gradient(found.loss - slope) + slope


@given(
    rows=st.integers(1, 700),
    vocabulary=st.integers(2, 300),
    ignored=st.floats(0, 1),
    seed=st.integers(0, 99),
)
@settings(max_examples=15)
def test_cross_entropy(rows: int, vocabulary: int, ignored: float, seed: int) -> None:
    random = np.random.default_rng(seed)
    keep = random.random(rows) >= ignored
    targets = mx.array(np.where(keep, random.integers(0, vocabulary, rows), -1))
    weights = mx.array((random.random(rows) * keep).astype(np.float32))
    agree(
        lambda h, w: with_known_gradients(h, w, targets, weights),
        lambda h, w: plain_loss(h, w, targets, weights),
        *(normal(seed, rows, 16), normal(seed + 1, vocabulary, 16)),
    )


def test_cross_entropy_in_several_chunks(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ops, "_LOGITS_AT_ONCE", 1)
    targets = mx.array(np.random.default_rng(0).integers(0, 50, 1000))
    weights = mx.full((1000,), 1e-3)
    hidden, weight = normal(0, 1000, 16), normal(1, 50, 16)
    agree(
        lambda h, w: with_known_gradients(h, w, targets, weights),
        lambda h, w: plain_loss(h, w, targets, weights),
        *(hidden, weight),
    )
    assert len(ops.linear_cross_entropy(hidden, weight, targets, weights).chunks) == 4
    nats = ops.token_nats(hidden, weight, targets)
    expected = plain_loss(hidden, weight, targets, weights).item()
    assert mx.sum(nats * weights).item() == pytest.approx(expected, rel=1e-5)


def test_cross_entropy_of_extreme_logits() -> None:
    hidden, weight = mx.array([[1e4], [-1e4], [1.0]]), mx.array([[1.0], [-1.0], [0.0]])
    nats = ops.token_nats(hidden, weight, mx.array([0, 0, 1]))
    assert np.array(nats) == pytest.approx([0, 2e4, 2.407606], rel=1e-5)


@given(seed=st.integers(0, 99), scale=st.sampled_from([0.01, 1.0, 30.0]))
@settings(max_examples=10)
def test_swiglu(seed: int, scale: float) -> None:
    agree(
        ops.swiglu,
        lambda g, u: g * mx.sigmoid(g) * u,
        *(normal(seed + 1, 4, 24, scale=scale), normal(seed + 2, 4, 24)),
        slope=normal(seed, 4, 24),
    )


@given(seed=st.integers(0, 99), scale=st.sampled_from([1e-4, 1.0, 1e3]))
@settings(max_examples=10)
def test_rms_norm(seed: int, scale: float) -> None:
    def plain(x: mx.array, weight: mx.array) -> mx.array:
        root = mx.rsqrt(mx.mean(x.square(), axis=-1, keepdims=True) + 1e-5)
        return x * root * weight

    agree(
        lambda x, w: ops.rms_norm(x, w, 1e-5),
        plain,
        *(normal(seed + 1, 2, 5, 24, scale=scale), normal(seed + 2, 24)),
        slope=normal(seed, 2, 5, 24),
    )


def test_rope_is_mlxs_half_split_one() -> None:
    x = normal(0, 2, 3, 40, 16)
    cos, sin = ops.rope_tables(40, 16, 10000.0)
    expected = mx.fast.rope(x, 16, traditional=False, base=10000.0, scale=1.0, offset=0)
    assert mx.abs(ops.rope(x, cos, sin) - expected).max().item() < 1e-4


def test_dropout_keeps_the_mean_and_is_its_keys() -> None:
    x, key = mx.ones((1000, 50)), mx.random.key(1)
    dropped = ops.dropout(x, 0.2, key)
    assert mx.mean(dropped).item() == pytest.approx(1, abs=0.01)
    assert mx.mean(dropped == 0).item() == pytest.approx(0.2, abs=0.01)
    assert bool((dropped == ops.dropout(x, 0.2, key)).all())


@pytest.mark.metal
def test_the_gpu_form_of_attention_agrees() -> None:
    """On a Mac: mx.fast on the GPU against the plain form on the CPU."""
    x = normal(0, 1, 4, 64, 16)
    on_gpu = attend(x, x, x, 0.25)
    with mx.stream(mx.cpu):
        expected = plain_attention(x, x, x, 0.25)
    assert mx.abs(on_gpu - expected).max().item() < 1e-3
