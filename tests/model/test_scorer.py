"""How surprised a model is by whole texts, in both forms: as its logits say."""

from collections.abc import Sequence
from dataclasses import replace

import mlx.core as mx
import numpy as np
import pytest

from mlx_rev.backend import Backend
from mlx_rev.cpu import weights
from mlx_rev.model.llama import Llama, get_weights, set_weights
from tests.forms import any_shape, random_llama, shape


def random_ids(*size: int) -> mx.array:
    return mx.array(np.random.default_rng(sum(size)).integers(3, 300, size).astype(np.int32))


def nats_of(
    model: Llama, inputs: mx.array, targets: mx.array, before: Sequence[int] = ()
) -> np.ndarray:
    """From the logits of `before` and a row of inputs, all at once, in plain MLX."""
    plain = Llama(model.config)
    set_weights(plain, get_weights(model))
    rows = mx.concatenate([mx.array([before] * len(inputs), mx.int32), inputs], axis=1)
    logits = plain(rows)[:, len(before) :]
    own = mx.take_along_axis(logits, targets[..., None], axis=-1)[..., 0]
    return np.array(mx.logsumexp(logits, axis=-1) - own)


@any_shape
@pytest.mark.parametrize("copied", [True, False])
def test_it_says_what_the_model_says(
    backend: Backend,
    change: dict[str, float],
    copied: bool,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    if copied and backend.name != "cpu":
        pytest.skip("only NumPy's form copies weights")
    monkeypatch.setattr(weights, "_MOST_COPIED", 1e9 if copied else 0)
    config = replace(shape(context=96), **change)  # type: ignore[arg-type]
    model = random_llama(config, backend)
    scorer = backend.ops.scorer(model)
    for rows, length in ((1, 1), (3, 64), (2, 95)):
        inputs, targets = random_ids(rows, length), random_ids(length, rows).T
        expected = nats_of(model, inputs, targets)
        assert scorer.nats(inputs, targets) == pytest.approx(expected, abs=1e-3)
        assert expected.max() > 3
    for before in ([], [1], random_ids(25).tolist()):
        cache = scorer.read(before, 70)
        for inputs in (random_ids(3, 70), random_ids(2, 5)):
            targets = inputs[:, ::-1]
            found = scorer.nats(inputs, targets, scorer.shared(cache, len(inputs)))
            assert found == pytest.approx(nats_of(model, inputs, targets, before), abs=1e-3)


def test_it_takes_the_weights_that_the_model_has_now(backend: Backend) -> None:
    model, other = (random_llama(shape(), backend, seed) for seed in (1, 8))
    scorer, ids = backend.ops.scorer(model), random_ids(2, 20)
    before = scorer.nats(ids, ids)
    set_weights(model, get_weights(other))
    after = scorer.nats(ids, ids)
    assert after == pytest.approx(nats_of(other, ids, ids), abs=1e-3)
    assert np.abs(after - before).max() > 0.1


def test_what_is_not_finite_is_said_in_the_figures_alone(backend: Backend) -> None:
    """No warning of NumPy's, which would stand on the screen in front of the one sentence."""
    model, ids = random_llama(shape(), backend), random_ids(2, 20)
    set_weights(model, {name: weight * 1e18 for name, weight in get_weights(model).items()})
    scorer = backend.ops.scorer(model)
    assert not np.isfinite(scorer.nats(ids, ids)).all()
    scorer.read(ids[0].tolist(), 5)
