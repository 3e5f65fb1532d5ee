import mlx.core as mx
import numpy as np
import pytest

from mlx_rev.cpu.exp import exp_neg, sigmoid


def test_sigmoid_over_its_whole_range() -> None:
    x = np.concatenate([np.linspace(-40, 40, 20_001), [0, -0.0, 1e-9, -1e-9, 1e4, -1e4]])
    found = np.array(sigmoid(mx.array(x.astype(np.float32))))
    with np.errstate(over="ignore"):
        expected = 1 / (1 + np.exp(-x))
    assert np.abs(found - expected).max() < 5e-7
    assert np.array(sigmoid(mx.array([-3e38, 3e38]))) == pytest.approx([0, 1], abs=1e-7)
    assert np.isnan(np.array(sigmoid(mx.array(float("nan")))))


def test_exp_neg_is_exp_of_the_negative() -> None:
    z = np.concatenate([np.linspace(0, 3, 20_001), np.geomspace(3, 3e38, 20_001)])
    z = z.astype(np.float32)
    found = np.array(exp_neg(mx.array(z)))
    assert np.abs(found - np.exp(-z.astype(np.float64))).max() < 2e-6
    assert found[0] == 1
    assert (found[z > 1e6] == 0).all()
    assert np.isnan(np.array(exp_neg(mx.array(float("nan")))))
