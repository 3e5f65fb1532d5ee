"""Steps of decoding that are compiled in the background."""

import mlx.core as mx
import numpy as np
import pytest

from mlx_rev.config import ModelConfig
from mlx_rev.cpu.decode import CompiledReader
from mlx_rev.cpu.ops import CpuOps
from mlx_rev.model.cache import Cache, new_cache
from mlx_rev.model.llama import Llama, initialise


@pytest.fixture(scope="module")
def model(tiny: ModelConfig) -> Llama:
    """A small model with weights drawn at random."""
    model = Llama(tiny, CpuOps())
    initialise(model, 3, 0.2, 0.2)
    return model


def logits(reader: CompiledReader, model: Llama, rows: int, tokens: list[int]) -> np.ndarray:
    """After each of the tokens, read one by one: (len(tokens), rows, vocabulary)."""
    cache, seen = new_cache(model.config, rows, model.config.context), []
    padding = mx.zeros((rows, 1), dtype=mx.int32)
    for token in tokens:
        seen.append(np.array(reader(mx.full((rows, 1), token), cache, padding)))
    assert cache[0].offset.item() == len(tokens)
    return np.array(seen)


@pytest.mark.parametrize("rows", [1, 3])
def test_compiled_steps_give_the_same_bits(model: Llama, rows: int) -> None:
    tokens = [1, 17, 5, 300, 44, 44, 8]
    reader = CompiledReader(model)
    before = logits(reader, model, rows, tokens)
    reader.warm_up()
    meanwhile = logits(reader, model, rows, tokens)
    reader.wait()
    after = logits(reader, model, rows, tokens)
    assert (before == meanwhile).all()
    assert (before == after).all()


def test_what_is_compiled_is_used(tiny: ModelConfig, monkeypatch: pytest.MonkeyPatch) -> None:
    model = Llama(tiny, CpuOps())
    initialise(model, 3)  # so far only promised: the other thread could not compute them
    reader = CompiledReader(model)
    reader.warm_up()
    reader.warm_up()
    reader.wait()
    expected = logits(reader, model, 1, [1, 2, 3])
    monkeypatch.setattr(model, "next_logits", None)
    assert (logits(reader, model, 1, [1, 2, 3, 4])[:3] == expected).all()
    with pytest.raises(TypeError):
        logits(reader, model, 2, [1])


def test_what_is_compiled_beforehand_is_what_one_story_is_read_with(
    model: Llama, monkeypatch: pytest.MonkeyPatch
) -> None:
    """MLX traces once a thread, but the kernels of the same shapes and types are there."""
    traced = []
    read = Llama.next_logits

    def tracing(model: Llama, tokens: mx.array, cache: Cache, start: mx.array) -> mx.array:
        arrays = (tokens, start, cache[0].keys, cache[0].values, cache[0].offset)
        traced.append([(array.shape, array.dtype) for array in arrays])
        return read(model, tokens, cache, start)

    monkeypatch.setattr(Llama, "next_logits", tracing)
    reader = CompiledReader(model)
    reader.warm_up()
    reader.wait()
    logits(reader, model, 1, [1, 2, 3])
    assert len(traced) == 2
    assert traced[0] == traced[1]
