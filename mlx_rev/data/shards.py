"""Token shards: the stories of a corpus as ids in model order, on disk and memory-mapped.

Little-endian, one file:

    offset  bytes        content
    0       8            magic "mlxrevsh"
    8       4            uint32 version, 1
    12      4            uint32 bytes per token, 2 or 4
    16      4            uint32 vocabulary
    20      4            uint32 length of the order's name, at most 8
    24      8            the order's name, zero-padded
    32      8            uint64 stories, n
    40      8            uint64 tokens, boundaries included, t
    48      32           sha256 of the tokenizer
    80      32           sha256 of the corpus
    112     16           start of the sha256 of the file with zeros here; zeros in older shards
    128     8 (n + 1)    uint64 position of each story's boundary, and of the last one
    ...     4 n          uint32 UTF-8 bytes of each story's text
    ...     (2 or 4) t   the tokens: boundary, story, boundary, story, ..., boundary
"""

import hashlib
import struct
from array import array
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from mlx_rev import files
from mlx_rev.errors import DataError
from mlx_rev.text.chunk_cache import id_type
from mlx_rev.text.tokenizer import BOUNDARY

_MAGIC = b"mlxrevsh"
_VERSION = 1
_HEADER = struct.Struct("<8sIIII8sQQ32s32s16s")
_NO_CHECKSUM = bytes(16)
_CHECKSUM = slice(_HEADER.size - len(_NO_CHECKSUM), _HEADER.size)


@dataclass(frozen=True, eq=False)
class Shard:
    """A shard that is open for reading; the arrays are views of the file."""

    vocab_size: int
    order: str
    tokenizer_fingerprint: str
    corpus_fingerprint: str
    starts: np.ndarray
    """(stories + 1,) uint64: where each story's boundary is in `tokens`, and the last one."""
    text_bytes: np.ndarray
    """(stories,) uint32: UTF-8 bytes of each story's text."""
    tokens: np.ndarray
    """(tokens,) uint16 or uint32."""
    path: Path | None = None
    """Its file."""
    has_checksum: bool = False
    """Whether its file holds one; the first versions wrote none."""

    @property
    def story_count(self) -> int:
        """How many stories there are."""
        return len(self.text_bytes)

    def story(self, index: int) -> np.ndarray:
        """A story's ids in model order, with the boundary at both ends."""
        return self.tokens[int(self.starts[index]) : int(self.starts[index + 1]) + 1]


def divided(shard: Shard, text_bytes: int) -> tuple[Shard, ...]:
    """The stories of a shard in several, each of which ends with the story that fills it up to
    `text_bytes`."""
    sizes = np.cumsum(shard.text_bytes, dtype=np.int64)
    parts, first, size = [], 0, 0
    while first < shard.story_count:
        last = min(int(np.searchsorted(sizes, size + text_bytes)), shard.story_count - 1)
        start, end = int(shard.starts[first]), int(shard.starts[last + 1])
        parts.append(
            replace(
                shard,
                starts=shard.starts[first : last + 2] - shard.starts[first],
                text_bytes=shard.text_bytes[first : last + 1],
                tokens=shard.tokens[start : end + 1],
            )
        )
        first, size = last + 1, int(sizes[last])
    return tuple(parts)


class ShardContent:
    """The stories of a shard that is being made, in memory."""

    def __init__(self, vocab_size: int, boundary: int = BOUNDARY) -> None:
        self._vocab_size, self._boundary = vocab_size, boundary
        self._tokens = array(id_type(vocab_size), [boundary])
        self._starts, self._text_bytes = array("Q", [0]), array("I")

    def append(self, ids: Sequence[int], text_bytes: int) -> None:
        """Add a story: its ids without boundaries, and the UTF-8 bytes of its text."""
        self._tokens.extend(ids)
        self._tokens.append(self._boundary)
        self._starts.append(len(self._tokens) - 1)
        self._text_bytes.append(text_bytes)

    def extend(self, tokens: bytes, lengths: np.ndarray, text_bytes: Sequence[int]) -> None:
        """Add stories: their ids one after another, each with a boundary after it, as bytes of the
        vocabulary's `id_type`; the tokens of each, its boundary included; and its text's bytes."""
        ends = np.cumsum(lengths, dtype=np.uint64) + self._starts[-1]
        self._tokens.frombytes(tokens)
        self._starts.frombytes(ends.tobytes())
        self._text_bytes.extend(text_bytes)

    def write(
        self, path: Path, *, order: str, tokenizer_fingerprint: str, corpus_fingerprint: str
    ) -> None:
        """Write the shard, whole or not at all. Raises DataError if there is no story."""
        if not self._text_bytes:
            raise DataError("no story to make a shard of; give more text")
        itemsize = self._tokens.itemsize
        fields = (
            _MAGIC,
            _VERSION,
            itemsize,
            self._vocab_size,
            len(order),
            order.encode(),
            len(self._text_bytes),
            len(self._tokens),
            bytes.fromhex(tokenizer_fingerprint),
            bytes.fromhex(corpus_fingerprint),
        )
        parts = [
            np.asarray(part).astype(dtype, copy=False)
            for part, dtype in (
                (self._starts, "<u8"),
                (self._text_bytes, "<u4"),
                (self._tokens, f"<u{itemsize}"),
            )
        ]
        checksum = _checksum(_HEADER.pack(*fields, _NO_CHECKSUM), *parts)
        with files.atomic_path(path) as temporary, open(temporary, "wb") as file:
            file.write(_HEADER.pack(*fields, checksum))
            for part in parts:
                file.write(part.data)


def write_shard(
    path: Path,
    stories: Iterable[tuple[Sequence[int], int]],
    *,
    vocab_size: int,
    order: str,
    tokenizer_fingerprint: str,
    corpus_fingerprint: str,
    boundary: int = BOUNDARY,
) -> None:
    """Write a shard, whole or not at all, from stories as (ids without boundaries, text bytes).

    Raises DataError if there is no story.
    """
    content = ShardContent(vocab_size, boundary)
    for ids, text_bytes in stories:
        content.append(ids, text_bytes)
    content.write(
        path,
        order=order,
        tokenizer_fingerprint=tokenizer_fingerprint,
        corpus_fingerprint=corpus_fingerprint,
    )


def open_shard(path: Path, *, verify: bool = True) -> Shard:
    """Map a shard into memory.

    Without `verify` its checksum and its ids, for which all of it must be read, are not looked at.
    Raises RevError, naming file and field, for a damaged one and what is no regular file.
    """
    try:
        files.check_regular(path)
        content = np.asarray(np.memmap(path, np.uint8, "r"))  # plain: a memmap is slow to slice
    except (OSError, ValueError) as error:
        raise DataError(f"{path}: cannot be read as a token shard ({error})") from error
    if len(content) < _HEADER.size:
        raise DataError(f"{path}: {len(content)} bytes are less than a shard's header")
    header = content[: _HEADER.size].tobytes()
    fields = _HEADER.unpack(header)
    magic, version, itemsize, vocab_size, name_length, name, stories, tokens = fields[:8]
    if magic != _MAGIC or version != _VERSION:
        raise DataError(
            f"{path}: not a token shard of version {_VERSION}; remove it and run mlx-rev prepare"
        )
    if itemsize not in (2, 4) or name_length > 8:
        raise DataError(f"{path}: token size {itemsize} or the order's name is wrong; damaged")
    size = _HEADER.size + 8 * (stories + 1) + 4 * stories + itemsize * tokens
    if len(content) != size:
        raise DataError(f"{path}: has {len(content)} bytes, its header says {size}; damaged")
    noted = header[_CHECKSUM]
    without = header[: _CHECKSUM.start] + _NO_CHECKSUM
    has_checksum = noted != _NO_CHECKSUM
    if verify and has_checksum and noted != _checksum(without, content[_HEADER.size :]):
        raise DataError(f"{path}: its checksum does not match its content; damaged")
    starts_end = _HEADER.size + 8 * (stories + 1)
    sizes_end = starts_end + 4 * stories
    starts = content[_HEADER.size : starts_end].view("<u8")
    if starts[0] != 0 or starts[-1] != tokens - 1 or (np.diff(starts.astype(np.int64)) < 1).any():
        raise DataError(f"{path}: its story positions are out of order; damaged")
    ids = content[sizes_end:].view(f"<u{itemsize}")
    if stories == 0:
        raise DataError(f"{path}: has no story; damaged")
    if verify and (largest := int(ids.max())) >= vocab_size:
        raise DataError(f"{path}: has token {largest} in a vocabulary of {vocab_size}; damaged")
    return Shard(
        vocab_size=vocab_size,
        order=name[:name_length].decode(errors="replace"),
        tokenizer_fingerprint=fields[8].hex(),
        corpus_fingerprint=fields[9].hex(),
        starts=starts,
        text_bytes=content[starts_end:sizes_end].view("<u4"),
        tokens=ids,
        path=path,
        has_checksum=has_checksum,
    )


def _checksum(*parts: Any) -> bytes:
    """Of all bytes of the parts, each of which is a buffer."""
    summed = hashlib.sha256()
    for part in parts:
        summed.update(part)
    return summed.digest()[: len(_NO_CHECKSUM)]


def check_origin(
    path: Path,
    shard: Shard,
    *,
    vocab_size: int,
    order: str,
    tokenizer_fingerprint: str,
    corpus_fingerprint: str,
) -> None:
    """Raise DataError, naming what differs, if `shard`, opened from `path`, was made from something
    else."""
    for what, found, expected in (
        ("tokenizer", shard.tokenizer_fingerprint, tokenizer_fingerprint),
        ("corpus", shard.corpus_fingerprint, corpus_fingerprint),
        ("order", shard.order, order),
        ("vocabulary", str(shard.vocab_size), str(vocab_size)),
    ):
        if found != expected:
            raise DataError(
                f"{path}: was made with the {what} {found[:12]}, expected {expected[:12]}; remove "
                "the file, and it is made again"
            )
