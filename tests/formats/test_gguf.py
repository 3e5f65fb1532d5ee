"""The GGUF files that are written here, read by llama.cpp's own Python package."""

from dataclasses import replace
from pathlib import Path

import gguf
import numpy as np
import pytest

from mlx_rev.formats import names
from mlx_rev.formats.convert import convert
from mlx_rev.formats.dtype import Dtype
from mlx_rev.formats.model_file import ModelFile
from mlx_rev.text.tokenizer import BOUNDARY
from tests.formats.conftest import drawn

KINDS = {Dtype.FLOAT32: "F32", Dtype.FLOAT16: "F16", Dtype.Q8: "Q8_0"}


def opened(model: ModelFile, folder: Path, dtype: Dtype) -> gguf.GGUFReader:
    convert(model, folder / "m.gguf", "gguf", dtype)
    return gguf.GGUFReader(folder / "m.gguf")


def value(reader: gguf.GGUFReader, key: str) -> object:
    field = reader.get_field(key)
    assert field is not None, key
    return field.contents()


@pytest.mark.parametrize("tied", [True, False])
@pytest.mark.parametrize("dtype", KINDS)
def test_weights(tmp_path: Path, talking: ModelFile, tied: bool, dtype: Dtype) -> None:
    model = replace(drawn(replace(talking.config, tied=tied), 5), tokenizer=talking.tokenizer)
    reader = opened(model, tmp_path, dtype)
    tensors = {tensor.name: tensor for tensor in reader.tensors}
    assert ("output.weight" in tensors) is not tied
    kinds = {tensor.tensor_type.name for tensor in reader.tensors if len(tensor.shape) > 1}
    assert kinds == {KINDS[dtype]}
    config = model.config
    mapping = gguf.get_tensor_name_map(gguf.MODEL_ARCH.LLAMA, config.n_layers)
    for name, weight in model.weights():
        theirs = tensors[mapping.get_name(name, (".weight",)) or name]
        found = gguf.dequantize(theirs.data, theirs.tensor_type).reshape(weight.shape)
        expected = names.interleaved(weight, names.turned_heads(config, name))
        tolerance = {Dtype.FLOAT32: 0, Dtype.FLOAT16: 2e-3, Dtype.Q8: 0.02}[dtype]
        assert np.abs(found - expected).max() <= tolerance, name


def test_metadata_and_vocabulary(tmp_path: Path, talking: ModelFile) -> None:
    reader = opened(talking, tmp_path, Dtype.FLOAT32)
    config, tokenizer = talking.config, talking.tokenizer
    assert tokenizer is not None
    expected = {
        "general.architecture": "llama",
        "llama.embedding_length": config.dim,
        "llama.block_count": config.n_layers,
        "llama.feed_forward_length": config.hidden_dim,
        "llama.attention.head_count": config.n_heads,
        "llama.attention.head_count_kv": config.n_kv_heads,
        "llama.context_length": config.context,
        "llama.rope.dimension_count": config.head_dim,
        "llama.rope.freq_base": config.rope_theta,
        "tokenizer.ggml.model": "llama",
        "tokenizer.ggml.bos_token_id": BOUNDARY,
        "tokenizer.ggml.eos_token_id": BOUNDARY,
    }
    assert {key: value(reader, key) for key in expected} == expected
    assert value(reader, "llama.attention.layer_norm_rms_epsilon") == pytest.approx(1e-5)
    tokens = value(reader, "tokenizer.ggml.tokens")
    kinds = value(reader, "tokenizer.ggml.token_type")
    assert isinstance(tokens, list)
    assert isinstance(kinds, list)
    assert len(tokens) == len(kinds) == config.vocab_size
    assert tokens[:3] == ["<unk>", "<s>", "</s>"]
    assert kinds[:4] == [
        gguf.TokenType.UNKNOWN, gguf.TokenType.CONTROL, gguf.TokenType.CONTROL, gguf.TokenType.BYTE
    ]  # fmt: skip
    for token in range(259, config.vocab_size):
        assert tokens[token].replace("▁", " ").encode() == tokenizer.piece_bytes[token]
