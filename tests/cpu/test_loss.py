"""The loss whose gradients are known, against the one that anyone knows. See also
tests/train/test_loss.py, which has the loss of both forms."""

import mlx.core as mx
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from mlx_rev.cpu import loss
from mlx_rev.cpu.loss import linear_cross_entropy
from tests.agreement import agree, normal


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
    found = linear_cross_entropy(hidden, weight, targets, weights)
    slope = mx.sum(hidden * found.by_hidden) + mx.sum(weight * found.by_weight)
    return mx.stop_gradient(found.loss - slope) + slope


def test_each_row_counts_by_its_own_weight_in_several_chunks(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(loss, "_LOGITS_AT_ONCE", 1)
    random = np.random.default_rng(0)
    weights = mx.array((random.random(1000) * (random.random(1000) < 0.9)).astype(np.float32))
    targets = mx.where(weights == 0, -1, mx.array(random.integers(0, 50, 1000)))
    hidden, weight = normal(0, 1000, 16), normal(1, 50, 16)
    agree(
        lambda h, w: with_known_gradients(h, w, targets, weights),
        lambda h, w: plain_loss(h, w, targets, weights),
        *(hidden, weight),
    )
    assert len(linear_cross_entropy(hidden, weight, targets, weights).chunks) == 4


def test_cross_entropy_of_extreme_logits() -> None:
    hidden, weight = mx.array([[1e4], [-1e4], [1.0]]), mx.array([[1.0], [-1.0], [0.0]])
    targets, weights = mx.array([0, 0, 1]), mx.array([1.0, 0.5, 2.0])
    found = linear_cross_entropy(hidden, weight, targets, weights)
    assert found.loss.item() == pytest.approx(1e4 + 2 * 2.407606, rel=1e-5)
    agree(
        lambda h, w: with_known_gradients(h, w, targets, weights),
        lambda h, w: plain_loss(h, w, targets, weights),
        *(hidden, weight),
    )


@given(rows=st.integers(1, 20_000), vocabulary=st.sampled_from([300, 512, 4096, 15_625, 32_000]))
def test_chunks_are_few_even_and_of_so_many_logits(rows: int, vocabulary: int) -> None:
    chunks = loss._chunks(rows, vocabulary)
    most = max(256, 4_000_000 // vocabulary)
    assert [start for start, _ in chunks] == [0, *(stop for _, stop in chunks[:-1])]
    assert chunks[-1][1] == rows
    sizes = [stop - start for start, stop in chunks]
    assert max(sizes) <= most
    assert len(chunks) <= -(-rows // most)
    assert max(sizes) - sizes[-1] < len(chunks)
