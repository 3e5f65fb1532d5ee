"""llama2.c's model.bin, versions 0, 1 and 2 (export.py, run.c and runq.c of karpathy/llama2.c).

Little-endian throughout; docs/formats.md has the table of bytes. The file does not hold
theta and epsilon, for which run.c uses 10000 and 1e-5, nor the tokenizer and the reversal.
"""

import shlex
import struct
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO, NamedTuple

import numpy as np

from mlx_rev.config import LARGEST_SIZE, Dtype, ModelConfig
from mlx_rev.errors import FormatError
from mlx_rev.formats import advice, beside, names
from mlx_rev.formats.format import Format, Written
from mlx_rev.formats.model_file import ModelFile, checked_config
from mlx_rev.formats.q8 import dequantised, quantised
from mlx_rev.formats.rows import LargestErrors, row_parts
from mlx_rev.formats.tokenizers.tokenizer_bin import TOKENIZER_BIN
from mlx_rev.text.tokenizer import Tokenizer

MAGIC = 0x616B3432  # "ak42"
THETA, EPSILON = 10000.0, 1e-5
LONGEST_HEADER = 256

_FIELDS = ("dim", "hidden_dim", "n_layers", "n_heads", "n_kv_heads", "vocab_size", "max_seq_len")
_TABLE_PART = 1 << 18
"""Angles computed at once: a context may be long."""
_NORMS = ("input_layernorm", "post_attention_layernorm")
_ATTENTION = ("self_attn.q_proj", "self_attn.k_proj", "self_attn.v_proj", "self_attn.o_proj")
_FEED_FORWARD = ("mlp.gate_proj", "mlp.down_proj", "mlp.up_proj")  # w1, w2, w3


class Header(NamedTuple):
    """What the first bytes of a .bin say."""

    version: int
    config: ModelConfig
    group_size: int
    """Of Q8_0, version 2; otherwise 0."""

    @property
    def size(self) -> int:
        """Bytes before the first weight."""
        return LONGEST_HEADER if self.version else 4 * len(_FIELDS)


@dataclass(frozen=True)
class _Block:
    """A weight's place in the file; no name for the RoPE tables of version 0."""

    name: str | None
    shape: names.Shape
    quantised: bool = False


def recognises(start: bytes, size: int) -> int | None:
    """The version of a file of `size` bytes that begins with `start`, None if it is not a .bin: by
    the magic number or else, version 0, by weights that add up to the file's size."""
    if len(start) < 4 * len(_FIELDS):
        return None
    if struct.unpack_from("<I", start)[0] == MAGIC:
        return int(struct.unpack_from("<i", start, 4)[0])
    try:
        header = read_header(start, "")
    except FormatError:
        return None
    whole = header.size + sum(_bytes(block, 0) for block in _blocks(header))
    return 0 if whole == size else None


def read_header(start: bytes, source: str) -> Header:
    """Read a header from the first bytes of a file. Raises FormatError naming the field."""
    if len(start) < 4 * len(_FIELDS):
        raise FormatError(f"{source}: {len(start)} bytes; the header of a llama2.c .bin has 28")
    version, offset = 0, 0
    if struct.unpack_from("<I", start)[0] == MAGIC:
        if len(start) < LONGEST_HEADER:
            raise FormatError(f"{source}: ends inside its header of {LONGEST_HEADER} bytes")
        version, offset = struct.unpack_from("<i", start, 4)[0], 8
        if version not in (1, 2):
            raise FormatError(f"{source}: version is {version}, expected 0, 1 or 2")
    values = dict(zip(_FIELDS, struct.unpack_from("<7i", start, offset), strict=True))
    shared = values["vocab_size"] > 0 if version == 0 else bool(start[offset + 28])
    if version == 0:
        values["vocab_size"] = abs(values["vocab_size"])
    for name, value in values.items():
        if not 0 < value <= LARGEST_SIZE:
            raise FormatError(
                f"{source}: {name} is {value}, expected 1 to {LARGEST_SIZE}; "
                "not a llama2.c .bin, or damaged"
            )
    group_size = struct.unpack_from("<i", start, offset + 29)[0] if version == 2 else 0
    config = checked_config(
        source,
        ModelConfig(
            dim=values["dim"],
            hidden_dim=values["hidden_dim"],
            n_layers=values["n_layers"],
            n_heads=values["n_heads"],
            n_kv_heads=values["n_kv_heads"],
            vocab_size=values["vocab_size"],
            context=values["max_seq_len"],
            tied=shared,
            rope_theta=THETA,
            norm_eps=EPSILON,
        ),
    )
    if version == 2 and (
        group_size < 1 or config.dim % group_size or config.hidden_dim % group_size
    ):
        raise FormatError(
            f"{source}: group_size is {group_size}, which does not divide dim {config.dim} and "
            f"hidden_dim {config.hidden_dim}: groups cross the ends of rows, which llama2.c's "
            "export.py allows and runq.c misreads; export with --version 0 or 1 instead"
        )
    return Header(version, config, group_size)


def read(path: Path) -> ModelFile:
    """Open a .bin. Raises FormatError if header and size disagree, before reading any weight."""
    with open(path, "rb") as file:
        header = read_header(file.read(LONGEST_HEADER), str(path))
    places: dict[str, tuple[_Block, int]] = {}
    offset = header.size
    for block in _blocks(header):
        if block.name is not None:
            places[block.name] = block, offset
        offset += _bytes(block, header.group_size)
    if path.stat().st_size != offset:
        raise FormatError(
            f"{path}: has {path.stat().st_size:,} bytes, but its header (version "
            f"{header.version}) implies {offset:,}; truncated, damaged, or another format"
        )

    def read_weight(name: str) -> np.ndarray:
        block, start = places[name]
        raw = np.fromfile(path, np.uint8, _bytes(block, header.group_size), offset=start)
        array = _decoded(raw, block, header.group_size)
        return names.half_split(array, names.rotated_heads(header.config, name))

    return ModelFile(str(path), header.config, read_weight)


def write(path: Path, model: ModelFile, version: int) -> dict[str, float]:
    """Write a .bin of this version; returns the largest error of each quantised weight.

    Raises FormatError for what run.c could not run.
    """
    config = model.config
    if config.head_dim * config.n_heads != config.dim or config.rope_factor != 1:
        raise FormatError(
            f"{model.source}: its heads have {config.head_dim} numbers and its RoPE the factor "
            f"{config.rope_factor:g}; run.c has dim / n_heads and 1 built in. Convert to mlx or "
            "gguf instead"
        )
    if (config.rope_theta, config.norm_eps) != (THETA, EPSILON):
        raise FormatError(
            f"{model.source}: rope_theta is {config.rope_theta:g} and norm_eps {config.norm_eps:g}"
            f"; run.c has {THETA:g} and {EPSILON:g} built in. Convert to mlx or gguf instead"
        )
    group_size = _group_size(config) if version == 2 else 0
    header = Header(version, config, group_size)
    errors = LargestErrors(model.source)
    with open(path, "wb") as file:
        file.write(_header_bytes(header))
        for block in _blocks(header):
            if block.name is None:
                continue
            _write_weight(file, model, block, group_size, errors)
            if block.name == names.FINAL_NORM and version == 0:
                for function in (np.cos, np.sin):
                    for part in rope_table(config, function):
                        file.write(part.astype("<f4").tobytes())
    return errors


def rope_table(config: ModelConfig, function: np.ufunc) -> Iterator[np.ndarray]:
    """np.cos or np.sin of every angle, (context, head size / 2), some positions at a time; in
    float32 in llama2.c's order (model.py, precompute_freqs_cis). run.c skips them."""
    exponents = np.arange(0, config.head_dim, 2, dtype=np.float32) / np.float32(config.head_dim)
    frequencies = np.float32(1) / np.power(np.float32(THETA), exponents)
    positions = max(1, _TABLE_PART // len(frequencies))
    for start in range(0, config.context, positions):
        stop = min(start + positions, config.context)
        yield function(np.outer(np.arange(start, stop, dtype=np.float32), frequencies))


def _write_weight(
    file: BinaryIO, model: ModelFile, block: _Block, group_size: int, errors: LargestErrors
) -> None:
    name = block.name or ""
    weight = names.interleaved(model.weight(name), names.rotated_heads(model.config, name))
    scales = []
    for part in row_parts(weight):
        if not block.quantised:
            file.write(part.astype("<f4", copy=False).tobytes())
            continue
        values, own = quantised(part, group_size)
        errors.note(name, dequantised(values, own, group_size), part)
        file.write(values.tobytes())
        scales.append(own.astype("<f4").tobytes())
    file.write(b"".join(scales))


def _header_bytes(header: Header) -> bytes:
    config = header.config
    sizes = [config.dim, config.hidden_dim, config.n_layers, config.n_heads, config.n_kv_heads]
    if header.version == 0:
        vocab = config.vocab_size if config.tied else -config.vocab_size
        return struct.pack("<7i", *sizes, vocab, config.context)
    start = struct.pack("<Ii7i", MAGIC, header.version, *sizes, config.vocab_size, config.context)
    start += struct.pack("<B", config.tied)
    if header.version == 2:
        start += struct.pack("<i", header.group_size)
    return start.ljust(LONGEST_HEADER, b"\0")


def _blocks(header: Header) -> Iterator[_Block]:
    """What stands in the file after the header, in order."""
    config = header.config
    embedding = names.EMBEDDING, (config.vocab_size, config.dim)
    final_norm = _Block(names.FINAL_NORM, (config.dim,))

    def layers(weights: tuple[str, ...], quantised: bool = False) -> Iterator[_Block]:
        for weight in weights:
            shape = names.layer_shape(config, weight)
            for layer in range(config.n_layers):
                yield _Block(names.layer_name(layer, weight), shape, quantised)

    quantise = header.version == 2
    if header.version == 0:
        yield _Block(*embedding)
        yield from layers((_NORMS[0], *_ATTENTION, _NORMS[1], *_FEED_FORWARD))
        yield final_norm
        table = (config.context, config.head_dim // 2)
        yield from (_Block(None, table), _Block(None, table))
    else:
        yield from layers(_NORMS)
        yield final_norm
        yield _Block(*embedding, quantise)
        yield from layers((*_ATTENTION, *_FEED_FORWARD), quantise)
    if not config.tied:
        yield _Block(names.OUTPUT, embedding[1], quantise)


def _bytes(block: _Block, group_size: int) -> int:
    size = 1
    for length in block.shape:
        size *= length
    return size + 4 * (size // group_size) if block.quantised else 4 * size


def _decoded(raw: np.ndarray, block: _Block, group_size: int) -> np.ndarray:
    if not block.quantised:
        return raw.view("<f4").astype(np.float32, copy=False).reshape(block.shape)
    size = int(np.prod(block.shape))
    values, scales = raw[:size].view(np.int8), raw[size:].view("<f4")
    return dequantised(values, scales, group_size).reshape(block.shape)


def _group_size(config: ModelConfig) -> int:
    """64, halved until it divides dim and hidden_dim, as runq.c needs."""
    size = 64
    while config.dim % size or config.hidden_dim % size:
        size //= 2
    return size


def _format(version: int, name: str, dtype: Dtype, summary: str) -> Format:
    """The format of one version."""

    def write_version(model: ModelFile, target: Path, dtype: Dtype, force: bool) -> Written:
        return beside.write(model, target, lambda path: write(path, model, version), force=force)

    def read_beside(path: Path, tokenizer: Tokenizer | None) -> ModelFile:
        return beside.read(read(path), path, tokenizer)

    def how_to_run(target: Path, model: ModelFile) -> str:
        program = "./runq" if version == 2 else "./run"
        tokenizer = shlex.quote(str(target.with_name(TOKENIZER_BIN)))
        command = f"{program} {shlex.quote(str(target))} -z {tokenizer} -n 0"
        return advice.told_by(command, "-i", target, model)

    return Format(
        name=name,
        summary=summary,
        suffix=".bin",
        dtypes=(dtype,),
        recognises=lambda source: recognises(source.start, source.size) == version,
        read=read_beside,
        write=write_version,
        how_to_run=how_to_run,
        program="run.c",
    )


FORMATS = (
    _format(0, "llama2c", Dtype.FLOAT32, "llama2.c's .bin, version 0"),
    _format(1, "llama2c-v1", Dtype.FLOAT32, "llama2.c's version 1"),
    _format(2, "llama2c-v2", Dtype.Q8, "llama2.c's version 2, in 8 bits"),
)
