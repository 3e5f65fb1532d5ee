"""Steps of decoding that are compiled in the background."""

import mlx.core as mx
import numpy as np
import pytest

from mlx_rev.config import ModelConfig
from mlx_rev.generate.extending import Extension
from mlx_rev.model.llama import Cache, Llama, initialise


@pytest.fixture(scope="module")
def model(tiny: ModelConfig) -> Llama:
    """A small model with weights drawn at random."""
    model = Llama(tiny)
    initialise(model, 3, 0.2, 0.2)
    return model


def logits(extension: Extension, model: Llama, rows: int, tokens: list[int]) -> np.ndarray:
    """After each of the tokens, read one by one: (len(tokens), rows, vocabulary)."""
    cache, seen = model.new_cache(rows, model.config.context), []
    padding = mx.zeros((rows,), dtype=mx.int32)
    for slot, token in enumerate(tokens):
        after, cache = extension(mx.full((rows, 1), token), cache, mx.array([slot]), padding)
        assert isinstance(cache, Cache)
        seen.append(np.array(after))
    return np.array(seen)


@pytest.mark.parametrize("rows", [1, 3])
def test_compiled_steps_give_the_same_bits(model: Llama, rows: int) -> None:
    tokens = [1, 17, 5, 300, 44, 44, 8]
    extension = Extension(model)
    before = logits(extension, model, rows, tokens)
    extension.warm_up()
    meanwhile = logits(extension, model, rows, tokens)
    extension.wait()
    after = logits(extension, model, rows, tokens)
    assert (before == meanwhile).all()
    assert (before == after).all()


def test_what_is_compiled_is_used(tiny: ModelConfig, monkeypatch: pytest.MonkeyPatch) -> None:
    model = Llama(tiny)
    initialise(model, 3)  # so far only promised: the other thread could not compute them
    extension = Extension(model)
    extension.warm_up()
    extension.warm_up()
    extension.wait()
    expected = logits(extension, model, 1, [1, 2, 3])
    monkeypatch.setattr(model, "extend", None)
    assert (logits(extension, model, 1, [1, 2, 3, 4])[:3] == expected).all()
    with pytest.raises(TypeError):
        logits(extension, model, 2, [1])
