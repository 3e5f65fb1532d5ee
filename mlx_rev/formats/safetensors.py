"""Safetensors files, checked before they are read and written a tensor at a time.

The format (huggingface/safetensors): the header's length in eight bytes, little-endian; a JSON
object that gives each tensor's dtype, shape and place; the data.
"""

import json
import math
import os
import struct
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from io import BufferedReader
from pathlib import Path
from typing import Any

import numpy as np

from mlx_rev.errors import FormatError
from mlx_rev.fields import Fields, parse_json
from mlx_rev.files import open_regular

_BYTES = {"F32": 4, "F16": 2, "BF16": 2, "U32": 4, "I32": 4, "U8": 1, "F64": 8, "I64": 8}
_LARGEST_HEADER = 100_000_000
_AT_ONCE = 1 << 30
"""Bytes; the system reads no more than 2 GB at once."""


class _Opened:
    """A file that stays open: it can be read on when its folder has been removed."""

    def __init__(self, file: BufferedReader) -> None:
        self._descriptor = os.dup(file.fileno())

    def __del__(self) -> None:
        os.close(self._descriptor)

    def read(self, size: int, offset: int) -> np.ndarray:
        """Bytes (uint8), fewer than `size` where the file ends."""
        content = np.empty(size, np.uint8)
        room, done = content.data, 0
        while count := os.preadv(self._descriptor, [room[done : done + _AT_ONCE]], offset + done):
            done += count
        return content[:done]


@dataclass(frozen=True)
class Entry:
    """A tensor's place in a file."""

    path: Path
    file: _Opened
    dtype: str
    shape: tuple[int, ...]
    offset: int
    """From the beginning of the file."""

    @property
    def bytes(self) -> int:
        """Its size in the file."""
        return math.prod(self.shape) * _BYTES[self.dtype]

    @property
    def is_float(self) -> bool:
        """Whether it holds floating point numbers."""
        return self.dtype in ("F64", "F32", "F16", "BF16")

    def read(self) -> np.ndarray:
        """The tensor; floating types as float32, others as they are."""
        raw = self.file.read(self.bytes, self.offset)
        if len(raw) != self.bytes:
            raise FormatError(f"{self.path}: ends inside a tensor; truncated")
        return decoded(raw, self.dtype).reshape(self.shape)


def recognises(start: bytes, size: int) -> bool:
    """Whether a file of `size` bytes that begins with `start` is a safetensors file."""
    if len(start) < 9 or start[8:9] != b"{":
        return False
    length: int = struct.unpack_from("<Q", start)[0]
    return length < min(size, _LARGEST_HEADER)


def entries(path: Path) -> dict[str, Entry]:
    """The tensors of a file, by name. Raises FormatError for a damaged or inconsistent header."""
    try:
        size = path.stat().st_size
        with open_regular(path) as file:
            start = file.read(8)
            length = struct.unpack("<Q", start)[0] if len(start) == 8 else size
            if length > min(size - 8, _LARGEST_HEADER):
                raise FormatError(
                    f"{path}: its header is {length} bytes long, the file {size}; not "
                    "safetensors, or truncated"
                )
            header = parse_json(file.read(length), f"{path}, its header")
            opened = _Opened(file)
    except OSError as error:
        raise FormatError(f"{path}: cannot be read ({error.strerror})") from error
    found = {
        name: _entry(path, opened, name, header.object(name), 8 + length)
        for name in header.values
        if name != "__metadata__"
    }
    _check_tiling(path, found, 8 + length, size)
    return found


def _entry(path: Path, opened: _Opened, name: str, described: Fields, data: int) -> Entry:
    dtype = described.text("dtype")
    if dtype not in _BYTES:
        raise FormatError(f"{path}: {name} is {dtype}, expected one of {', '.join(_BYTES)}")
    shape, places = described.list("shape"), described.list("data_offsets")
    if not all(type(number) is int and number >= 0 for number in (*shape, *places)):
        raise FormatError(f"{path}: {name} has a shape or offset that is not a whole number")
    if len(places) != 2:
        raise FormatError(f"{path}: {name} has {len(places)} data_offsets, expected 2")
    entry = Entry(path, opened, dtype, tuple(shape), data + places[0])
    if places[1] - places[0] != entry.bytes:
        raise FormatError(
            f"{path}: {name} is at {places[0]} to {places[1]}, but takes {entry.bytes} bytes; "
            "damaged"
        )
    return entry


def _check_tiling(path: Path, found: Mapping[str, Entry], data: int, size: int) -> None:
    """Raise FormatError unless the tensors fill the file, one directly after the other."""
    end = data
    for name, entry in sorted(found.items(), key=lambda item: (item[1].offset, item[1].bytes)):
        if entry.offset != end:
            raise FormatError(
                f"{path}: {name} begins at byte {entry.offset}, expected {end}, where the tensor "
                "before it ends; damaged"
            )
        end += entry.bytes
    if end != size:
        raise FormatError(f"{path}: {size} bytes, its tensors end at {end}; truncated or damaged")


@dataclass(frozen=True)
class Planned:
    """A tensor to be written."""

    dtype: str
    shape: tuple[int, ...]

    @property
    def bytes(self) -> int:
        """Its size in the file."""
        return math.prod(self.shape) * _BYTES[self.dtype]


def write(
    path: Path,
    plan: Mapping[str, Planned],
    tensors: Iterable[tuple[str, Iterable[bytes]]],
    metadata: Mapping[str, str],
) -> None:
    """Write the tensors in the order of the plan, each in parts as they come."""
    header: dict[str, Any] = {"__metadata__": dict(metadata)}
    offset = 0
    for name, planned in plan.items():
        places = [offset, offset + planned.bytes]
        header[name] = {"dtype": planned.dtype, "shape": planned.shape, "data_offsets": places}
        offset = places[1]
    text = json.dumps(header, separators=(",", ":")).encode()
    text = text.ljust(len(text) + -len(text) % 8)
    with open(path, "wb") as file:
        file.write(struct.pack("<Q", len(text)) + text)
        for (name, parts), expected in zip(tensors, plan, strict=True):
            written = sum(file.write(part) for part in parts)
            if name != expected or written != plan[name].bytes:
                raise ValueError(f"{name} came where {expected} was planned")


def encoded(array: np.ndarray, dtype: str) -> bytes:
    """A float32 array as the bytes of F32, F16 or BF16, rounded to nearest, ties to even; values
    beyond the type's range become infinite."""
    if dtype == "F32":
        return array.astype("<f4", copy=False).tobytes()
    if dtype == "F16":
        with np.errstate(over="ignore"):
            return array.astype("<f2").tobytes()
    bits = np.ascontiguousarray(array, np.float32).view(np.uint32)
    rounded = bits + 0x7FFF + ((bits >> 16) & 1)
    return (rounded >> 16).astype("<u2").tobytes()


def decoded(raw: np.ndarray, dtype: str) -> np.ndarray:
    """The values, flat, that bytes encode; floating types as float32, others as they are."""
    if dtype == "BF16":
        wide = raw.view("<u2").astype(np.uint32)
        wide <<= 16
        return wide.view(np.float32)
    kinds = {"F32": "<f4", "F16": "<f2", "F64": "<f8", "U32": "<u4", "I32": "<i4"}
    array = raw.view(kinds.get(dtype, "u1"))
    return array.astype(np.float32, copy=False) if dtype.startswith("F") else array
