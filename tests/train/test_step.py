"""The step: in plain form and in the CPU's, on one worker and on several."""

from dataclasses import replace
from functools import cache

import mlx.core as mx
import numpy as np
import pytest

from mlx_rev.backend import CPU, PLAIN, Backend, choose
from mlx_rev.config import Dtype, ModelConfig, TrainConfig
from mlx_rev.cpu import cores, worker
from mlx_rev.cpu.step import _shared_out
from mlx_rev.data.batches import Batch
from mlx_rev.errors import ConfigError
from mlx_rev.model.llama import Llama, Weights, get_weights, initialise
from mlx_rev.model.micro_batch import MicroBatch, micro_batch
from mlx_rev.train import optimizer
from mlx_rev.train.distributed import Nodes
from mlx_rev.train.step import TrainingStep, mean_loss
from tests import reference
from tests.forms import backend, random_batch, shape

__all__ = ["backend"]

CONFIG = TrainConfig(
    steps=10, batch_size=6, accumulation=2, warmup=3, workers=1, learning_rate=3e-3
)

EAGER = replace(CONFIG, compile=False)


def weights_of(config: ModelConfig) -> Weights:
    model = Llama(config)
    initialise(model, 0, 0.1, 0.1)
    return get_weights(model)


def trained(
    backend: Backend, config: ModelConfig, train: TrainConfig, steps: int = 10
) -> tuple[list[float], list[float], Weights]:
    """Losses, norms and final weights."""
    weights = weights_of(config)
    step = TrainingStep(
        config, train, weights, optimizer.initial_moments(weights, train), backend=backend
    )
    losses, norms = [], []
    try:
        for number in range(steps):
            rows = {"accumulation": train.accumulation, "rows": train.batch_size}
            loss, norm = step(number, random_batch(config, number % 3, **rows))
            mx.eval(loss, norm, step.weights, step.moments)
            losses.append(loss.item())
            norms.append(norm.item())
    finally:
        step.close()
    return losses, norms, step.weights


once = cache(trained)
"""`trained`, for what several tests compare with."""


LONG = shape(context=90, dropout=0.1)
"""Of two blocks of attention. What is compiled here is compiled for this shape: another one would
take kernels of its own, at a quarter of a second each."""


@pytest.mark.parametrize(
    ("config", "workers"),
    [
        (shape(), 1),
        (shape(tied=False, n_kv_heads=4), 1),
        (shape(tied=False, n_kv_heads=4), 2),
        (shape(n_kv_heads=1, dropout=0.2), 1),  # each of several workers has masks of its own
    ],
    ids=["tied", "untied", "untied, two workers", "dropout"],
)
def test_ten_losses_are_the_same_in_both_forms(config: ModelConfig, workers: int) -> None:
    plain, plain_norms, _ = once(PLAIN, config, EAGER)
    losses, norms, _ = trained(CPU, config, replace(EAGER, workers=workers))
    assert plain[-1] < plain[0] - 0.05
    assert losses == pytest.approx(plain, rel=1e-6)
    assert norms == pytest.approx(plain_norms, rel=1e-4)


@pytest.mark.parametrize("workers", [1, 2])
def test_ten_losses_are_the_same_compiled(backend: Backend, workers: int) -> None:
    if workers > 1 and backend is PLAIN:
        pytest.skip("the plain form has no workers")
    # Each of several workers has masks of its own, so no plain form is like them.
    like = PLAIN if workers == 1 else CPU
    plain, plain_norms, _ = once(like, LONG, replace(EAGER, workers=workers))
    assert plain[-1] < plain[0] - 0.05
    losses, norms, _ = trained(backend, LONG, replace(CONFIG, workers=workers))
    assert losses == pytest.approx(plain, rel=1e-6)
    assert norms == pytest.approx(plain_norms, rel=1e-4)


def test_the_shape_of_the_presets_gives_the_same_losses_compiled() -> None:
    """Untied, a key head for each query head, no dropout."""
    config = shape(tied=False, n_kv_heads=4)
    plain, plain_norms, _ = once(PLAIN, config, EAGER)
    losses, norms, _ = trained(CPU, config, CONFIG, steps=4)
    assert losses == pytest.approx(plain[:4], rel=1e-6)
    assert norms == pytest.approx(plain_norms[:4], rel=1e-4)


@pytest.mark.parametrize("tied", [True, False])
def test_a_step_is_the_references(backend: Backend, tied: bool) -> None:
    config = shape(tied=tied, context=24)
    train = replace(EAGER, batch_size=2, gradient_clip=0.5, weight_decay=0.3)
    rows, batches = [], [random_batch(config, n % 3, rows=2) for n in range(4)]
    for batch in batches:
        arrays = (batch.inputs, batch.targets, batch.segment_start)
        flat = [array.reshape(-1, config.context).tolist() for array in arrays]
        rows.append(list(zip(*flat, strict=True)))
    expected, weights = reference.train(config, train, weights_of(config), rows)
    losses, _, found = trained(backend, config, train, steps=4)
    assert losses[:3] == pytest.approx(expected[:3], rel=1e-6)
    for name, weight in found.items():
        # After few steps AdamW moves each weight by about its rate whatever the gradient's size,
        # so where the gradient is nearly 0 its rounding counts.
        assert mx.mean(mx.abs(weight - weights[name])).item() < 2e-5, name


def test_bfloat16_trains() -> None:
    """In the plain form; the CPU's refuses it, being slow at it."""
    config = shape(context=32)
    full, _, _ = trained(PLAIN, config, EAGER)
    half, _, weights = trained(PLAIN, config, replace(EAGER, dtype=Dtype.BFLOAT16))
    assert half != full
    assert half == pytest.approx(full, rel=0.01)
    assert all(weight.dtype == mx.float32 for weight in weights.values())


def test_the_forward_pass_is_in_bfloat16_and_the_loss_in_float32() -> None:
    config = shape(context=32)
    model, weights = Llama(config), weights_of(config)
    given = micro_batch(random_batch(config), 0, seed=0)
    loss = mean_loss(model, mx.bfloat16, weights, given)
    assert loss.dtype == mx.float32
    logits = model(given.inputs, segment_start=given.segment_start)
    assert logits.dtype == mx.bfloat16
    logits, targets = np.array(logits.astype(mx.float32), np.float64), np.array(given.targets)
    own = np.take_along_axis(logits, np.maximum(targets, 0)[..., None], axis=-1)[..., 0]
    nats = np.log(np.exp(logits).sum(axis=-1)) - own
    assert loss.item() == pytest.approx(nats[targets >= 0].sum() * given.share.item(), rel=1e-5)


def test_no_dropout_mask_is_used_twice(backend: Backend, monkeypatch: pytest.MonkeyPatch) -> None:
    """In no step, micro-batch, worker, place in the model, or run of another seed."""
    seen: list[bytes] = []

    def watched(x: mx.array, rate: float, key: mx.array) -> mx.array:
        seen.append(np.array(key).tobytes())
        return x

    monkeypatch.setattr("mlx_rev.model.llama.dropout", watched)
    workers = 2 if backend is CPU else 1
    train = replace(EAGER, workers=workers)
    for seed in (1, 2):
        trained(backend, shape(dropout=0.5, context=8), replace(train, seed=seed), steps=2)
    assert len(seen) == 2 * 2 * 2 * workers * 5
    assert len(set(seen)) == len(seen)


class OneOfTwo(Nodes):
    """One of two machines, which adds up with nobody."""

    count = 2  # type: ignore[assignment]
    number = 0  # type: ignore[assignment]

    def __init__(self, number: int) -> None:
        self.number = number  # type: ignore[misc]

    def sum(self, loss: mx.array, gradients: Weights) -> tuple[mx.array, Weights]:
        return loss, gradients


def test_machines_read_other_rows_and_drop_other_places(
    backend: Backend, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Together they read every row once, and no two have a mask in common."""
    masks: list[bytes] = []
    rows: list[bytes] = []

    def watched(x: mx.array, rate: float, key: mx.array) -> mx.array:
        masks.append(np.array(key).tobytes())
        return x

    def reading(batch: Batch, index: int, seed: int) -> MicroBatch:
        rows.extend(row.tobytes() for row in batch.inputs[index])
        return micro_batch(batch, index, seed)

    monkeypatch.setattr("mlx_rev.model.llama.dropout", watched)
    for module in ("mlx_rev.train.step", "mlx_rev.cpu.worker"):
        monkeypatch.setattr(f"{module}.micro_batch", reading)
    config = shape(dropout=0.5, context=8)
    workers = 2 if backend is CPU else 1
    train = replace(EAGER, workers=workers)
    batch, weights = random_batch(config), weights_of(config)
    for number in range(2):
        moments = optimizer.initial_moments(weights, train)
        step = TrainingStep(config, train, weights, moments, OneOfTwo(number), backend)
        mx.eval(step(0, batch))
        step.close()
    assert sorted(rows) == sorted(row.tobytes() for row in batch.inputs.reshape(12, 8))
    assert len(masks) == 2 * 2 * workers * 5
    assert len(set(masks)) == len(masks)


def test_nothing_retraces(backend: Backend, monkeypatch: pytest.MonkeyPatch) -> None:
    """Other tokens, rates and norms are new values of the same arrays."""
    calls = {"forward": 0, "update": 0}
    forward, update = Llama.project, optimizer.update
    branches = worker.branch_outputs

    def count(name: str, function):
        def counted(*arguments, **named):
            calls[name] += 1
            return function(*arguments, **named)

        return counted

    monkeypatch.setattr(Llama, "project", count("forward", forward))
    monkeypatch.setattr(worker, "branch_outputs", count("forward", branches))
    monkeypatch.setattr(optimizer, "update", count("update", update))
    trained(backend, LONG, CONFIG, steps=6)
    # The CPU's form compiles the first micro-batch and the ones that are added to it.
    assert calls == {"forward": 2 if backend is CPU else 1, "update": 1}


@pytest.mark.parametrize("workers", [2, 3])
def test_any_number_of_workers_trains_alike(workers: int) -> None:
    config = shape(tied=False, context=32)
    losses, norms, weights = once(CPU, config, EAGER)
    shared, shared_norms, others = trained(CPU, config, replace(EAGER, workers=workers))
    assert losses[0] > losses[-1] + 0.1
    assert shared == pytest.approx(losses, abs=1e-4)
    assert shared_norms == pytest.approx(norms, rel=1e-3)
    assert list(others) == list(weights)


def test_pieces_change_no_bit(tiny: ModelConfig, monkeypatch: pytest.MonkeyPatch) -> None:
    config = replace(EAGER, workers=2)
    losses, norms, weights = trained(CPU, tiny, config, steps=4)
    monkeypatch.setattr(worker, "_LONGEST_IN_PIECES", 0)
    whole_losses, whole_norms, whole = trained(CPU, tiny, config, steps=4)
    assert (losses, norms) == (whole_losses, whole_norms)
    assert all(bool((weights[name] == whole[name]).all()) for name in weights)


def test_a_step_takes_over_the_memory_of_the_one_before(backend: Backend) -> None:
    mx.clear_cache()  # an array counts as large as the freed one whose place it takes
    config = replace(LONG, vocab_size=5000)
    weights = weights_of(config)
    size = sum(array.nbytes for array in weights.values())
    step = TrainingStep(
        config, CONFIG, weights, optimizer.initial_moments(weights, CONFIG), backend=backend
    )
    del weights
    mx.eval(step.weights, step.moments)
    before = mx.get_active_memory()
    for _ in range(3):
        step(0, random_batch(config))
        mx.eval(step.weights, step.moments)
    assert mx.get_active_memory() < before + size / 10
    step.close()


def test_weights_are_shared_out_evenly(tiny: ModelConfig) -> None:
    weights = weights_of(replace(tiny, n_layers=6))
    shares = _shared_out(weights, 3)
    assert sorted(name for share in shares for name in share) == sorted(weights)
    sizes = [sum(weights[name].size for name in share) for share in shares]
    assert max(sizes) < 1.2 * min(sizes)


def test_more_workers_than_rows_are_refused(tiny: ModelConfig) -> None:
    weights, config = weights_of(tiny), replace(CONFIG, workers=7)
    with pytest.raises(ConfigError, match=r"is 6, expected 7 or more: .* 7 workers .* --workers"):
        TrainingStep(tiny, config, weights, optimizer.initial_moments(weights, config), backend=CPU)
    config = replace(CONFIG, batch_size=1)
    with pytest.raises(ConfigError, match=r"is 1, expected 2 or more: .* 1 workers on 2 machines"):
        TrainingStep(tiny, config, weights, optimizer.initial_moments(weights, config), OneOfTwo(0))


def test_what_a_backend_decides() -> None:
    assert PLAIN.decided(replace(CONFIG, workers=0)).workers == 1
    assert 1 <= CPU.decided(replace(CONFIG, workers=0)).workers <= CONFIG.batch_size
    assert CPU.decided(replace(CONFIG, workers=3)).workers == 3
    with pytest.raises(ConfigError, match="only a CPU's step"):
        PLAIN.decided(replace(CONFIG, workers=2))
    with pytest.raises(ConfigError, match="bfloat16 on CPU"):
        CPU.decided(replace(CONFIG, dtype=Dtype.BFLOAT16))


def test_machines_share_the_rows_before_cores_do(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(cores, "cores", lambda: 16)
    shared_out = [CPU.decided(replace(CONFIG, workers=0), nodes).workers for nodes in (1, 2, 4, 9)]
    assert shared_out == [6, 3, 1, 1]


def test_a_run_is_carried_on_with_the_workers_that_there_can_be() -> None:
    for workers, on_a_gpu in ((0, 0), (1, 1), (4, 1)):
        recorded = replace(CONFIG, workers=workers)
        assert CPU.carried_on(recorded) == recorded
        assert PLAIN.carried_on(recorded).workers == on_a_gpu


def test_a_cpu_is_one_unless_it_is_off(monkeypatch: pytest.MonkeyPatch) -> None:
    on_cpu = mx.default_device() == mx.Device(mx.cpu)
    for value, expected in (("", CPU if on_cpu else PLAIN), ("off", PLAIN)):
        monkeypatch.setenv("MLX_REV_CPU", value)
        assert choose() == expected
    monkeypatch.setenv("MLX_REV_CPU", "0")
    with pytest.raises(ConfigError, match=r"^MLX_REV_CPU is '0', expected off"):
        choose()


def test_a_row_for_each_worker_is_enough(tiny: ModelConfig) -> None:
    config = replace(CONFIG, workers=CONFIG.batch_size)
    weights = weights_of(tiny)
    step = TrainingStep(
        tiny, config, weights, optimizer.initial_moments(weights, config), backend=CPU
    )
    step.close()
