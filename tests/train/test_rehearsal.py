"""What a trial of a few steps tells, by a clock of its own."""

from collections.abc import Callable, Iterator
from itertools import accumulate

import mlx.core as mx
import numpy as np
import pytest

from mlx_rev.backend import choose
from mlx_rev.config import Dtype, RunConfig
from mlx_rev.data.batches import Batch, Batches
from mlx_rev.data.prepare import Prepared
from mlx_rev.train import rehearsal
from mlx_rev.train.checkpoint import Progress, TrainingState
from mlx_rev.train.optimizer import Moments


def clock(*durations: float) -> Callable[[], float]:
    """One that is looked at before and after what takes so long."""
    looks: Iterator[float] = accumulate(part for took in durations for part in (100.0, took))
    return lambda: next(looks)


class Step:
    """Stands for a training step: its loss is its number."""

    weights, moments = dict[str, mx.array](), ()

    def __init__(self) -> None:
        self.read: dict[int, np.ndarray] = {}
        self.closed = False

    def __call__(self, number: int, batch: Batch) -> tuple[mx.array, mx.array]:
        self.read[number] = batch.inputs
        return mx.array(float(number)), mx.array(0.0)

    def close(self) -> None:
        self.closed = True


def test_the_quickest_step_but_the_first_and_the_first_loss(
    run_config: RunConfig, prepared: Prepared, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Of the steps that come next, on the stories that they will read."""
    step = Step()
    monkeypatch.setattr(rehearsal, "TrainingStep", lambda *given, **named: step)
    monkeypatch.setattr(rehearsal.time, "perf_counter", clock(1, 4, 2, 3))
    mx.eval(mx.zeros(1 << 22))
    before = mx.get_peak_memory()
    state = TrainingState({}, Moments({}, {}), Progress(step=5))
    found = rehearsal.rehearse(run_config, prepared, state, choose())
    assert (found.seconds_per_step, found.loss) == (2, 5)
    assert found.peak_memory < before
    assert step.closed
    train = run_config.train
    batches = Batches(
        [prepared.train], context=run_config.model.context, batch_size=4, seed=train.seed
    )
    assert list(step.read) == [5, 6, 7, 8]
    assert all((read == batches.batch_at(n).inputs).all() for n, read in step.read.items())


def test_a_product_of_matrices_is_two_operations_a_place(monkeypatch: pytest.MonkeyPatch) -> None:
    for side in ("_SIDE_ON_CPU", "_SIDE_ON_GPU"):
        monkeypatch.setattr(rehearsal, side, 8)
    monkeypatch.setattr(rehearsal.time, "perf_counter", clock(4, 3, 2, 4, 5))
    assert rehearsal.matrix_speed(Dtype.FLOAT32) == 2 * 8**3 / 2
