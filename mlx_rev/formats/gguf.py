"""GGUF version 3, as llama.cpp loads it (ggml-org/ggml, docs/gguf.md): written, and what was
written here read again.

Little-endian. q and k are interleaved, as in llama.cpp's llama architecture; a tied output is left
out, for which llama.cpp uses the embedding. The boundary token is the end-of-text token.
"""

import math
import shlex
import struct
from dataclasses import dataclass
from enum import IntEnum
from pathlib import Path
from typing import Any

import numpy as np

from mlx_rev import files
from mlx_rev.config import Dtype, ModelConfig
from mlx_rev.errors import FormatError
from mlx_rev.formats import advice, names, overwrite
from mlx_rev.formats.fields import Fields
from mlx_rev.formats.format import Format, Written
from mlx_rev.formats.gguf_values import Reader, encode_pair, encode_text
from mlx_rev.formats.model_file import ModelFile, as_float16, checked_config, order_in
from mlx_rev.formats.q8 import dequantised, quantised
from mlx_rev.formats.rows import LargestErrors, row_parts
from mlx_rev.formats.tokenizers.limits import check_exportable
from mlx_rev.formats.tokenizers.sentencepiece_model import Kind, Piece, pieces_of, tokenizer_of
from mlx_rev.text.tokenizer import BOUNDARY, Tokenizer

MAGIC = b"GGUF"
VERSION = 3
_ALIGNMENT = 32
_Q8_GROUP = 32
_QUANTIZATION_VERSION = 2
"""ggml's version of the layout of quantised blocks."""
_LAYER_NAMES = dict(
    zip(
        names.LAYER_WEIGHTS,
        (
            *("attn_norm", "attn_q", "attn_k", "attn_v", "attn_output"),
            *("ffn_norm", "ffn_gate", "ffn_up", "ffn_down"),
        ),
        strict=True,
    )
)


class Type(IntEnum):
    """Tensor types, by ggml's numbers."""

    F32 = 0
    F16 = 1
    Q8_0 = 8


_FILE_TYPES = {Type.F32: 0, Type.F16: 1, Type.Q8_0: 7}
_TYPES = {Dtype.FLOAT32: Type.F32, Dtype.FLOAT16: Type.F16, Dtype.Q8: Type.Q8_0}


@dataclass(frozen=True)
class _Tensor:
    name: str
    shape: names.Shape
    type: Type
    offset: int

    @property
    def bytes(self) -> int:
        size = math.prod(self.shape)
        return {Type.F32: 4 * size, Type.F16: 2 * size, Type.Q8_0: size // 32 * 34}[self.type]


def write(path: Path, model: ModelFile, type: Type) -> dict[str, float]:
    """Write a GGUF file; returns the largest error of each weight that is not stored exactly.

    Vectors stay F32, and with Q8_0 a matrix whose row length is not a multiple of 32 is F16.
    Raises FormatError if the model has no tokenizer.
    """
    if model.tokenizer is None:
        raise FormatError(f"{model.source}: has no tokenizer, which GGUF needs; give --tokenizer")
    tensors: list[_Tensor] = []
    offset = 0
    for name, shape in model.shapes.items():
        tensors.append(_Tensor(_gguf_name(name), shape, _type_of(shape, type), offset))
        offset += _aligned(tensors[-1].bytes)
    metadata = _metadata(model, model.tokenizer, type)
    errors = LargestErrors()
    with open(path, "wb") as file:
        file.write(MAGIC + struct.pack("<IQQ", VERSION, len(tensors), len(metadata)))
        for key, value in metadata.items():
            file.write(encode_pair(key, value))
        for tensor in tensors:
            file.write(encode_text(tensor.name) + struct.pack("<I", len(tensor.shape)))
            file.write(struct.pack(f"<{len(tensor.shape)}Q", *reversed(tensor.shape)))
            file.write(struct.pack("<IQ", tensor.type, tensor.offset))
        file.write(b"\0" * (-file.tell() % _ALIGNMENT))
        for (name, weight), tensor in zip(model.weights(), tensors, strict=True):
            stored = names.interleaved(weight, names.rotated_heads(model.config, name))
            for part in row_parts(stored):
                content = _encoded(part, tensor.type, f"{model.source}: {name}")
                if tensor.type is not Type.F32:
                    kept = _decoded(np.frombuffer(content, np.uint8), tensor.type)
                    errors.note(name, kept, part)
                file.write(content)
            file.write(b"\0" * (_aligned(tensor.bytes) - tensor.bytes))
    return errors


def read(path: Path, *, tokenizer: Tokenizer | None = None) -> ModelFile:
    """Open a GGUF file of the llama architecture with F32, F16 and Q8_0 tensors.

    A `tokenizer` that is given replaces the file's. Raises FormatError for anything else, or a
    damaged file.
    """
    with open(path, "rb") as file:
        if file.read(len(MAGIC)) != MAGIC:
            raise FormatError(f"{path}: does not begin with GGUF; damaged, or another format")
        reader = Reader(file, path)
        version, tensor_count, pair_count = reader.head()
        if version != VERSION:
            raise FormatError(f"{path}: GGUF version is {version}, expected {VERSION}")
        metadata = Fields(dict(reader.pair() for _ in range(pair_count)), str(path))
        tensors = {}
        for _ in range(tensor_count):
            name, shape, type_number, offset = reader.tensor()
            if type_number not in set(Type):
                raise FormatError(
                    f"{path}: {name} has type {type_number}, expected F32, F16 or Q8_0"
                )
            tensors[name] = _Tensor(name, shape, Type(type_number), offset)
        start = _aligned(reader.offset)
    config = _config(metadata, tensors)
    _check_tensors(config, tensors, path.stat().st_size - start, path)

    def read_weight(name: str) -> np.ndarray:
        tensor = tensors[_gguf_name(name)]
        raw = np.fromfile(path, np.uint8, tensor.bytes, offset=start + tensor.offset)
        array = _decoded(raw, tensor.type).reshape(tensor.shape)
        return names.half_split(array, names.rotated_heads(config, name))

    return ModelFile(
        str(path),
        config,
        read_weight,
        _tokenizer(metadata) if tokenizer is None else tokenizer,
        order_in(metadata, "mlx_rev.reversal"),
        _provenance(metadata),
    )


def _metadata(model: ModelFile, tokenizer: Tokenizer, type: Type) -> dict[str, Any]:
    config, pieces = model.config, pieces_of(tokenizer)
    optional: dict[str, Any] = {f"mlx_rev.{key}": text for key, text in model.provenance.items()}
    if model.order:
        optional["mlx_rev.reversal"] = model.order.name
    if type is Type.Q8_0:
        optional["general.quantization_version"] = np.uint32(_QUANTIZATION_VERSION)
    return {
        "general.architecture": "llama",
        "general.name": Path(model.source).stem,
        "general.file_type": np.uint32(_FILE_TYPES[type]),
        "llama.vocab_size": np.uint32(config.vocab_size),
        "llama.context_length": np.uint32(config.context),
        "llama.embedding_length": np.uint32(config.dim),
        "llama.block_count": np.uint32(config.n_layers),
        "llama.feed_forward_length": np.uint32(config.hidden_dim),
        "llama.attention.head_count": np.uint32(config.n_heads),
        "llama.attention.head_count_kv": np.uint32(config.n_kv_heads),
        "llama.attention.layer_norm_rms_epsilon": np.float32(config.norm_eps),
        "llama.rope.dimension_count": np.uint32(config.head_dim),
        "llama.rope.freq_base": np.float32(config.rope_theta),
        "tokenizer.ggml.model": "llama",
        "tokenizer.ggml.tokens": [piece.text for piece in pieces],
        "tokenizer.ggml.scores": np.array([piece.score for piece in pieces], np.float32),
        "tokenizer.ggml.token_type": np.array([piece.kind for piece in pieces], np.int32),
        "tokenizer.ggml.bos_token_id": np.uint32(BOUNDARY),
        "tokenizer.ggml.eos_token_id": np.uint32(BOUNDARY),
        "tokenizer.ggml.unknown_token_id": np.uint32(0),
        "tokenizer.ggml.add_bos_token": True,
        "tokenizer.ggml.add_eos_token": False,
        "tokenizer.ggml.add_space_prefix": tokenizer.adds_space,
        **optional,
    }


def _config(metadata: Fields, tensors: dict[str, _Tensor]) -> ModelConfig:
    """The shape that the metadata describe; missing optional keys have llama.cpp's defaults."""
    for name, wanted in (("general.architecture", "llama"), ("general.alignment", _ALIGNMENT)):
        if metadata.values.get(name, _ALIGNMENT) != wanted:
            raise metadata.error(name, repr(wanted))
    _check_rope(metadata)
    heads = metadata.integer("llama.attention.head_count")
    embedding = tensors.get(_gguf_name(names.EMBEDDING))
    # float32 on disk: 1e-05 comes back as 9.99999974e-06 without this
    epsilon = f"{metadata.number('llama.attention.layer_norm_rms_epsilon'):.7g}"
    config = ModelConfig(
        dim=metadata.integer("llama.embedding_length"),
        hidden_dim=metadata.integer("llama.feed_forward_length"),
        n_layers=metadata.integer("llama.block_count"),
        n_heads=heads,
        n_kv_heads=metadata.integer("llama.attention.head_count_kv", heads),
        vocab_size=metadata.integer("llama.vocab_size", embedding.shape[0] if embedding else None),
        context=metadata.integer("llama.context_length"),
        norm_eps=float(epsilon),
        rope_theta=float(f"{metadata.number('llama.rope.freq_base', 10000.0):.7g}"),
        tied="output.weight" not in tensors,
    )
    checked_config(metadata.source, config)
    for key in ("rope.dimension_count", "attention.key_length", "attention.value_length"):
        if metadata.integer(f"llama.{key}", config.head_dim) != config.head_dim:
            expected = f"embedding_length / attention.head_count, {config.head_dim}"
            raise metadata.error(f"llama.{key}", expected)
    return config


def _check_rope(metadata: Fields) -> None:
    """Raise FormatError if RoPE is scaled, which is not supported here."""
    kind = "llama.rope.scaling.type"
    if metadata.text(kind, "none") not in ("none", "linear"):
        raise metadata.error(kind, "none: scaled RoPE is not supported")
    for key in ("rope.scaling.factor", "rope.scale_linear", "rope.scaling.attn_factor"):
        if metadata.number(f"llama.{key}", 1.0) not in (0.0, 1.0):  # 0 is none, too
            raise metadata.error(f"llama.{key}", "1: scaled RoPE is not supported")


def _check_tensors(config: ModelConfig, tensors: dict[str, _Tensor], room: int, path: Path) -> None:
    """Raise FormatError unless the tensors are a Llama's, one directly after the other."""
    expected = {_gguf_name(name): shape for name, shape in names.shapes(config).items()}
    for name, shape in expected.items():
        if name not in tensors:
            raise FormatError(f"{path}: {name} is missing")
        tensor = tensors[name]
        if tensor.shape != shape:
            raise FormatError(f"{path}: {name} has shape {tensor.shape}, expected {shape}")
        if tensor.type is Type.Q8_0 and shape[-1] % _Q8_GROUP:
            raise FormatError(
                f"{path}: {name} is Q8_0, but the row length of {shape} is not a multiple of 32"
            )
    if extra := sorted(set(tensors) - set(expected)):
        raise FormatError(f"{path}: unexpected tensor {extra[0]}; a Llama has none of that name")
    end = 0
    for tensor in sorted(tensors.values(), key=lambda tensor: tensor.offset):
        if tensor.offset != _aligned(end):
            raise FormatError(
                f"{path}: {tensor.name} begins at {tensor.offset}, expected {_aligned(end)}, where "
                "the tensor before it ends; damaged"
            )
        end = tensor.offset + tensor.bytes
    if room not in (end, _aligned(end)):
        raise FormatError(
            f"{path}: its tensors take {_aligned(end)} bytes, it has {room}; truncated or damaged"
        )


def _tokenizer(metadata: Fields) -> Tokenizer | None:
    keys = [f"tokenizer.ggml.{key}" for key in ("tokens", "scores", "token_type")]
    if not all(metadata.has(key) for key in keys):
        return None
    tokens = metadata.list(keys[0])
    scores = _numbers(metadata, keys[1], "f")
    kinds = _numbers(metadata, keys[2], "iu")
    if not len(tokens) == len(scores) == len(kinds):
        raise FormatError(
            f"{metadata.source}: has {len(tokens)} tokens, {len(scores)} scores and {len(kinds)} "
            "types"
        )
    if unknown := set(kinds) - set(Kind):
        raise FormatError(f"{metadata.source}: {keys[2]} has {unknown.pop()}, expected 1 to 6")
    pieces = [
        Piece(text, float(score), Kind(kind))
        for text, score, kind in zip(tokens, scores, kinds, strict=True)
    ]
    adds_space = metadata.flag("tokenizer.ggml.add_space_prefix", True)
    return tokenizer_of(pieces, adds_space=adds_space, source=metadata.source)


def _provenance(metadata: Fields) -> dict[str, str]:
    corpus = metadata.text("mlx_rev.corpus_sha256", "")
    return {"corpus_sha256": corpus} if corpus else {}


def _numbers(metadata: Fields, key: str, kinds: str) -> list[Any]:
    """An array of numbers of one of numpy's kinds."""
    values = metadata.values[key]
    if not isinstance(values, np.ndarray) or values.dtype.kind not in kinds:
        raise metadata.error(key, f"a list of {'numbers' if kinds == 'f' else 'whole numbers'}")
    return list(values.tolist())


def _gguf_name(name: str) -> str:
    fixed = {
        names.EMBEDDING: "token_embd.weight",
        names.FINAL_NORM: "output_norm.weight",
        names.OUTPUT: "output.weight",
    }
    if name in fixed:
        return fixed[name]
    _, _, layer, weight = name.removesuffix(".weight").split(".", 3)
    return f"blk.{layer}.{_LAYER_NAMES[weight]}.weight"


def _type_of(shape: names.Shape, asked: Type) -> Type:
    if len(shape) == 1:
        return Type.F32
    return Type.F16 if asked is Type.Q8_0 and shape[-1] % _Q8_GROUP else asked


def _encoded(weight: np.ndarray, type: Type, what: str) -> bytes:
    if type is Type.F32:
        return weight.astype("<f4", copy=False).tobytes()
    if type is Type.F16:
        return as_float16(weight, what).tobytes()
    values, scales = quantised(weight, _Q8_GROUP, np.float16)
    blocks = np.empty(len(scales), [("scale", "<f2"), ("values", "i1", _Q8_GROUP)])
    blocks["scale"], blocks["values"] = scales, values.reshape(-1, _Q8_GROUP)
    return blocks.tobytes()


def _decoded(raw: np.ndarray, type: Type) -> np.ndarray:
    """The float32 values, flat, that the bytes of a tensor encode."""
    if type is Type.Q8_0:
        blocks = raw.view([("scale", "<f2"), ("values", "i1", _Q8_GROUP)])
        return dequantised(blocks["values"], blocks["scale"], _Q8_GROUP)
    return raw.view("<f4" if type is Type.F32 else "<f2").astype(np.float32, copy=False)


def _aligned(size: int) -> int:
    return size + -size % _ALIGNMENT


def _write(model: ModelFile, target: Path, dtype: Dtype, force: bool) -> Written:
    if model.tokenizer is not None:
        check_exportable(model.tokenizer, model.source, finds_bytes=True)
    overwrite.check_file(target, force=force)
    with files.atomic_path(target) as temporary:
        errors = write(temporary, model, _TYPES[dtype])
        overwrite.check_file(target, force=force)  # again: writing takes a while
    return Written([target], errors, _kept_whole(model) if dtype is Dtype.Q8 else ())


def _kept_whole(model: ModelFile) -> tuple[str, ...]:
    """The matrices that are F16 in a Q8_0 file."""
    return tuple(
        name
        for name, shape in model.shapes.items()
        if len(shape) > 1 and _type_of(shape, Type.Q8_0) is not Type.Q8_0
    )


def _how_to_run(target: Path, model: ModelFile) -> str:
    command = f"llama-completion -no-cnv -m {shlex.quote(str(target))}"
    return advice.told_by(
        command, "-p", target, model, after="sed '1s/^ //; s/ \\[end of text\\]$//'"
    )


FORMAT = Format(
    name="gguf",
    summary="llama.cpp's",
    suffix=".gguf",
    dtypes=tuple(_TYPES),
    recognises=lambda source: source.start.startswith(MAGIC),
    read=lambda path, tokenizer: read(path, tokenizer=tokenizer),
    write=_write,
    how_to_run=_how_to_run,
    program="llama.cpp",
)
