"""Damaged and lying files of every format end in a FormatError, or are read right."""

import json
import struct
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from mlx_rev.config import Dtype
from mlx_rev.errors import DataError, FormatError
from mlx_rev.formats import gguf
from mlx_rev.formats.convert import convert
from mlx_rev.formats.detect import open_model
from mlx_rev.formats.model_file import ModelFile
from mlx_rev.formats.tokenizers import tokenizer_bin
from mlx_rev.text.sentencepiece import SentencePiece
from mlx_rev.text.tokenizer import Tokenizer

FILES = {"gguf": "m.gguf", "mlx": "m", "llama2c-v2": "m.bin"}


def read_all(path: Path) -> None:
    for _ in open_model(path).weights():
        pass


def weight_file(folder: Path, talking: ModelFile, to: str) -> Path:
    target = folder / FILES[to]
    convert(talking, target, to, Dtype.Q8 if to == "llama2c-v2" else Dtype.FLOAT32)
    (folder / "m.bin.json").unlink(missing_ok=True)
    return target / "model.safetensors" if to == "mlx" else target


@pytest.mark.parametrize("to", FILES)
def test_cut_anywhere_it_is_refused(tmp_path: Path, talking: ModelFile, to: str) -> None:
    path = weight_file(tmp_path, talking, to)
    whole = path.read_bytes()
    rng = np.random.default_rng(0)
    for size in [0, 3, 7, 8, 9, *rng.integers(10, len(whole), 40)]:
        path.write_bytes(whole[:size])
        with pytest.raises((FormatError, DataError)):
            read_all(tmp_path / FILES[to])


@pytest.mark.parametrize("to", FILES)
def test_flipped_bits_in_the_head_raise_nothing_else(
    tmp_path: Path, talking: ModelFile, to: str
) -> None:
    path = weight_file(tmp_path, talking, to)
    whole = path.read_bytes()
    rng = np.random.default_rng(1)
    head = 256 if to == "llama2c-v2" else 1500
    for _ in range(300):
        content = bytearray(whole)
        content[rng.integers(0, head)] ^= 1 << int(rng.integers(0, 8))
        path.write_bytes(content)
        try:
            read_all(tmp_path / FILES[to])
        except (FormatError, DataError):
            continue


def change(key: str, value: object) -> Callable[[dict[str, object]], None]:
    def apply(config: dict[str, object]) -> None:
        if value is None:
            del config[key]
        else:
            config[key] = value

    return apply


@pytest.mark.parametrize(
    ("key", "value", "said"),
    [
        ("model_type", "mistral", "model_type is 'mistral'"),
        ("hidden_size", None, "hidden_size is missing"),
        ("hidden_size", -32, "dim is -32"),
        ("hidden_size", "many", "hidden_size is 'many', expected a whole number"),
        ("hidden_size", 128.5, r"hidden_size is 128\.5, expected a whole number"),
        ("max_position_embeddings", 134217728, "context is 134217728"),
        ("max_position_embeddings", 2**33, "context is 8589934592"),
        ("rms_norm_eps", float("inf"), "rms_norm_eps is inf, expected a finite"),
        ("rope_theta", float("nan"), "rope_theta is nan, expected a finite"),
        ("rope_theta", 500, "rope_theta is 500 and 10000"),
        ("rope_parameters", "x", "rope_parameters is 'x', expected an object"),
        ("rope_scaling", {"type": "yarn"}, "type is 'yarn', expected 'default' or 'llama3'"),
        ("rope_scaling", {"type": "llama3"}, "factor is missing"),
        ("rope_scaling", {"type": "llama3", "factor": 0.5}, "rope_factor .* 1 or more"),
        ("tie_word_embeddings", "false", "tie_word_embeddings is 'false'"),
        ("mlx_rev", {"reversal": []}, r"reversal is \[\], expected a string"),
        ("mlx_rev", {"tokenizer_sha256": 5}, "tokenizer_sha256 is 5, expected a string"),
        ("num_attention_heads", 5, "n_kv_heads 2 does not divide"),
        ("attention_bias", True, "attention_bias is True"),
        ("hidden_act", "gelu", "hidden_act is 'gelu'"),
        ("head_dim", 16, "q_proj.weight has shape"),
        ("head_dim", 0, "head_dim is 0"),
        ("rope_parameters", {"rope_type": "linear"}, "rope_type is 'linear'"),
        ("vocab_size", 401, "has shape"),
        ("tie_word_embeddings", False, r"lm_head\.weight is missing"),
        ("mlx_rev", {"reversal": "sideways"}, "reversal is 'sideways'"),
        ("mlx_rev", {"tokenizer_sha256": "0" * 64}, "the model was trained with 000"),
    ],
)
def test_a_config_that_cannot_be_is_refused_by_field(
    tmp_path: Path, talking: ModelFile, key: str, value: object, said: str
) -> None:
    convert(talking, tmp_path / "m", "mlx", Dtype.FLOAT32)
    path = tmp_path / "m" / "config.json"
    config = json.loads(path.read_text())
    change(key, value)(config)
    path.write_text(json.dumps(config))
    with pytest.raises(FormatError, match=said):
        open_model(tmp_path / "m")


@pytest.mark.parametrize(
    "harm",
    [
        {"shape": [2**31, 2**31]},
        {"shape": [2**70]},
        {"shape": ["3"]},
        {"shape": 32},
        {"dtype": "F8"},
        {"dtype": ["F32"]},
        {"data_offsets": [0, 2**40]},
        {"data_offsets": [0, 128]},
        {"data_offsets": [0, float("inf")]},
        {"data_offsets": [0]},
    ],
    ids=str,
)
def test_a_safetensors_header_that_lies_is_refused(
    tmp_path: Path, talking: ModelFile, harm: dict[str, object]
) -> None:
    convert(talking, tmp_path / "m", "mlx", Dtype.FLOAT32)
    path = tmp_path / "m" / "model.safetensors"
    header, data = parts(path)
    header["model.norm.weight"] |= harm
    rejoin(path, json.dumps(header).encode(), data)
    with pytest.raises(FormatError, match=r"model\.|dtype|shape|data_offsets"):
        open_model(tmp_path / "m")


def parts(path: Path) -> tuple[dict[str, dict[str, object]], bytes]:
    """Header and data of a safetensors file."""
    content = path.read_bytes()
    end = 8 + struct.unpack_from("<Q", content)[0]
    return json.loads(content[8:end]), content[end:]


def rejoin(path: Path, header: bytes, data: bytes) -> None:
    path.write_bytes(struct.pack("<Q", len(header)) + header + data)


def test_a_header_nested_without_end_is_refused(tmp_path: Path, talking: ModelFile) -> None:
    convert(talking, tmp_path / "m", "mlx", Dtype.FLOAT32)
    deep = b'{"a":' * 200_000 + b"1" + b"}" * 200_000
    path = tmp_path / "m" / "model.safetensors"
    rejoin(path, deep, parts(path)[1])
    with pytest.raises(FormatError):
        open_model(tmp_path / "m")
    (tmp_path / "m" / "config.json").write_bytes(deep)
    with pytest.raises(FormatError):
        open_model(tmp_path / "m")


@pytest.mark.parametrize("to", ["mlx", "gguf"])
def test_bytes_after_the_last_tensor_are_refused(
    tmp_path: Path, talking: ModelFile, to: str
) -> None:
    path = weight_file(tmp_path, talking, to)
    with open(path, "ab") as file:
        file.write(b"more")
    with pytest.raises(FormatError, match="truncated or damaged"):
        open_model(tmp_path / FILES[to])


@pytest.mark.parametrize(
    ("key", "value", "said"),
    [
        ("llama.context_length", np.uint32(1 << 31), "context is 2147483648"),
        ("llama.context_length", np.uint64(1 << 33), "context is 8589934592"),
        ("llama.context_length", np.float32(96), r"context_length is 96\.0, expected a whole"),
        ("llama.context_length", True, "context_length is True, expected a whole"),
        ("llama.context_length", "96", "context_length is '96', expected a whole"),
        ("llama.rope.freq_base", np.float32("nan"), "freq_base is nan, expected a finite"),
        ("general.alignment", np.uint32(48), "general.alignment is 48, expected a power of 2"),
        ("general.alignment", np.uint32(1 << 20), "general.alignment is 1048576"),
        ("general.architecture", ["llama"], "general.architecture is"),
        ("tokenizer.ggml.tokens", np.uint32(5), "tokens is 5, expected a list"),
        ("tokenizer.ggml.scores", ["a"], r"scores is \['a'\], expected a list of numbers"),
        ("tokenizer.ggml.token_type", np.ones(400, np.float32), "expected a list of whole"),
        ("tokenizer.ggml.token_type", np.full(400, 9, np.int32), "token_type has 9"),
        ("tokenizer.ggml.scores", np.full(400, np.nan, np.float32), "score of piece 0 is nan"),
        ("mlx_rev.reversal", ["word"], "reversal is .*expected a string"),
        ("mlx_rev.reversal", "sideways", "reversal is 'sideways'"),
    ],
)
def test_metadata_of_a_wrong_type_is_refused_by_key(
    tmp_path: Path,
    talking: ModelFile,
    monkeypatch: pytest.MonkeyPatch,
    key: str,
    value: object,
    said: str,
) -> None:
    written = gguf._metadata
    monkeypatch.setattr(gguf, "_metadata", lambda *given: written(*given) | {key: value})
    convert(talking, tmp_path / "m.gguf", "gguf", Dtype.FLOAT32)
    with pytest.raises(FormatError, match=said):
        open_model(tmp_path / "m.gguf")


@pytest.mark.parametrize(
    ("to", "dtype", "largest"),
    [
        ("mlx", Dtype.FLOAT16, 1e5),
        ("mlx", Dtype.BFLOAT16, 3.4e38),
        ("mlx", Dtype.Q8, 1e5),
        ("gguf", Dtype.FLOAT16, 1e5),
        ("gguf", Dtype.Q8, 1e8),
        ("llama2c-v2", Dtype.Q8, np.finfo(np.float32).max),
    ],
)
def test_values_beyond_a_types_range_are_refused(
    tmp_path: Path, talking: ModelFile, to: str, dtype: Dtype, largest: float
) -> None:
    def read(name: str) -> np.ndarray:
        weight = talking.read(name).copy()
        if name == "model.layers.1.mlp.up_proj.weight":
            weight[3, 5] = largest
        return weight

    with pytest.raises(FormatError, match=r"drawn: model.*up_proj.*, beyond .*--dtype float32"):
        convert(replace(talking, read=read), tmp_path / FILES[to], to, dtype)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("harm", ["cut", "length", "score", "utf8"])
def test_a_damaged_tokenizer_bin_is_refused(
    tmp_path: Path, tokenizer: Tokenizer, harm: str
) -> None:
    content = bytearray(tokenizer_bin.to_bytes(tokenizer))
    if harm == "cut":
        del content[-2:]
    elif harm == "length":
        struct.pack_into("<i", content, 8, 1 << 30)
    elif harm == "score":
        struct.pack_into("<f", content, 4, float("nan"))
    else:
        content[12] = 0xFF
    (tmp_path / "t.bin").write_bytes(content)
    with pytest.raises(FormatError):
        tokenizer_bin.read(tmp_path / "t.bin")


def test_a_tokenizer_model_with_a_piece_that_is_no_text_is_refused(tokenizer: Tokenizer) -> None:
    piece = tokenizer.piece_bytes[300].replace(b" ", "▁".encode())
    damaged = tokenizer.content.replace(piece, b"\xff" * len(piece), 1)
    with pytest.raises(DataError, match="not a SentencePiece model"):
        SentencePiece(damaged)
