"""Models by others: what mlx-lm and llama.cpp's package gguf make, read as they read it."""

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import gguf
import mlx.core as mx
import mlx.nn as nn
import numpy as np
import pytest
from mlx.utils import tree_flatten

from mlx_rev.config import ModelConfig
from mlx_rev.errors import RevError
from mlx_rev.formats import names
from mlx_rev.formats.convert import convert
from mlx_rev.formats.detect import open_model
from mlx_rev.formats.model_file import ModelFile
from mlx_rev.model.llama import Llama, set_weights
from mlx_rev.model.load import load_model, read_weights
from mlx_rev.text.byte_level import ByteLevel
from mlx_rev.text.order import TOKEN
from tests.byte_level import byte_level
from tests.formats.conftest import drawn

LLAMA_3 = {
    "rope_type": "llama3",
    "factor": 8.0,
    "low_freq_factor": 1.0,
    "high_freq_factor": 4.0,
    "original_max_position_embeddings": 64,
}
PLAIN = {
    "model_type": "llama",
    "architectures": ["LlamaForCausalLM"],
    "hidden_size": 64,
    "intermediate_size": 96,
    "num_hidden_layers": 2,
    "num_attention_heads": 4,
    "num_key_value_heads": 2,
    "vocab_size": 300,
    "max_position_embeddings": 128,
    "rms_norm_eps": 1e-5,
    "rope_theta": 10000.0,
    "tie_word_embeddings": True,
}
KINDS: dict[str, dict[str, Any]] = {
    "plain": {},
    "theta": {"rope_theta": 500000.0},
    "Llama 3": {"rope_theta": 500000.0, "rope_scaling": LLAMA_3},
    "head size": {"head_dim": 32},
    "untied": {"tie_word_embeddings": False},
}


def theirs(folder: Path, changes: dict[str, Any], dtype: mx.Dtype, *, shards: int = 1) -> nn.Module:
    """A random model of mlx-lm's, saved as it saves one."""
    from mlx_lm.models.llama import Model, ModelArgs

    config = PLAIN | changes
    mx.random.seed(3)
    model = Model(ModelArgs.from_dict(config))
    model.set_dtype(dtype)
    if settings := config.get("quantization"):
        predicate = changes.get("predicate")
        nn.quantize(model, settings["group_size"], settings["bits"], class_predicate=predicate)
    weights = dict(tree_flatten(model.parameters()))
    folder.mkdir()
    written = {name: value for name, value in config.items() if name != "predicate"}
    (folder / "config.json").write_text(json.dumps(written))
    parts = [dict(list(weights.items())[start::shards]) for start in range(shards)]
    files = [f"model-{number}.safetensors" for number in range(shards)]
    for name, part in zip(files, parts, strict=True):
        mx.save_safetensors(str(folder / (name if shards > 1 else "model.safetensors")), part)
    if shards > 1:
        places = {name: file for file, part in zip(files, parts, strict=True) for name in part}
        index = folder / "model.safetensors.index.json"
        index.write_text(json.dumps({"weight_map": places}))
    model.set_dtype(mx.float32)
    return model


def ours(opened: ModelFile) -> Llama:
    model = Llama(opened.config)
    set_weights(model, read_weights(opened))
    return model


def differences(model: Llama, other: nn.Module) -> float:
    """The largest difference of logits, over positions that tell scalings apart."""
    tokens = mx.array(np.random.default_rng(0).integers(3, 300, (2, 100)))
    return float(mx.abs(model(tokens) - other(tokens)).max())


@pytest.mark.parametrize("kind", KINDS)
def test_logits_are_mlx_lms(tmp_path: Path, kind: str) -> None:
    other = theirs(tmp_path / "m", KINDS[kind], mx.float32)
    opened = open_model(tmp_path / "m")
    assert differences(ours(opened), other) < 1e-4
    if kind == "Llama 3":
        unscaled = replace(opened, config=replace(opened.config, rope_factor=1.0))
        assert differences(ours(unscaled), other) > 1e-3


@pytest.mark.parametrize("dtype", [mx.bfloat16, mx.float16])
def test_halves_and_shards(tmp_path: Path, dtype: mx.Dtype) -> None:
    other = theirs(tmp_path / "m", {}, dtype, shards=3)
    assert differences(ours(open_model(tmp_path / "m")), other) < 1e-4


@pytest.mark.parametrize("bits", [4, 8])
def test_quantised_by_mlx(tmp_path: Path, bits: int) -> None:
    settings = {"quantization": {"group_size": 32, "bits": bits}}
    other = theirs(tmp_path / "m", settings, mx.float32)
    assert differences(ours(open_model(tmp_path / "m")), other) < 2e-3


@pytest.mark.parametrize("kind", ["Llama 3", "head size", "untied"])
def test_what_is_written_here_mlx_lm_reads_alike(tmp_path: Path, kind: str) -> None:
    from mlx_lm.utils import load_model

    theirs(tmp_path / "m", KINDS[kind], mx.float32)
    opened = open_model(tmp_path / "m")
    convert(opened, tmp_path / "again")
    other, _ = load_model(tmp_path / "again")
    assert differences(ours(opened), other) < 1e-4
    assert open_model(tmp_path / "again").config == opened.config


@pytest.mark.parametrize("kind", ["qwen2", "gemma2", "mistral", "phi3"])
def test_what_is_no_llama_is_refused_by_name(tmp_path: Path, kind: str) -> None:
    (tmp_path / "config.json").write_text(json.dumps(PLAIN | {"model_type": kind}))
    with pytest.raises(RevError, match=f"model_type is '{kind}', which is not a Llama"):
        open_model(tmp_path)


WIDE = ModelConfig(
    dim=256, n_layers=1, n_heads=4, n_kv_heads=2, hidden_dim=256, vocab_size=300, context=64
)
_NAMES = {
    "model.embed_tokens": "token_embd",
    "model.norm": "output_norm",
    "lm_head": "output",
    "model.layers.0.input_layernorm": "blk.0.attn_norm",
    "model.layers.0.self_attn.q_proj": "blk.0.attn_q",
    "model.layers.0.self_attn.k_proj": "blk.0.attn_k",
    "model.layers.0.self_attn.v_proj": "blk.0.attn_v",
    "model.layers.0.self_attn.o_proj": "blk.0.attn_output",
    "model.layers.0.post_attention_layernorm": "blk.0.ffn_norm",
    "model.layers.0.mlp.gate_proj": "blk.0.ffn_gate",
    "model.layers.0.mlp.up_proj": "blk.0.ffn_up",
    "model.layers.0.mlp.down_proj": "blk.0.ffn_down",
}


def test_a_sentencepiece_model_by_others_keeps_the_end_of_its_texts(
    tmp_path: Path, talking: ModelFile
) -> None:
    """Through every format, with another tokenizer too: elsewhere it would not stop otherwise."""
    convert(replace(talking, order=None), tmp_path / "m")
    config = json.loads((tmp_path / "m" / "config.json").read_text())
    del config["mlx_rev"]
    (tmp_path / "m" / "config.json").write_text(json.dumps({**config, "eos_token_id": 2}))
    source = tmp_path / "m"
    for target in ("a.gguf", "a.bin", "a", "run"):
        convert(open_model(source), tmp_path / target, "run" if target == "run" else None)
        source = tmp_path / target
        for named in (None, tmp_path / "m" / "tokenizer.model"):
            found = open_model(source, tokenizer=named)
            assert (found.boundary, found.end_of_text, found.order) == (1, 2, None)
            assert found.tokenizer is not None
            assert (found.tokenizer.boundary, found.tokenizer.end_of_text) == (1, 2)
    for name in ("config.json", "generation_config.json"):
        assert json.loads((tmp_path / "a" / name).read_text())["eos_token_id"] == 2
    config = json.loads((tmp_path / "a" / "tokenizer_config.json").read_text())
    assert (config["bos_token"], config["eos_token"]) == ("<s>", "</s>")
    field = gguf.GGUFReader(tmp_path / "a.gguf").get_field("tokenizer.ggml.eos_token_id")
    assert field is not None
    assert field.contents() == 2
    codec = load_model(source).codec
    assert codec.enclosed(["a"])[0][-1] == 2
    ours = open_model(source, order=TOKEN)
    assert ours.end_of_text == 1


@pytest.mark.parametrize("end", [-1, 400])
def test_an_end_of_text_that_is_no_piece_is_refused(
    tmp_path: Path, talking: ModelFile, end: int
) -> None:
    convert(replace(talking, order=None, stated_end=end), tmp_path / "m.bin")
    with pytest.raises(RevError, match=f"eos_token_id is {end}; expected .* 0 to 399"):
        open_model(tmp_path / "m.bin")


def permuted(weight: np.ndarray, heads: int) -> np.ndarray:
    """As in llama.cpp's convert_hf_to_gguf.py, LlamaModel.permute."""
    halves = weight.reshape(heads, 2, weight.shape[0] // heads // 2, weight.shape[1])
    return halves.swapaxes(1, 2).reshape(weight.shape)


def written_by_gguf(
    path: Path,
    config: ModelConfig,
    tokenizer: ByteLevel | None,
    type: gguf.GGMLQuantizationType,
    **changes: Any,
) -> dict[str, np.ndarray]:
    """A file of the package's own writer, its tensors of random blocks; and what they stand for."""
    writer = gguf.GGUFWriter(path, "llama")
    writer.add_custom_alignment(64)
    writer.add_context_length(config.context)
    writer.add_embedding_length(config.dim)
    writer.add_block_count(config.n_layers)
    writer.add_feed_forward_length(config.hidden_dim)
    writer.add_head_count(config.n_heads)
    writer.add_head_count_kv(config.n_kv_heads)
    writer.add_layer_norm_rms_eps(config.norm_eps)
    writer.add_rope_freq_base(config.rope_theta)
    if tokenizer is not None:
        known = tokenizer.vocabulary
        normal = range(len(known.pieces))
        writer.add_tokenizer_model(changes.pop("model", "gpt2"))
        writer.add_tokenizer_pre(changes.pop("pre", "smollm"))
        writer.add_token_list(list(known.pieces))
        writer.add_token_types([3 if token in known.marks else 1 for token in normal])
        writer.add_token_merges([" ".join(merge) for merge in known.merges])
        writer.add_bos_token_id(known.boundary)
        writer.add_eos_token_id(known.forward_boundary)
    for key, value in changes.pop("keys", {}).items():
        writer.add_uint32(key, value)
    if (factors := changes.pop("factors", None)) is not None:
        writer.add_tensor("rope_freqs.weight", factors.astype(np.float32))
    if (name := changes.pop("extra", None)) is not None:
        writer.add_tensor(name, np.ones(32, np.float32))
    rng = np.random.default_rng(1)
    meant = {}
    for name, shape in names.shapes(config).items():
        stem = _NAMES[name.removesuffix(".weight")]
        if len(shape) == 1:
            meant[name] = rng.normal(size=shape).astype(np.float32)
            writer.add_tensor(f"{stem}.weight", meant[name])
            continue
        _, length = gguf.GGML_QUANT_SIZES[type]
        blocks = shape[1] // gguf.GGML_QUANT_SIZES[type][0]
        # Bytes under 0x3C, so that no scale is infinite.
        raw = rng.integers(0, 0x3C, (shape[0], blocks * length), np.uint8)
        meant[name] = gguf.dequantize(raw, type).astype(np.float32)
        writer.add_tensor(f"{stem}.weight", raw, raw_dtype=type)
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()
    return meant


@pytest.fixture(scope="module")
def vocabulary(some_stories: list[str]) -> ByteLevel:
    return byte_level(some_stories[:100], 300)


TYPES = ("Q4_0", "Q4_1", "Q5_1", "BF16", "Q2_K", "Q3_K", "Q4_K", "Q5_K", "Q6_K", "IQ4_XS", "MXFP4")


@pytest.mark.parametrize("type", TYPES)
def test_every_type_is_dequantised_and_q_and_k_are_put_right(
    tmp_path: Path, vocabulary: ByteLevel, type: str
) -> None:
    path = tmp_path / "m.gguf"
    meant = written_by_gguf(path, WIDE, vocabulary, gguf.GGMLQuantizationType[type])
    opened = open_model(path)
    assert opened.config == WIDE
    for name, weight in opened.weights():
        heads = names.rotated_heads(WIDE, name)
        stored = permuted(weight, heads) if heads else weight
        assert np.array_equal(stored, meant[name]), name


def test_its_vocabulary_is_the_one_that_was_written(tmp_path: Path, vocabulary: ByteLevel) -> None:
    written_by_gguf(tmp_path / "m.gguf", WIDE, vocabulary, gguf.GGMLQuantizationType.F32)
    found = open_model(tmp_path / "m.gguf")
    assert isinstance(found.tokenizer, ByteLevel)
    assert found.tokenizer.vocabulary == vocabulary.vocabulary
    assert found.tokenizer.fingerprint == vocabulary.fingerprint
    assert (found.boundary, found.end_of_text) == (1, 2)


F32 = gguf.GGMLQuantizationType.F32


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"pre": "qwen2"}, "tokenizer.ggml.pre is 'qwen2', expected smollm, llama-bpe"),
        ({"model": "bert"}, "tokenizer.ggml.model is 'bert', expected 'llama'"),
        ({"keys": {"llama.expert_count": 8}}, "llama.expert_count is 8, expected 0"),
        ({"keys": {"llama.rope.dimension_count": 4}}, "dimension_count is 4, expected .* 64"),
        ({"factors": np.linspace(1, 3, 32)}, "rope_freqs.weight scales RoPE in another way"),
        ({"factors": np.zeros(32)}, "rope_freqs.weight has numbers below 1"),
        (
            {"extra": "blk.0.attn_q.bias"},
            r"unexpected tensor blk\.0\.attn_q\.bias; a Llama has none",
        ),
        ({"factors": np.ones(8)}, r"rope_freqs.weight has shape \(8,\), expected \(32,\)"),
    ],
)
def test_what_cannot_be_right_is_refused_by_key(
    tmp_path: Path, vocabulary: ByteLevel, changes: dict[str, Any], said: str
) -> None:
    written_by_gguf(tmp_path / "m.gguf", WIDE, vocabulary, F32, **changes)
    with pytest.raises(RevError, match=said):
        open_model(tmp_path / "m.gguf")


@pytest.mark.parametrize("harm", ["qwen2", "type"])
def test_another_architecture_or_type_is_refused(
    tmp_path: Path, vocabulary: ByteLevel, harm: str
) -> None:
    path = tmp_path / "m.gguf"
    written_by_gguf(path, WIDE, vocabulary, F32)
    content = path.read_bytes()
    if harm == "qwen2":
        changed, said = content.replace(b"llama", b"qwen2", 1), "'qwen2', which is not a Llama"
    else:
        name = b"token_embd.weight"
        place = content.index(name) + len(name) + 4 + 16
        changed = content[:place] + b"\x18" + content[place + 1 :]  # I8: no numbers of a model
        said = "token_embd.weight has type 24, which cannot be read"
    path.write_bytes(changed)
    with pytest.raises(RevError, match=said):
        open_model(path)


@pytest.mark.parametrize(
    "changes",
    [
        {"rope_factor": 4.0, "rope_original_context": 512},
        {"rope_factor": 8.0, "rope_original_context": 1024, "rope_low_frequency": 1.25},
        {"rope_factor": 8.0, "head_size": 8},  # whose slowest rotation is not slowed by all of 8
        {"rope_factor": 1.1, "rope_theta": 10.0, "rope_original_context": 1 << 20},  # nor by any
    ],
)
def test_every_scaling_comes_back_from_gguf(
    tmp_path: Path, vocabulary: ByteLevel, changes: dict[str, Any]
) -> None:
    config = replace(WIDE, **changes)
    convert(replace(drawn(config), tokenizer=vocabulary), tmp_path / "m.gguf")
    assert open_model(tmp_path / "m.gguf").config == config


@pytest.mark.parametrize("target", ["m", "m.gguf"])
def test_llama_3s_scaling_and_a_heads_size_come_back(
    tmp_path: Path, vocabulary: ByteLevel, target: str
) -> None:
    config = replace(WIDE, dim=24, head_size=32, rope_theta=500000.0, rope_factor=32.0)
    model = replace(drawn(config), tokenizer=vocabulary, order=TOKEN)
    convert(model, tmp_path / target)
    found = open_model(tmp_path / target)
    assert found.config == config
    for name, weight in model.weights():
        assert np.array_equal(found.weight(name), weight), name
    with pytest.raises(RevError, match=r"run\.c has dim / n_heads and 1 built in"):
        convert(replace(model, tokenizer=None), tmp_path / "m.bin")
