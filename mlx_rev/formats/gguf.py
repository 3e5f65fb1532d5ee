"""GGUF, as llama.cpp loads it (ggml-org/ggml, docs/gguf.md): version 3 written, and Llamas by
anyone read.

Little-endian. Types that are not written here are dequantised by llama.cpp's package gguf, which
is handed one checked tensor at a time. Its reader is not used: it makes several objects of every
element of the header, and believes the counts in it. q and k are interleaved, as in llama.cpp's
llama architecture; a tied output is left out, for which llama.cpp uses the embedding. The boundary
token is the end-of-text token.
"""

import math
import shlex
import struct
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from mlx_rev import files
from mlx_rev.config import Dtype, ModelConfig
from mlx_rev.errors import FormatError
from mlx_rev.fields import Fields
from mlx_rev.formats import advice, gguf_rope, names, overwrite
from mlx_rev.formats.format import Format, Written
from mlx_rev.formats.gguf_types import Q8_GROUP, WRITTEN_BLOCKS, Type, block_of, decoded, encoded
from mlx_rev.formats.gguf_values import Reader, encode_pair, encode_text
from mlx_rev.formats.model_file import ModelFile, checked_config, order_in, provenance_in
from mlx_rev.formats.rows import LargestErrors, row_parts
from mlx_rev.formats.settings import GGUF_NAMES, settings_in
from mlx_rev.formats.tokenizers.gguf_tokenizer import end_of_text, metadata_of, tokenizer_in
from mlx_rev.formats.tokenizers.limits import check_gguf
from mlx_rev.text.tokenizer import Tokenizer

MAGIC = b"GGUF"
VERSION = 3
_READABLE = (2, 3)
"""Versions of one layout; in the first, counts had four bytes."""
_ALIGNMENT = 32
_LARGEST_ALIGNMENT = 1 << 16
_ROPE_FACTORS = "rope_freqs.weight"
"""How many times slower each pair of a head is rotated: Llama 3's scaling, worked out."""
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


_FILE_TYPES = {Type.F32: 0, Type.F16: 1, Type.Q8_0: 7}
_TYPES = {Dtype.FLOAT32: Type.F32, Dtype.FLOAT16: Type.F16, Dtype.Q8: Type.Q8_0}


@dataclass(frozen=True)
class _Tensor:
    name: str
    shape: names.Shape
    type: int
    offset: int
    block: tuple[int, int]
    """Numbers in a block of the type, and its bytes."""

    @property
    def bytes(self) -> int:
        size, length = self.block
        return math.prod(self.shape) // size * length


def write(path: Path, model: ModelFile, type: Type) -> dict[str, float]:
    """Write a GGUF file; returns the largest error of each weight that is not stored exactly.

    Vectors stay F32, and with Q8_0 a matrix whose row length is not a multiple of 32 is F16.
    Raises FormatError if the model has no tokenizer.
    """
    if model.tokenizer is None:
        raise FormatError(f"{model.source}: has no tokenizer, which GGUF needs; give --tokenizer")
    tensors = _planned(model, type)
    is_scaled = model.config.rope_factor != 1
    metadata = _metadata(model, type)
    errors = LargestErrors(model.source)
    with open(path, "wb") as file:
        file.write(MAGIC + struct.pack("<IQQ", VERSION, len(tensors), len(metadata)))
        for key, value in metadata.items():
            file.write(encode_pair(key, value))
        for tensor in tensors:
            file.write(encode_text(tensor.name) + struct.pack("<I", len(tensor.shape)))
            file.write(struct.pack(f"<{len(tensor.shape)}Q", *reversed(tensor.shape)))
            file.write(struct.pack("<IQ", tensor.type, tensor.offset))
        file.write(b"\0" * (-file.tell() % _ALIGNMENT))
        if is_scaled:
            content = gguf_rope.factors(model.config).tobytes()
            file.write(content.ljust(_aligned(len(content)), b"\0"))
        weights = tensors[1:] if is_scaled else tensors
        for (name, weight), tensor in zip(model.weights(), weights, strict=True):
            stored = names.interleaved(weight, names.rotated_heads(model.config, name))
            for part in row_parts(stored):
                content = encoded(part, Type(tensor.type))
                if tensor.type != Type.F32:
                    kept = decoded(np.frombuffer(content, np.uint8), tensor.type)
                    errors.note(name, kept, part)
                file.write(content)
            file.write(b"\0" * (_aligned(tensor.bytes) - tensor.bytes))
    return errors


def read(path: Path, *, tokenizer: Tokenizer | None = None) -> ModelFile:
    """Open a GGUF file of the llama architecture, its tensors of any type that the package gguf
    dequantises.

    A `tokenizer` that is given replaces the file's. Raises FormatError for anything else, or a
    damaged file.
    """
    with open(path, "rb") as file:
        if file.read(len(MAGIC)) != MAGIC:
            raise FormatError(f"{path}: does not begin with GGUF; damaged, or another format")
        reader = Reader(file, path)
        version, tensor_count, pair_count = reader.head()
        if version not in _READABLE:
            raise FormatError(f"{path}: GGUF version is {version}, expected 2 or 3")
        metadata = Fields(dict(reader.pair() for _ in range(pair_count)), str(path))
        alignment = _check_kind(metadata)
        tensors = {}
        for _ in range(tensor_count):
            name, shape, number, offset = reader.tensor()
            tensors[name] = _Tensor(
                name, shape, number, offset, block_of(number, f"{path}: {name}")
            )
        start = _aligned(reader.offset, alignment)
    config = _config(metadata, tensors)
    _check_tensors(config, tensors, path.stat().st_size - start, alignment, path)

    def read_tensor(name: str) -> np.ndarray:
        tensor = tensors[name]
        raw = np.fromfile(path, np.uint8, tensor.bytes, offset=start + tensor.offset)
        return decoded(raw, tensor.type).reshape(tensor.shape)

    def read_weight(name: str) -> np.ndarray:
        return names.half_split(read_tensor(_gguf_name(name)), names.rotated_heads(config, name))

    if _ROPE_FACTORS in tensors:
        config = gguf_rope.scaled(config, read_tensor(_ROPE_FACTORS), metadata)
    return ModelFile(
        str(path),
        config,
        read_weight,
        tokenizer_in(metadata) if tokenizer is None else tokenizer,
        order_in(metadata, "mlx_rev.reversal"),
        provenance_in(metadata, "mlx_rev."),
        settings_in(metadata, GGUF_NAMES),
        end_of_text(metadata),
    )


def _planned(model: ModelFile, type: Type) -> list[_Tensor]:
    """The tensors of a file, in its order."""
    planned: list[_Tensor] = []
    offset = 0
    shapes = {_gguf_name(name): shape for name, shape in model.shapes.items()}
    if model.config.rope_factor != 1:
        shapes = {_ROPE_FACTORS: (model.config.head_dim // 2,), **shapes}
    for name, shape in shapes.items():
        own = _type_of(shape, type)
        planned.append(_Tensor(name, shape, own, offset, WRITTEN_BLOCKS[own]))
        offset += _aligned(planned[-1].bytes)
    return planned


def _metadata(model: ModelFile, type: Type) -> dict[str, Any]:
    config = model.config
    optional: dict[str, Any] = {f"mlx_rev.{key}": text for key, text in model.provenance.items()}
    for name, value in model.settings.items():
        kind = np.int32 if name == "top_k" else np.float32
        optional[GGUF_NAMES[name]] = kind(value)
    if model.order:
        optional["mlx_rev.reversal"] = model.order.name
    if config.head_size:
        for part in ("key", "value"):
            optional[f"llama.attention.{part}_length"] = np.uint32(config.head_dim)
    if type is Type.Q8_0:
        optional["general.quantization_version"] = np.uint32(_QUANTIZATION_VERSION)
    return {
        "general.architecture": "llama",
        "general.name": Path(model.source).stem.encode(errors="replace").decode(),
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
        **metadata_of(model),
        **gguf_rope.metadata_of(config),
        **optional,
    }


def _config(metadata: Fields, tensors: dict[str, _Tensor]) -> ModelConfig:
    """The shape that the metadata describe; missing optional keys have llama.cpp's defaults."""
    heads, dim = (
        metadata.integer(f"llama.{key}") for key in ("attention.head_count", "embedding_length")
    )
    head_size = metadata.integer("llama.attention.key_length", dim // heads if heads > 0 else 0)
    embedding = tensors.get(_gguf_name(names.EMBEDDING))
    # float32 on disk: 1e-05 comes back as 9.99999974e-06 without this
    epsilon = f"{metadata.number('llama.attention.layer_norm_rms_epsilon'):.7g}"
    config = ModelConfig(
        dim=dim,
        head_size=head_size if head_size * heads != dim else 0,
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
    for key in ("rope.dimension_count", "attention.value_length"):
        if metadata.integer(f"llama.{key}", config.head_dim) != config.head_dim:
            raise metadata.error(f"llama.{key}", f"the size of a head, {config.head_dim}")
    return config


def _check_kind(metadata: Fields) -> int:
    """The alignment of the tensors. Raises FormatError for another architecture than a Llama's."""
    if (found := metadata.text("general.architecture")) != "llama":
        raise FormatError(
            f"{metadata.source}: general.architecture is {found!r}, which is not a Llama; only "
            "'llama' is supported"
        )
    if metadata.integer("llama.expert_count", 0):
        raise metadata.error("llama.expert_count", "0: a mixture of experts is not a Llama")
    _check_rope(metadata)
    alignment = metadata.integer("general.alignment", _ALIGNMENT)
    if not 8 <= alignment <= _LARGEST_ALIGNMENT or alignment & (alignment - 1):
        raise metadata.error("general.alignment", f"a power of 2, 8 to {_LARGEST_ALIGNMENT}")
    return alignment


def _check_rope(metadata: Fields) -> None:
    """Raise FormatError if RoPE is scaled, which is not supported here."""
    kind = "llama.rope.scaling.type"
    if metadata.text(kind, "none") not in ("none", "linear"):
        raise metadata.error(kind, "none: scaled RoPE is not supported")
    for key in ("rope.scaling.factor", "rope.scale_linear", "rope.scaling.attn_factor"):
        if metadata.number(f"llama.{key}", 1.0) not in (0.0, 1.0):  # 0 is none, too
            raise metadata.error(f"llama.{key}", "1: scaled RoPE is not supported")


def _check_tensors(
    config: ModelConfig, tensors: dict[str, _Tensor], room: int, alignment: int, path: Path
) -> None:
    """Raise FormatError unless the tensors are a Llama's, one directly after the other."""
    expected = {_gguf_name(name): shape for name, shape in names.shapes(config).items()}
    if _ROPE_FACTORS in tensors:
        expected[_ROPE_FACTORS] = (config.head_dim // 2,)
    for name, shape in expected.items():
        if name not in tensors:
            raise FormatError(f"{path}: {name} is missing")
        tensor = tensors[name]
        if tensor.shape != shape:
            raise FormatError(f"{path}: {name} has shape {tensor.shape}, expected {shape}")
        if shape[-1] % tensor.block[0]:
            raise FormatError(
                f"{path}: {name} is in blocks of {tensor.block[0]}, but the row length of {shape} "
                "is not a multiple"
            )
    if extra := sorted(set(tensors) - set(expected)):
        raise FormatError(f"{path}: unexpected tensor {extra[0]}; a Llama has none of that name")
    end = 0
    for tensor in sorted(tensors.values(), key=lambda tensor: tensor.offset):
        if tensor.offset != (expected_offset := _aligned(end, alignment)):
            raise FormatError(
                f"{path}: {tensor.name} begins at {tensor.offset}, expected {expected_offset}, "
                "where the tensor before it ends; damaged"
            )
        end = tensor.offset + tensor.bytes
    if room not in (end, _aligned(end, alignment)):
        raise FormatError(
            f"{path}: its tensors take {_aligned(end, alignment)} bytes, it has {room}; truncated "
            "or damaged"
        )


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
    return Type.F16 if asked is Type.Q8_0 and shape[-1] % Q8_GROUP else asked


def _aligned(size: int, alignment: int = _ALIGNMENT) -> int:
    return size + -size % alignment


def _write(model: ModelFile, target: Path, dtype: Dtype, force: bool) -> Written:
    if model.tokenizer is not None:
        check_gguf(model.tokenizer, model.source)
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
