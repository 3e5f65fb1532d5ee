"""A step of decoding in NumPy says what the model says."""

from dataclasses import replace

import mlx.core as mx
import numpy as np
import pytest

from mlx_rev.backend import PlainReader, Reader
from mlx_rev.config import ModelConfig
from mlx_rev.cpu.decode import NumpyReader
from mlx_rev.cpu.ops import CpuOps
from mlx_rev.model.cache import chosen_rows, new_cache
from mlx_rev.model.llama import Llama, get_weights, initialise, set_weights


def random_model(config: ModelConfig, seed: int = 3) -> Llama:
    model = Llama(config, CpuOps())
    initialise(model, seed, 0.3, 0.5)
    norms = {name: 1 + 0.3 * mx.random.normal(own.shape)
             for name, own in get_weights(model).items() if own.ndim == 1}  # fmt: skip
    set_weights(model, get_weights(model) | norms)
    return model


def read(reader: Reader, model: Llama, prompt: np.ndarray, padding: list[int]) -> np.ndarray:
    """The logits after a prompt (B, T), and after some tokens more, of which the last are read for
    two of the rows only: a list of all rows' logits, one below the other."""
    cache, start = new_cache(model.config, len(prompt), model.config.context), mx.array(padding)
    start = start[:, None]
    seen = [reader(mx.array(prompt), cache, start)]
    for token in (17, 5, 300):
        seen.append(reader(mx.full((len(prompt), 1), token), cache, start))
    cache, start = chosen_rows(cache, [len(prompt) - 1, 0]), start[mx.array([len(prompt) - 1, 0])]
    for tokens in ([44, 8], [9, 44]):
        seen.append(reader(mx.array(tokens)[:, None], cache, start))
    assert {layer.offset.item() for layer in cache} == {prompt.shape[1] + 5}
    return np.concatenate(seen)


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
@pytest.mark.parametrize("padding", [[0], [0, 0, 0], [2, 0, 1]], ids=str)
@pytest.mark.parametrize("length", [1, 4])
def test_its_steps_say_what_the_model_says(
    tiny: ModelConfig, change: dict[str, float], padding: list[int], length: int
) -> None:
    model = random_model(replace(tiny, **change))  # type: ignore[arg-type]
    prompt = np.random.default_rng(0).integers(3, 300, (len(padding), length)).astype(np.int32)
    starts = [min(start, length - 1) for start in padding]
    expected = read(PlainReader(model), model, prompt, starts)
    found = read(NumpyReader(model), model, prompt, starts)
    assert np.abs(expected).max() > 3
    assert found == pytest.approx(expected, abs=2e-5 * float(np.abs(expected).max()))
    assert found.dtype == np.float32


def test_it_takes_the_weights_that_the_model_has_when_it_reads_a_prompt(tiny: ModelConfig) -> None:
    model, other = random_model(tiny), random_model(tiny, 8)
    reader, prompt = NumpyReader(model), np.array([[1, 7, 9]])
    first = read(reader, model, prompt, [0])
    set_weights(model, get_weights(other))
    second = read(reader, model, prompt, [0])
    assert second == pytest.approx(read(PlainReader(other), other, prompt, [0]), abs=1e-3)
    assert np.abs(second - first).max() > 0.1


@pytest.mark.parametrize("dtype", [mx.bfloat16, mx.float16], ids=str)
@pytest.mark.parametrize("tied", [False, True])
def test_weights_of_half_the_bytes_are_read_too(
    tiny: ModelConfig, dtype: mx.Dtype, tied: bool
) -> None:
    """The steps in NumPy are float32's; the model's own round what is between."""
    model, wide = (random_model(replace(tiny, tied=tied)) for _ in range(2))
    model.set_dtype(dtype)
    set_weights(wide, {n: own.astype(mx.float32) for n, own in get_weights(model).items()})
    prompt = np.array([[1, 7, 9]])
    expected = read(PlainReader(wide), wide, prompt, [0])
    for reader in (NumpyReader(model), PlainReader(model)):
        found = read(reader, model, prompt, [0])
        assert found.dtype == np.float32
        assert found == pytest.approx(expected, abs=0.1 * float(np.abs(expected).max()))


def test_only_prompts_are_read_by_the_model(
    tiny: ModelConfig, monkeypatch: pytest.MonkeyPatch
) -> None:
    model, shapes = random_model(tiny), []
    whole = Llama.next_logits

    def watched(model: Llama, tokens: mx.array, *given: mx.array) -> mx.array:
        shapes.append(tokens.shape)
        return whole(model, tokens, *given)  # type: ignore[arg-type]

    monkeypatch.setattr(Llama, "next_logits", watched)
    for length in (1, 4):
        read(NumpyReader(model), model, np.ones((2, length), np.int32), [0, 0])
    assert shapes == [(2, 1), (2, 4)]
    read(PlainReader(model), model, np.ones((2, 4), np.int32), [0, 0])
    assert len(shapes) == 8


def test_a_gate_that_is_far_below_zero_gives_no_warning(tiny: ModelConfig) -> None:
    model = random_model(tiny)
    name = "model.layers.0.mlp.gate_proj.weight"
    set_weights(model, get_weights(model) | {name: get_weights(model)[name] * 1000})
    expected = read(PlainReader(model), model, np.array([[1, 7]]), [0])
    found = read(NumpyReader(model), model, np.array([[1, 7]]), [0])
    assert found == pytest.approx(expected, rel=1e-3, abs=1e-3 * float(np.abs(expected).max()))
