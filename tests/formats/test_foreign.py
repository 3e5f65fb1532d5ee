"""What cannot be read is said by name, with what to do."""

import io
import json
import os
import shutil
import struct
from dataclasses import replace
from pathlib import Path

import mlx.core as mx
import numpy as np
import pytest

from mlx_rev.config import Dtype, ModelConfig
from mlx_rev.errors import FormatError, RevError
from mlx_rev.formats.convert import convert
from mlx_rev.formats.detect import open_model
from mlx_rev.formats.huggingface import write_folder
from mlx_rev.formats.model_file import ModelFile
from tests.conftest import Run
from tests.formats.conftest import drawn

POINTER = (
    b"version https://git-lfs.github.com/spec/v1\noid sha256:" + b"0" * 64 + b"\nsize 5889360\n"
)


def npz() -> bytes:
    content = io.BytesIO()
    np.savez(content, weight=np.zeros(3))
    return content.getvalue()


@pytest.mark.parametrize(
    ("beside", "said"),
    [
        (["pytorch_model.bin"], r"only PyTorch's pytorch_model\.bin; .*save_pretrained"),
        (["pytorch_model-00001-of-00002.bin"], "only PyTorch's pytorch_model"),
        (["weights.npz"], r"\.npz; .*mlx_lm\.convert"),
        (["consolidated.00.pth"], r"only PyTorch's consolidated\.00\.pth"),
        (
            ["model-00001-of-00002.safetensors", "model-00002-of-00002.safetensors"],
            r"2 safetensors files and no model\.safetensors\.index\.json",
        ),
        (["weights.safetensors"], r"in weights\.safetensors; expected model\.safetensors"),
        ([], r"no model\.safetensors; fetch"),
    ],
)
def test_a_folder_without_its_weights(
    tmp_path: Path, talking: ModelFile, beside: list[str], said: str
) -> None:
    convert(talking, tmp_path / "m")
    (tmp_path / "m" / "model.safetensors").unlink()
    for name in beside:
        (tmp_path / "m" / name).write_bytes(b"x")
    with pytest.raises(FormatError, match=said):
        open_model(tmp_path / "m")


@pytest.mark.parametrize(
    ("name", "content", "said"),
    [
        ("stories15M.pt", b"PK\x03\x04" + b"\0" * 22 + b"archive/data.pkl", r"export\.py turns"),
        ("pytorch_model.bin", b"PK\x03\x04" + b"\0" * 300, "a PyTorch checkpoint"),
        ("old.pt", b"\x80\x02\x8a\x0al\xfc\x9cF\xf9 j\xa8P", "a PyTorch checkpoint"),
        ("weights.npz", npz(), "arrays of NumPy"),
        ("m.bin", b"tjgg" + b"\0" * 300, "before GGUF"),
        ("m.onnx", b"\x08\x07\x12\x07pytorch", "an ONNX model"),
        ("m.h5", b"\x89HDF\r\n\x1a\n", "HDF5"),
        ("m.gguf", b"GGML" + b"\0" * 300, "does not begin with GGUF"),
        ("tokenizer.model", b"\n\x0e\n\x05<unk>", "a tokenizer, not a model"),
        ("tokenizer.bin", b"\7\0\0\0\0\0\0\0\5\0\0\0<unk>", r"a tokenizer\.bin, not a model"),
    ],
)
def test_a_file_of_another_kind(tmp_path: Path, name: str, content: bytes, said: str) -> None:
    (tmp_path / name).write_bytes(content)
    with pytest.raises(FormatError, match=rf"{name}: .*{said}"):
        open_model(tmp_path / name)


@pytest.mark.parametrize(
    "pointer",
    [
        *("m/model.safetensors", "m/config.json", "m/tokenizer.model", "m/tokenizer.json"),
        *("m.bin", "m.gguf", "m.bin.json", "tokenizer.model"),
    ],
)
def test_a_git_lfs_pointer_is_named_whatever_file_it_stands_for(
    tmp_path: Path, talking: ModelFile, pointer: str
) -> None:
    for name in ("m", "m.bin", "m.gguf"):
        convert(talking, tmp_path / name)
    if pointer == "m/tokenizer.json":
        (tmp_path / "m" / "tokenizer.model").unlink()
    (tmp_path / pointer).write_bytes(POINTER)
    model = {"m.bin.json": "m.bin", "tokenizer.model": "m.bin"}.get(pointer, pointer)
    with pytest.raises(RevError, match=rf"{Path(pointer).name}: a Git LFS pointer.*git lfs pull"):
        open_model(tmp_path / (model.split("/")[0]))


def test_safetensors_that_are_not_the_models_weights_are_not_taken_for_them(
    tmp_path: Path, talking: ModelFile
) -> None:
    convert(talking, tmp_path / "m")
    weights = tmp_path / "m" / "model.safetensors"
    assert open_model(weights).config == talking.config
    shutil.copy(weights, tmp_path / "m" / "tuned.safetensors")
    with pytest.raises(
        FormatError, match=r"tuned\.safetensors: .* which is model\.safetensors; put"
    ):
        open_model(tmp_path / "m" / "tuned.safetensors")


def test_a_models_settings_stand_for_no_model(run: Run, tmp_path: Path, talking: ModelFile) -> None:
    convert(talking, tmp_path / "m")
    done = run("convert", tmp_path / "m" / "config.json", tmp_path / "x")
    assert done.returncode == 2
    assert f"a model's settings; name its folder, {tmp_path / 'm'}" in done.stderr


@pytest.mark.parametrize("target", [b"m\xe9l", b"m\xe9l.gguf", b"m\xe9l.bin", b"n.gguf"])
def test_a_name_need_not_be_utf_8(tmp_path: Path, talking: ModelFile, target: bytes) -> None:
    source = tmp_path / os.fsdecode(b"mod\xe9l")
    convert(talking, source)
    convert(open_model(source), tmp_path / os.fsdecode(target))
    assert open_model(tmp_path / os.fsdecode(target)).config == talking.config
    with pytest.raises(FormatError, match=r"not UTF-8, which config\.toml is; choose another"):
        convert(open_model(source), tmp_path / os.fsdecode(b"r\xe9n"), "run")


def test_a_file_of_several_stands_for_the_whole(tmp_path: Path, talking: ModelFile) -> None:
    write_folder(tmp_path, talking, shard_bytes=20_000)
    second = sorted(tmp_path.glob("model-*-of-*.safetensors"))[1]
    name = "model.norm.weight"
    assert np.array_equal(open_model(second).weight(name), talking.weight(name))


def test_an_index_names_files_beside_it_only(tmp_path: Path, talking: ModelFile) -> None:
    convert(talking, tmp_path / "m")
    (tmp_path / "m" / "model.safetensors").rename(tmp_path / "outside.safetensors")
    index = tmp_path / "m" / "model.safetensors.index.json"
    for outside in ("../outside.safetensors", str(tmp_path / "outside.safetensors"), "a\0b"):
        index.write_text(json.dumps({"weight_map": dict.fromkeys(talking.shapes, outside)}))
        with pytest.raises(FormatError, match=r"index\.json: names .*, which is not a file beside"):
            open_model(tmp_path / "m")


QUERY = "model.layers.0.self_attn.q_proj"


@pytest.mark.parametrize("dtype", [Dtype.FLOAT32, Dtype.Q8])
@pytest.mark.parametrize("name", [f"{QUERY}.bias", f"{QUERY}.lora_a", "model.norm.biases", "x"])
def test_a_tensor_that_a_llama_has_not_is_refused_in_a_folder(
    tmp_path: Path, talking: ModelFile, dtype: Dtype, name: str
) -> None:
    convert(talking, tmp_path / "m", dtype=dtype)
    path = str(tmp_path / "m" / "model.safetensors")
    mx.save_safetensors(path, {**mx.load(path), name: mx.ones(32)})  # type: ignore[dict-item]
    with pytest.raises(FormatError, match=f"unexpected tensor {name}; a Llama has none"):
        open_model(tmp_path / "m")


@pytest.mark.parametrize(("rows", "opens"), [(1024, True), (1025, False)])
def test_up_to_a_thousand_rows_more_than_pieces_are_padding(
    tmp_path: Path, talking: ModelFile, rows: int, opens: bool
) -> None:
    model = drawn(replace(talking.config, vocab_size=400 + rows))
    write_folder(tmp_path, replace(model, tokenizer=talking.tokenizer))
    if opens:
        found = open_model(tmp_path).tokenizer
        assert found is not None
        assert found.vocab_size == 1424
    else:
        with pytest.raises(FormatError, match="vocabulary of 1425, but its tokenizer has 400"):
            open_model(tmp_path)


def test_groups_over_the_ends_of_rows_are_named(tmp_path: Path) -> None:
    """llama2.c's export.py takes the largest group that divides dim, and hidden_dim may be odd."""
    config = ModelConfig(dim=64, n_heads=4, n_kv_heads=4, hidden_dim=96, vocab_size=400)
    convert(drawn(config), tmp_path / "m.bin", dtype=Dtype.Q8)
    (tmp_path / "m.bin.json").unlink()
    content = bytearray((tmp_path / "m.bin").read_bytes())
    assert struct.unpack_from("<i", content, 37) == (32,)
    struct.pack_into("<i", content, 37, 64)
    (tmp_path / "m.bin").write_bytes(content)
    with pytest.raises(FormatError, match=r"cross the ends of rows.*--version 0 or 1"):
        open_model(tmp_path / "m.bin")


def test_what_is_no_file_does_not_hang(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "m.bin")
    with pytest.raises(RevError, match="expected a regular file"):
        open_model(tmp_path / "m.bin")
