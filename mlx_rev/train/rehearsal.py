"""A few steps on trial, to tell how long a training takes and how much memory."""

import time
from dataclasses import dataclass

import mlx.core as mx
import numpy as np

from mlx_rev.backend import Backend
from mlx_rev.config import RunConfig, TrainingDtype
from mlx_rev.data.batches import Batches
from mlx_rev.data.prepare import Prepared
from mlx_rev.train.checkpoint import TrainingState
from mlx_rev.train.step import TrainingStep

_TIMED = 3
"""Steps after the first, in which the step is compiled; the quickest counts."""
_PRODUCTS = 5
_SIDE_ON_CPU, _SIDE_ON_GPU = 1024, 4096


@dataclass(frozen=True)
class Rehearsal:
    """What the trial showed."""

    seconds_per_step: float
    peak_memory: int
    """Bytes that MLX held at most."""
    loss: float
    """Of the first of these steps, in nats per token; a model that knows nothing has
    log(vocabulary)."""


def rehearse(
    config: RunConfig, data: Prepared, state: TrainingState, backend: Backend
) -> Rehearsal:
    """Do the next few steps of a run, of which `data` may be the first part, and keep nothing of
    them, nor of the arrays of `state`."""
    train = backend.decided(config.train)
    backend.prepare(train.workers)
    batches = Batches(
        [part.train for part in data.directions],
        context=config.model.context,
        batch_size=train.batch_size,
        accumulation=train.accumulation,
        seed=train.seed,
        packing=train.packing,
    )
    first = state.progress.step
    step = TrainingStep(config.model, train, state.weights, state.moments, backend=backend)
    state.let_go()
    mx.reset_peak_memory()
    losses, seconds = [], []
    try:
        for number in range(first, first + 1 + _TIMED):
            begin = time.perf_counter()
            loss, norm = step(number, batches.batch_at(number))
            mx.eval(loss, norm, step.weights, step.moments)
            seconds.append(time.perf_counter() - begin)
            losses.append(float(np.array(loss)))
    finally:
        step.close()
    return Rehearsal(min(seconds[1:]), mx.get_peak_memory(), losses[0])


def matrix_speed(dtype: TrainingDtype) -> float:
    """FLOP/s of the default device on large square matrix products."""
    on_cpu = mx.default_device() == mx.Device(mx.cpu)
    side = _SIDE_ON_CPU if on_cpu else _SIDE_ON_GPU
    matrix = mx.ones((side, side), getattr(mx, dtype))
    mx.eval(matrix)
    seconds = []
    for _ in range(_PRODUCTS):
        begin = time.perf_counter()
        mx.eval(matrix @ matrix)
        seconds.append(time.perf_counter() - begin)
    del matrix
    mx.clear_cache()
    mx.reset_peak_memory()  # It is the training's that is asked for.
    return 2 * side**3 / min(seconds)
