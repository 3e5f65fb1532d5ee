"""What PyTorch's transformers makes of the folders that are written here.

Runs where torch is: `make parity` installs it.
"""

from dataclasses import replace
from pathlib import Path

import mlx.core as mx
import numpy as np
import pytest

from mlx_rev.config import Dtype, ModelConfig
from mlx_rev.formats.convert import convert
from mlx_rev.formats.detect import built_in_model
from mlx_rev.model.llama import Llama, set_weights
from mlx_rev.text.order import WORD
from mlx_rev.text.sentencepiece import SentencePiece
from mlx_rev.text.tokenizer import BOUNDARY, Tokenizer
from tests.formats.conftest import drawn

pytestmark = [pytest.mark.parity, pytest.mark.filterwarnings("default")]
torch = pytest.importorskip("torch", reason="needs PyTorch: make parity")
transformers = pytest.importorskip("transformers")

TEXTS = ["They were happy.", " two  spaces", "7 é 🙂\n\nand a tab\t", ""]


@pytest.mark.parametrize("tied", [True, False])
@pytest.mark.parametrize("kv_heads", [1, 2, 4])
def test_logits(
    tmp_path: Path, tiny: ModelConfig, tokenizer: Tokenizer, tied: bool, kv_heads: int
) -> None:
    config = replace(tiny, tied=tied, n_kv_heads=kv_heads)
    # A tenth of a normal deviate: far from what training begins with, near what it ends with.
    source = drawn(config, seed=3)
    source = replace(source, tokenizer=tokenizer, read=lambda name, r=source.read: r(name) * 0.1)
    convert(source, tmp_path / "m", "mlx", Dtype.FLOAT32)
    theirs = transformers.AutoModelForCausalLM.from_pretrained(tmp_path / "m")
    mine = Llama(config)
    set_weights(mine, {name: mx.array(weight) for name, weight in source.weights()})
    tokens = np.random.default_rng(0).integers(3, config.vocab_size, (2, 29))
    with torch.no_grad():
        expected = theirs(torch.tensor(tokens)).logits.numpy()
    found = np.array(mine(mx.array(tokens)))
    assert np.abs(expected).max() > 0.1
    assert np.abs(found - expected).max() <= 1e-4


def test_token_ids() -> None:
    theirs = transformers.AutoTokenizer.from_pretrained(built_in_model())
    mine = SentencePiece.load(built_in_model() / "tokenizer.model")
    assert theirs.eos_token_id == theirs.bos_token_id == BOUNDARY
    for text in TEXTS:
        assert theirs(text).input_ids == [BOUNDARY, *mine.encode(text)], text
        assert theirs.decode(mine.encode(text)) == text


def test_the_built_in_model_tells_a_story_that_ends_at_the_boundary() -> None:
    import mlx_rev

    ending = "They all lived happily ever after."
    told = mlx_rev.load().tell(ending, temperature=0.0, repetition_penalty=1.0)
    model = transformers.AutoModelForCausalLM.from_pretrained(built_in_model())
    theirs = transformers.AutoTokenizer.from_pretrained(built_in_model())
    prompt = theirs(WORD.reverse(ending), return_tensors="pt").input_ids
    written = model.generate(prompt, do_sample=False, max_length=256)[0, prompt.shape[1] :].tolist()
    assert written[: len(told.tokens)] == list(told.tokens)
    if told.tokens[-1] == BOUNDARY:
        assert written[-1] == BOUNDARY
