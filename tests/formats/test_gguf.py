"""The GGUF files that are written here, read by llama.cpp's own Python package."""

from dataclasses import replace
from pathlib import Path

import gguf
import numpy as np
import pytest

from mlx_rev.config import Dtype
from mlx_rev.errors import FormatError
from mlx_rev.formats import gguf as our_gguf
from mlx_rev.formats import names
from mlx_rev.formats.convert import convert
from mlx_rev.formats.detect import open_model
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
        expected = names.interleaved(weight, names.rotated_heads(config, name))
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


def without_and_with(
    monkeypatch: pytest.MonkeyPatch, without: set[str], added: dict[str, object]
) -> None:
    """Have a GGUF file written with other metadata than ours."""
    written = our_gguf._metadata

    def metadata(*given: object) -> dict[str, object]:
        made = written(*given)
        return {key: value for key, value in made.items() if key not in without} | added

    monkeypatch.setattr(our_gguf, "_metadata", metadata)


def test_eight_bits_say_which_version_of_the_quantisation(
    tmp_path: Path, talking: ModelFile
) -> None:
    assert value(opened(talking, tmp_path, Dtype.Q8), "general.quantization_version") == 2


def test_what_is_missing_has_its_default(
    tmp_path: Path, talking: ModelFile, monkeypatch: pytest.MonkeyPatch
) -> None:
    config = replace(talking.config, n_kv_heads=talking.config.n_heads)
    keys = {"llama.vocab_size", "llama.rope.freq_base", "llama.attention.head_count_kv"}
    without_and_with(monkeypatch, keys, {})
    model = replace(drawn(config), tokenizer=talking.tokenizer)
    convert(model, tmp_path / "m.gguf")
    assert open_model(tmp_path / "m.gguf").config == config


@pytest.mark.parametrize(
    ("added", "said"),
    [
        ({"llama.rope.scaling.type": "yarn"}, "scaling.type is 'yarn'"),
        ({"llama.rope.scaling.type": "longrope"}, "scaling.type is 'longrope'"),
        (
            {"llama.rope.scaling.type": "linear", "llama.rope.scaling.factor": np.float32(4)},
            r"scaling.factor is 4\.0, expected 1",
        ),
        ({"llama.rope.scaling.factor": np.float32(2)}, r"scaling.factor is 2\.0"),
        ({"llama.rope.scale_linear": np.float32(2)}, r"scale_linear is 2\.0"),
        ({"llama.rope.scaling.attn_factor": np.float32(2)}, r"attn_factor is 2\.0"),
        ({"llama.rope.dimension_count": np.uint32(4)}, "dimension_count is 4, expected .* 8"),
        ({"llama.attention.value_length": np.uint32(16)}, "value_length is 16, expected .* 8"),
    ],
)
def test_positions_that_are_turned_otherwise_are_refused_by_key(
    tmp_path: Path,
    talking: ModelFile,
    monkeypatch: pytest.MonkeyPatch,
    added: dict[str, object],
    said: str,
) -> None:
    without_and_with(monkeypatch, set(), added)
    convert(talking, tmp_path / "m.gguf")
    with pytest.raises(FormatError, match=said):
        open_model(tmp_path / "m.gguf")


@pytest.mark.parametrize("factor", [0.0, 1.0])
def test_a_scaling_of_one_is_none(
    tmp_path: Path, talking: ModelFile, monkeypatch: pytest.MonkeyPatch, factor: float
) -> None:
    added = {"llama.rope.scaling.type": "linear", "llama.rope.scaling.factor": np.float32(factor)}
    without_and_with(monkeypatch, set(), added)
    convert(talking, tmp_path / "m.gguf")
    assert open_model(tmp_path / "m.gguf").config == talking.config
