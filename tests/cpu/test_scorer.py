"""Whole texts in NumPy: as likely as the model says."""

from dataclasses import replace

import mlx.core as mx
import numpy as np
import pytest

from mlx_rev.config import ModelConfig
from mlx_rev.cpu import weights
from mlx_rev.cpu.scorer import NumpyScorer
from mlx_rev.model.llama import get_weights, set_weights
from mlx_rev.model.scorer import PlainScorer
from tests.cpu.test_decode import random_model


def random_ids(*shape: int) -> mx.array:
    return mx.array(np.random.default_rng(sum(shape)).integers(3, 300, shape).astype(np.int32))


@pytest.mark.parametrize(
    "change",
    [
        {},
        {"n_kv_heads": 4},
        {"tied": False},
        {"rope_theta": 500.0, "rope_factor": 4.0, "norm_eps": 1e-2},
    ],
    ids=str,
)
@pytest.mark.parametrize("copied", [True, False])
def test_it_says_what_the_model_says(
    tiny: ModelConfig,
    change: dict[str, float],
    copied: bool,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(weights, "_MOST_COPIED", 1e9 if copied else 0)
    model = random_model(replace(tiny, context=96, **change))  # type: ignore[arg-type]
    numpy, plain = NumpyScorer(model), PlainScorer(model)
    for rows, length in ((1, 1), (3, 64), (2, 95)):
        inputs, targets = random_ids(rows, length), random_ids(length, rows).T
        found, expected = numpy.nats(inputs, targets), plain.nats(inputs, targets)
        assert found == pytest.approx(expected, abs=1e-3)
        assert expected.max() > 3
    for before in ([], [1], random_ids(25).tolist()):
        answers = []
        for scorer in (numpy, plain):
            cache = scorer.read(before, 70)
            for inputs in (random_ids(3, 70), random_ids(2, 5)):
                shared = scorer.shared(cache, len(inputs))
                answers.append(scorer.nats(inputs, inputs[:, ::-1], shared))
        assert answers[0] == pytest.approx(answers[2], abs=1e-3)
        assert answers[1] == pytest.approx(answers[3], abs=1e-3)


def test_it_takes_the_weights_that_the_model_has_now(tiny: ModelConfig) -> None:
    model, other = random_model(tiny), random_model(tiny, 8)
    scorer, ids = NumpyScorer(model), random_ids(2, 20)
    before = scorer.nats(ids, ids)
    set_weights(model, get_weights(other))
    after = scorer.nats(ids, ids)
    assert after == pytest.approx(PlainScorer(other).nats(ids, ids), abs=1e-3)
    assert np.abs(after - before).max() > 0.1


def test_what_is_not_finite_is_said_in_the_figures_alone(tiny: ModelConfig) -> None:
    """No warning of NumPy's, which would stand on the screen in front of the one sentence."""
    model, ids = random_model(tiny), random_ids(2, 20)
    set_weights(model, {name: weight * 1e18 for name, weight in get_weights(model).items()})
    scorer = NumpyScorer(model)
    assert not np.isfinite(scorer.nats(ids, ids)).all()
    scorer.read(ids[0].tolist(), 5)
