"""Damaged and lying files of every format end in a FormatError, or are read right."""

import json
import struct
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from mlx_rev.errors import DataError, FormatError
from mlx_rev.formats import tokenizer_bin
from mlx_rev.formats.convert import Dtype, Format, convert
from mlx_rev.formats.lazy import LazyModel
from mlx_rev.formats.opening import open_model
from mlx_rev.text.tokenizer import Tokenizer

FILES = {Format.GGUF: "m.gguf", Format.MLX: "m", Format.LLAMA2C_V2: "m.bin"}


def read_all(path: Path) -> None:
    for _ in open_model(path).weights():
        pass


def weight_file(folder: Path, talking: LazyModel, to: Format) -> Path:
    target = folder / FILES[to]
    convert(talking, target, to, Dtype.Q8 if to is Format.LLAMA2C_V2 else Dtype.FLOAT32)
    (folder / "m.bin.json").unlink(missing_ok=True)
    return target / "model.safetensors" if to is Format.MLX else target


@pytest.mark.parametrize("to", FILES)
def test_cut_anywhere_it_is_refused(tmp_path: Path, talking: LazyModel, to: Format) -> None:
    path = weight_file(tmp_path, talking, to)
    whole = path.read_bytes()
    rng = np.random.default_rng(0)
    for size in [0, 3, 7, 8, 9, *rng.integers(10, len(whole), 40)]:
        path.write_bytes(whole[:size])
        with pytest.raises((FormatError, DataError)):
            read_all(tmp_path / FILES[to])


@pytest.mark.parametrize("to", FILES)
def test_flipped_bits_in_the_head_raise_nothing_else(
    tmp_path: Path, talking: LazyModel, to: Format
) -> None:
    path = weight_file(tmp_path, talking, to)
    whole = path.read_bytes()
    rng = np.random.default_rng(1)
    head = 256 if to is Format.LLAMA2C_V2 else 1500
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
        ("hidden_size", None, "has no 'hidden_size'"),
        ("hidden_size", -32, "dim is -32"),
        ("hidden_size", "many", "not a number"),
        ("num_attention_heads", 5, "n_heads 5 does not divide"),
        ("attention_bias", True, "attention_bias is True"),
        ("hidden_act", "gelu", "hidden_act is 'gelu'"),
        ("head_dim", 16, "head_dim is 16"),
        ("rope_parameters", {"rope_type": "llama3"}, "rope_type is 'llama3'"),
        ("vocab_size", 401, "has shape"),
        ("tie_word_embeddings", False, r"lm_head\.weight is missing"),
        ("mlx_rev", {"reversal": "sideways"}, "reversal is 'sideways'"),
        ("mlx_rev", {"tokenizer_sha256": "0" * 64}, "the model was trained with 000"),
    ],
)
def test_a_config_that_cannot_be_is_refused_by_field(
    tmp_path: Path, talking: LazyModel, key: str, value: object, said: str
) -> None:
    convert(talking, tmp_path / "m", Format.MLX, Dtype.FLOAT32)
    path = tmp_path / "m" / "config.json"
    config = json.loads(path.read_text())
    change(key, value)(config)
    path.write_text(json.dumps(config))
    with pytest.raises(FormatError, match=said):
        open_model(tmp_path / "m")


def test_a_safetensors_header_that_lies_is_refused(tmp_path: Path, talking: LazyModel) -> None:
    convert(talking, tmp_path / "m", Format.MLX, Dtype.FLOAT32)
    path = tmp_path / "m" / "model.safetensors"
    content = path.read_bytes()
    length = struct.unpack_from("<Q", content)[0]
    header = json.loads(content[8 : 8 + length])
    for harm in ({"shape": [2**31, 2**31]}, {"dtype": "F8"}, {"data_offsets": [0, 2**40]}):
        lying = header | {"model.norm.weight": header["model.norm.weight"] | harm}
        text = json.dumps(lying).encode()
        path.write_bytes(struct.pack("<Q", len(text)) + text + content[8 + length :])
        with pytest.raises(FormatError, match=r"model\.norm\.weight"):
            open_model(tmp_path / "m")


def test_values_beyond_float16_are_refused(tmp_path: Path, talking: LazyModel) -> None:
    from dataclasses import replace

    def read(name: str) -> np.ndarray:
        return talking.read(name) * np.float32(1e6)

    with pytest.raises(FormatError, match="float16's range"):
        convert(replace(talking, read=read), tmp_path / "m", Format.MLX, Dtype.FLOAT16)
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
