"""What cannot fit is refused before anything is allocated; what ran before still may."""

from dataclasses import replace

import pytest

from mlx_rev import estimate
from mlx_rev.config import (
    Dtype,
    ModelConfig,
    OptimizerName,
    RunConfig,
    SampleConfig,
    TrainConfig,
    validate,
    validate_run,
)
from mlx_rev.errors import ConfigError
from mlx_rev.formats import names
from mlx_rev.model.cache import new_cache
from mlx_rev.model.llama import Llama, get_weights
from mlx_rev.presets import preset, presets
from mlx_rev.train.optimizer import initial_moments


@pytest.mark.parametrize("name", presets())
def test_every_preset_fits_in_16_gb(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(estimate, "machine_memory", lambda: 16 * 10**9)
    validate_run(preset(name))


@pytest.mark.parametrize("tied", [True, False])
def test_parameters_are_those_of_the_weights(tied: bool) -> None:
    model = ModelConfig(n_kv_heads=2, tied=tied)
    sizes = (
        shape[0] * (shape[1] if len(shape) > 1 else 1) for shape in names.shapes(model).values()
    )
    assert estimate.parameters(model) == sum(sizes)


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"dim": 10**8}, "dim is 100000000, expected at most 1048576"),
        ({"hidden_dim": 10**12}, "hidden_dim is 1000000000000, expected at most"),
        ({"context": 10**9}, "context is 1000000000, expected at most"),
        ({"context": 1}, "context is 1, expected 2 or more"),
        ({"dim": 1 << 20, "hidden_dim": 1 << 20}, "need at least .* of memory, this machine has"),
        ({"accumulation": 10**9}, "accumulation 1000000000 need .* of memory"),
        ({"batch_size": 10**9}, "batch_size 1000000000 and .* need"),
        ({"batch_size": 10**30}, "batch_size is 1" + "0" * 30),
        ({"steps": 1 << 53}, "expected under 2\\^53"),
    ],
)
def test_sizes_that_no_machine_has_are_refused(changes: dict[str, int], said: str) -> None:
    model = {name: value for name, value in changes.items() if hasattr(ModelConfig(), name)}
    train = {name: value for name, value in changes.items() if name not in model}
    run = RunConfig(model=replace(ModelConfig(), **model), train=replace(TrainConfig(), **train))
    with pytest.raises(ConfigError, match=said) as caught:
        validate_run(run)
    assert "\n" not in str(caught.value)


def test_each_machine_needs_memory_for_its_own_rows(monkeypatch: pytest.MonkeyPatch) -> None:
    big = preset("110m")
    run = replace(big, train=replace(big.train, batch_size=32))
    alone, shared = (estimate.training_bytes(run.model, run.train, nodes) for nodes in (1, 2))
    half = estimate.training_bytes(run.model, replace(run.train, batch_size=16))
    assert half < shared < half * 1.01  # the batch itself is everywhere
    monkeypatch.setattr(estimate, "machine_memory", lambda: (alone + shared) // 2)
    validate_run(run, nodes=2)
    with pytest.raises(ConfigError, match=r"batch_size 32 and .* need"):
        validate_run(run)


def test_operations_are_those_of_heads_of_any_size() -> None:
    usual, wide = ModelConfig(dim=64, n_heads=4), ModelConfig(dim=64, n_heads=4, head_size=32)
    attention = [
        estimate.training_flops(model) - 6 * estimate.parameters(model) for model in (usual, wide)
    ]
    assert attention[0] == 12 * usual.n_layers * 64 * usual.context
    assert attention[1] == 2 * attention[0]
    assert estimate.training_flops(replace(usual, tied=False)) == estimate.training_flops(usual)


@pytest.mark.parametrize("name", ["adamw", "muon"])
def test_memory_is_counted_that_the_arrays_take(tiny: ModelConfig, name: OptimizerName) -> None:
    """Of a step: each row takes as much as the next."""
    train = TrainConfig(optimizer=name, batch_size=1)
    weights = get_weights(Llama(tiny))
    one, two = (estimate.training_bytes(tiny, replace(train, batch_size=n)) for n in (1, 2))
    arrays = (weights, weights, *initial_moments(weights, train))  # a gradient is like its weight
    held = [sum(array.nbytes for array in kind.values()) for kind in arrays]
    assert one - (two - one) == sum(held)
    half = estimate.training_bytes(tiny, replace(train, dtype=Dtype.BFLOAT16))
    kept = tiny.context * tiny.n_layers * (tiny.dim + 2 * tiny.hidden_dim)
    assert one - half == 2 * kept
    cache = sum(layer.keys.nbytes + layer.values.nbytes for layer in new_cache(tiny, 3, 96))
    assert estimate.telling_bytes(tiny, 3) == held[0] + cache


@pytest.mark.parametrize(
    ("size", "said"),
    [
        (999, "999 B"),
        (999_499, "999 kB"),
        (999_999, "1 MB"),
        (25_300_000_000, "25.3 GB"),
        (999_999_999_999, "1 TB"),
        (10**15 - 1, "1 PB"),
        (25 * 10**17, "2,500 PB"),
    ],
)
def test_a_size_is_said_in_three_digits(size: int, said: str) -> None:
    assert estimate._size(size) == said


def test_stories_told_at_once_have_to_fit() -> None:
    estimate.check_telling_fits(ModelConfig(), 100)
    with pytest.raises(ConfigError, match=r"1000000000 stories at once need .* --count"):
        estimate.check_telling_fits(ModelConfig(), 10**9)


def test_counts_are_whole_numbers() -> None:
    validate(SampleConfig(top_k=10**9, seed=1 << 60), TrainConfig(seed=1 << 60))
    with pytest.raises(ConfigError, match=r"top_k is 1e\+30, expected a whole number"):
        validate(SampleConfig(top_k=1e30))  # type: ignore[arg-type]
