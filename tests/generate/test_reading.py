"""Whichever form reads tokens one after another, it says what a model says of each row alone."""

from collections.abc import Sequence
from dataclasses import replace

import mlx.core as mx
import numpy as np
import pytest

from mlx_rev.backend import Backend, Reader
from mlx_rev.model.cache import chosen_rows, new_cache
from mlx_rev.model.llama import Llama, get_weights, set_weights
from tests.forms import any_shape, backend, random_llama, shape

__all__ = ["backend"]

PROMPTS = {
    "one id": [[7]],
    "one row": [[1, 9, 44, 13]],
    "rows": [[1, 9, 44], [1, 8, 8], [3, 4, 5]],
    "rows of different length": [[7, 9], [1, 9, 44, 13], [1, 8, 3]],
}


def read(reader: Reader, model: Llama, prompts: Sequence[Sequence[int]]) -> list[np.ndarray]:
    """The logits after each prompt, and after some tokens more, of which the last are read for the
    last and the first of the rows only."""
    longest = max(map(len, prompts))
    padding = mx.array([[longest - len(prompt)] for prompt in prompts])
    aligned = [[1] * (longest - len(prompt)) + [*prompt] for prompt in prompts]
    cache = new_cache(model.config, len(prompts), model.config.context)
    seen = [reader(mx.array(aligned), cache, padding)]
    for token in (17, 5, 299):
        seen.append(reader(mx.full((len(prompts), 1), token), cache, padding))
    rows = [len(prompts) - 1, 0]
    cache, padding = chosen_rows(cache, rows), padding[mx.array(rows)]
    for tokens in ([44, 8], [9, 44]):
        seen.append(reader(mx.array(tokens)[:, None], cache, padding))
    assert {layer.offset.item() for layer in cache} == {longest + 5}
    return seen


def alone(model: Llama, prompts: Sequence[Sequence[int]]) -> list[np.ndarray]:
    """What `read` should give: each row on its own, all at once, in plain MLX."""
    plain = Llama(model.config)
    set_weights(plain, get_weights(model))

    def after(ids: Sequence[int], count: int) -> list[np.ndarray]:
        return list(np.array(plain(mx.array([ids]))[0, -count:].astype(mx.float32)))

    first = [after([*prompt, 17, 5, 299], 4) for prompt in prompts]
    last = [
        after([*prompt, 17, 5, 299, *more], 2)
        for prompt, more in ((prompts[-1], [44, 9]), (prompts[0], [8, 44]))
    ]
    return [np.stack(step) for part in (first, last) for step in zip(*part, strict=True)]


def assert_close(found: list[np.ndarray], expected: list[np.ndarray], tolerance: float) -> None:
    """To a share of the largest logit."""
    for one, other in zip(found, expected, strict=True):
        assert one.dtype == np.float32
        assert one == pytest.approx(other, abs=tolerance * float(np.abs(other).max()))


@any_shape
def test_it_says_what_the_model_says_of_each_row_alone(
    backend: Backend, change: dict[str, float]
) -> None:
    model = random_llama(replace(shape(), **change), backend)  # type: ignore[arg-type]
    reader = backend.reader(model)
    for prompts in PROMPTS.values():
        found, expected = read(reader, model, prompts), alone(model, prompts)
        assert min(float(np.abs(logits).max()) for logits in expected) > 1
        assert_close(found, expected, 1e-5)


def test_it_takes_the_weights_that_the_model_has_when_it_reads_a_prompt(backend: Backend) -> None:
    model, other = (random_llama(shape(), backend, seed) for seed in (1, 8))
    reader, prompts = backend.reader(model), PROMPTS["one row"]
    first = read(reader, model, prompts)
    set_weights(model, get_weights(other))
    second = read(reader, model, prompts)
    assert_close(second, alone(other, prompts), 1e-5)
    assert all(np.abs(one - two).max() > 0.1 for one, two in zip(first, second, strict=True))


@pytest.mark.parametrize("dtype", [mx.bfloat16, mx.float16], ids=str)
@pytest.mark.parametrize("tied", [False, True])
def test_weights_of_half_the_bytes_are_read_too(
    backend: Backend, dtype: mx.Dtype, tied: bool
) -> None:
    """The steps in NumPy are float32's; MLX's own round what is between."""
    model, wide = (random_llama(shape(tied=tied), backend) for _ in range(2))
    model.set_dtype(dtype)
    set_weights(wide, {n: own.astype(mx.float32) for n, own in get_weights(model).items()})
    prompts = PROMPTS["one row"]
    assert_close(read(backend.reader(model), model, prompts), alone(wide, prompts), 0.1)


def test_a_gate_that_is_far_below_zero_gives_no_warning(backend: Backend) -> None:
    model = random_llama(shape(), backend)
    name = "model.layers.0.mlp.gate_proj.weight"
    set_weights(model, get_weights(model) | {name: get_weights(model)[name] * 1000})
    prompts = PROMPTS["one row"]
    assert_close(read(backend.reader(model), model, prompts), alone(model, prompts), 1e-3)
