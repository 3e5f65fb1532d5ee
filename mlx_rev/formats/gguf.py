"""GGUF version 3, as llama.cpp loads it (ggml-org/ggml, docs/gguf.md): written, and what was
written here read again.

Little-endian. q and k are interleaved as that architecture has them; a tied output is left out,
llama.cpp then takes the embedding. The boundary token is the end-of-text token.
"""

import math
import struct
from dataclasses import dataclass
from enum import IntEnum
from pathlib import Path
from typing import Any

import numpy as np

from mlx_rev.config import ModelConfig
from mlx_rev.errors import FormatError
from mlx_rev.formats import names
from mlx_rev.formats.fields import Fields
from mlx_rev.formats.gguf_values import Reader, encode_pair, encode_text
from mlx_rev.formats.model_file import ModelFile, as_float16, checked_config, order_in
from mlx_rev.formats.q8 import dequantised, quantised
from mlx_rev.formats.rows import LargestErrors, row_parts
from mlx_rev.formats.tokenizers.sentencepiece_model import Kind, Piece, pieces_of, tokenizer_of
from mlx_rev.text.tokenizer import BOUNDARY, Tokenizer

MAGIC = b"GGUF"
VERSION = 3
_ALIGNMENT = 32
_Q8_GROUP = 32
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
    """Write a GGUF file; the largest error of each weight that is not kept in full.

    Vectors stay F32, and with Q8_0 a matrix whose rows are no whole groups of 32 is F16.
    Raises FormatError where the model has no tokenizer.
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
            turned = names.interleaved(weight, names.turned_heads(model.config, name))
            for part in row_parts(turned):
                content = _encoded(part, tensor.type, f"{model.source}: {name}")
                if tensor.type is not Type.F32:
                    kept = _decoded(np.frombuffer(content, np.uint8), tensor.type)
                    errors.note(name, kept, part)
                file.write(content)
            file.write(b"\0" * (_aligned(tensor.bytes) - tensor.bytes))
    return errors


def read(path: Path, *, tokenizer: Tokenizer | None = None) -> ModelFile:
    """Open a GGUF file of the llama architecture with F32, F16 and Q8_0 tensors.

    A `tokenizer` that is given is taken in place of the file's.
    Raises FormatError where it is something else, or damaged.
    """
    with open(path, "rb") as file:
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
                    f"{path}: {name} has type {type_number}; F32, F16, Q8_0 are known"
                )
            tensors[name] = _Tensor(name, shape, Type(type_number), offset)
        start = _aligned(reader.offset)
    config = _config(metadata, tied="output.weight" not in tensors)
    _check_tensors(config, tensors, path.stat().st_size - start, path)

    def read_weight(name: str) -> np.ndarray:
        tensor = tensors[_gguf_name(name)]
        raw = np.fromfile(path, np.uint8, tensor.bytes, offset=start + tensor.offset)
        array = _decoded(raw, tensor.type).reshape(tensor.shape)
        return names.half_split(array, names.turned_heads(config, name))

    return ModelFile(
        str(path),
        config,
        read_weight,
        _tokenizer(metadata) if tokenizer is None else tokenizer,
        order_in(metadata, "mlx_rev.reversal"),
    )


def _metadata(model: ModelFile, tokenizer: Tokenizer, type: Type) -> dict[str, Any]:
    config, pieces = model.config, pieces_of(tokenizer)
    order = {"mlx_rev.reversal": model.order.name} if model.order else {}
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
        **order,
    }


def _config(metadata: Fields, *, tied: bool) -> ModelConfig:
    for name, wanted in (("general.architecture", "llama"), ("general.alignment", _ALIGNMENT)):
        if metadata.values.get(name, _ALIGNMENT) != wanted:
            raise metadata.error(name, repr(wanted))
    integers = {
        "dim": "embedding_length",
        "hidden_dim": "feed_forward_length",
        "n_layers": "block_count",
        "n_heads": "attention.head_count",
        "n_kv_heads": "attention.head_count_kv",
        "vocab_size": "vocab_size",
        "context": "context_length",
    }
    numbers = {"norm_eps": "attention.layer_norm_rms_epsilon", "rope_theta": "rope.freq_base"}
    sizes = {field: metadata.integer(f"llama.{key}") for field, key in integers.items()}
    # float32 on disk: 1e-05 comes back as 9.99999974e-06 without this
    rest = {
        field: float(f"{metadata.number(f'llama.{key}'):.7g}") for field, key in numbers.items()
    }
    found: dict[str, Any] = {**sizes, **rest}
    return checked_config(metadata.source, ModelConfig(**found, tied=tied))


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
            raise FormatError(f"{path}: {name} is Q8_0, whose groups do not divide its {shape}")
    if extra := sorted(set(tensors) - set(expected)):
        raise FormatError(f"{path}: holds {extra[0]}, which a Llama has not")
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
            f"{path}: its tensors take {_aligned(end)} bytes, it has {room}; cut or damaged"
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
    """The float32 numbers, flat, that the bytes of a tensor stand for."""
    if type is Type.Q8_0:
        blocks = raw.view([("scale", "<f2"), ("values", "i1", _Q8_GROUP)])
        return dequantised(blocks["values"], blocks["scale"], _Q8_GROUP)
    return raw.view("<f4" if type is Type.F32 else "<f2").astype(np.float32, copy=False)


def _aligned(size: int) -> int:
    return size + -size % _ALIGNMENT
