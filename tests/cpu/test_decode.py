"""What a step of decoding in NumPy leaves to the model. That it says what the model says is in
tests/generate/test_reading.py."""

import mlx.core as mx
import numpy as np
import pytest

from mlx_rev.backend import CPU
from mlx_rev.cpu.decode import NumpyReader, _unseen
from mlx_rev.model.cache import new_cache
from mlx_rev.model.llama import Llama
from tests.forms import random_llama, shape


@pytest.mark.parametrize("length", [1, 4])
def test_only_prompts_are_read_by_the_model(length: int, monkeypatch: pytest.MonkeyPatch) -> None:
    model, shapes = random_llama(shape(), CPU), []
    whole = Llama.next_logits

    def watched(model: Llama, tokens: mx.array, *given: mx.array) -> mx.array:
        shapes.append(tokens.shape)
        return whole(model, tokens, *given)  # type: ignore[arg-type]

    monkeypatch.setattr(Llama, "next_logits", watched)
    reader, cache, start = NumpyReader(model), new_cache(model.config, 2, 16), mx.zeros((2, 1))
    for tokens in (mx.ones((2, length), mx.int32), *[mx.ones((2, 1), mx.int32)] * 3):
        reader(tokens, cache, start)
    assert shapes == [(2, length)]


def test_what_lies_before_a_start_is_not_seen_but_for_the_token_itself() -> None:
    assert _unseen(np.zeros((2, 1), np.int32), 3) is None
    unseen = _unseen(np.array([[0], [2], [9]]), 3)
    assert unseen is not None
    assert unseen[:, 0, 0].astype(int).tolist() == [[0, 0, 0, 0], [1, 1, 0, 0], [1, 1, 1, 0]]
