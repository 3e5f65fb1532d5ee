"""The scalars, strings and arrays of a GGUF file's header."""

import struct
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np

from mlx_rev.errors import FormatError

_TEXT, _ARRAY = 8, 9
_SCALARS: dict[int, np.dtype] = {
    number: np.dtype(code)
    for number, code in enumerate(
        ("<u1", "<i1", "<u2", "<i2", "<u4", "<i4", "<f4", "?", "", "", "<u8", "<i8", "<f8")
    )
    if code
}
_NUMBERS = {kind: number for number, kind in _SCALARS.items()}
_LARGEST_HEAD = 1 << 28
"""A header beyond this counts as damage: a vocabulary takes some megabytes."""


def encode_text(text: str) -> bytes:
    """A length in eight bytes, then UTF-8."""
    content = text.encode()
    return struct.pack("<Q", len(content)) + content


def encode_pair(key: str, value: Any) -> bytes:
    """A key, the type of its value, and the value."""
    return encode_text(key) + _encode_value(value)


def _encode_value(value: Any) -> bytes:
    if isinstance(value, str):
        return struct.pack("<I", _TEXT) + encode_text(value)
    if isinstance(value, list):
        texts = b"".join(map(encode_text, value))
        return struct.pack("<IIQ", _ARRAY, _TEXT, len(value)) + texts
    array = np.asarray(value)
    number = _NUMBERS[array.dtype.newbyteorder("<")]
    if array.ndim:
        return struct.pack("<IIQ", _ARRAY, number, len(array)) + array.tobytes()
    return struct.pack("<I", number) + array.tobytes()


class Reader:
    """Reads the header of an open file in order, a value at a time.

    Raises FormatError where the file ends too early or makes no sense.
    """

    def __init__(self, file: BinaryIO, path: Path) -> None:
        self._file = file
        self._path = path
        self._size = min(path.stat().st_size, _LARGEST_HEAD)
        self.offset = 4
        file.seek(self.offset)

    def head(self) -> tuple[int, int, int]:
        """Version, tensor count, count of pairs."""
        version, tensors, pairs = struct.unpack("<IQQ", self._take(20))
        for name, count in (("tensor_count", tensors), ("metadata_kv_count", pairs)):
            if count > self._size:
                raise FormatError(f"{self._path}: {name} is {count}, more than the file can hold")
        return version, tensors, pairs

    def pair(self) -> tuple[str, Any]:
        """A key and its value."""
        return self._text(), self._value(self._number("<I"))

    def tensor(self) -> tuple[str, tuple[int, ...], int, int]:
        """A tensor's name, shape (rows first), type and offset."""
        name = self._text()
        dimensions = self._number("<I")
        if not 1 <= dimensions <= 4:
            raise FormatError(f"{self._path}: {name} has {dimensions} dimensions, expected 1 to 4")
        shape = struct.unpack(f"<{dimensions}Q", self._take(8 * dimensions))[::-1]
        return name, shape, self._number("<I"), self._number("<Q")

    def _value(self, kind: int) -> Any:
        if kind == _TEXT:
            return self._text()
        if kind == _ARRAY:
            element, count = self._number("<I"), self._number("<Q")
            if count > self._size:
                raise FormatError(f"{self._path}: an array of {count} elements does not fit in it")
            if element == _TEXT:
                return [self._text() for _ in range(count)]
            scalar = self._scalar(element)
            return np.frombuffer(self._take(count * scalar.itemsize), scalar)
        scalar = self._scalar(kind)
        return np.frombuffer(self._take(scalar.itemsize), scalar)[0].item()

    def _scalar(self, kind: int) -> np.dtype:
        if kind not in _SCALARS:
            raise FormatError(f"{self._path}: value type {kind} at byte {self.offset} is unknown")
        return _SCALARS[kind]

    def _text(self) -> str:
        try:
            return self._take(self._number("<Q")).decode()
        except UnicodeDecodeError as error:
            raise FormatError(
                f"{self._path}: the text before byte {self.offset} is not UTF-8; damaged"
            ) from error

    def _number(self, code: str) -> int:
        return int(struct.unpack(code, self._take(struct.calcsize(code)))[0])

    def _take(self, size: int) -> bytes:
        if self.offset + size > self._size:
            raise FormatError(f"{self._path}: ends at byte {self._size}, inside its header")
        self.offset += size
        return self._file.read(size)
