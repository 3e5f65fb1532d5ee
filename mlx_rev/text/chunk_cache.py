"""Stories to ids by looking up whole chunks: several times as fast as the tokenizer, the same ids.

Most of what stands between two spaces has been met before. Its ids are remembered as bytes, so a
story is a split, a look-up for each chunk, and a join. Only new chunks are reversed and encoded.
"""

from array import array
from collections.abc import Callable, Sequence
from typing import Literal

from mlx_rev.errors import DataError
from mlx_rev.text.chunking import Chunking
from mlx_rev.text.codec import StoryCodec

MOST = 100_000
"""Chunks after which those that are not met again are forgotten."""
_LONGEST = 64
"""Characters of a chunk that is remembered; longer ones hardly come back."""


def id_type(vocab_size: int) -> Literal["H", "I"]:
    """The type of ids, by its letter in `array`: 2 bytes each where that is enough, else 4."""
    return "H" if vocab_size <= 1 << 16 else "I"


Known = tuple[dict[str, bytes], dict[str, bytes]]
"""The ids of chunks, by chunk: of those that come first in what the tokenizer sees, and of others.
"""


class ChunkCache:
    """`StoryCodec.encode_batch` for a corpus. What it remembers takes up to 50 MB.

    It begins with what another one for the same codec came to know.
    """

    def __init__(self, codec: StoryCodec, known: Known = ({}, {}), most: int = MOST) -> None:
        self._codec = codec
        cuts = codec.tokenizer.cuts
        self._chunks = _Chunks(codec, codec.order.chunking(cuts), known, most) if cuts else None

    @property
    def known(self) -> Known:
        """A copy of what this knows."""
        return ({}, {}) if self._chunks is None else self._chunks.known

    def encode(self, stories: Sequence[str]) -> list[bytes]:
        """The ids of each story in model order, without boundaries, as bytes of their `id_type`.

        Raises DataError for what cannot be encoded.
        """
        if self._chunks is None:
            kind = id_type(self._codec.tokenizer.vocab_size)
            return [array(kind, ids).tobytes() for ids in self._codec.encode_batch(stories)]
        try:
            return list(map(self._chunks.encode, stories))
        except DataError:
            # Name the place in the story, rather than in a chunk.
            for story in stories:
                self._codec.tokenizer.check(story)
            raise


class _NotAChunkError(Exception):
    """What stands between two spaces is not encoded alone."""


class _Chunks:
    """The chunks that are known, in either place: first in what the tokenizer sees, or later."""

    def __init__(self, codec: StoryCodec, chunking: Chunking, known: Known, most: int) -> None:
        self._chunking, self._order, self._tokenizer = chunking, codec.order, codec.tokenizer
        self._type = id_type(codec.tokenizer.vocab_size)
        self._first = _Memory(self._encoded_first, chunking.is_whole, most)
        self._later = _Memory(self._encoded_later, chunking.is_whole, most)
        self._first.update(known[0])
        self._later.update(known[1])
        self._first_ends = chunking.first == 0 and codec.order.grows_leftwards

    @property
    def known(self) -> Known:
        """What is known, as plain dictionaries."""
        return dict(self._first), dict(self._later)

    def encode(self, story: str) -> bytes:
        """The ids of a story."""
        try:
            chunks = self._chunking.quickly(story)
            first = self._first[chunks.pop(self._chunking.first)]
            ids = list(map(self._later.__getitem__, chunks))
        except _NotAChunkError:
            chunks = self._chunking.carefully(story, self._later)
            first = self._first.of(chunks.pop(self._chunking.first))
            ids = list(map(self._later.of, chunks))
        if self._order.grows_leftwards:
            ids.reverse()
        ids.insert(len(ids) if self._first_ends else 0, first)
        return b"".join(ids)

    def _encoded_first(self, chunk: str) -> bytes:
        """The ids of a chunk as a text of its own."""
        return self._packed(self._tokenizer.encode(self._order.reverse(chunk)))

    def _encoded_later(self, chunk: str) -> bytes:
        """The ids of a chunk, with the space in front of it where it has no newline there."""
        text, known = self._order.reverse(chunk), self._tokenizer
        encode = known.encode_inside if text.startswith("\n") else known.encode_after_space
        return self._packed(encode(text))

    def _packed(self, ids: Sequence[int]) -> bytes:
        return array(self._type, self._order.reverse_ids(ids)).tobytes()


class _Memory(dict[str, bytes]):
    """The ids of chunks, by chunk: looked up or, where they are new, encoded.

    Raises _NotAChunkError for what is not always encoded alone.
    """

    def __init__(
        self, encode: Callable[[str], bytes], is_chunk: Callable[[str], bool], most: int
    ) -> None:
        super().__init__()
        self._encode, self._is_chunk, self._most = encode, is_chunk, most
        self._before: dict[str, bytes] = {}

    def __missing__(self, chunk: str) -> bytes:
        if not self._is_chunk(chunk):
            raise _NotAChunkError
        ids = self._before.get(chunk)
        if ids is None:
            ids = self._encode(chunk)
        if len(chunk) <= _LONGEST:
            if len(self) >= self._most:
                self._before = dict(self)
                self.clear()
            self[chunk] = ids
        return ids

    def of(self, chunk: str) -> bytes:
        """The ids of a chunk that may be one only where it stands."""
        return self[chunk] if chunk in self or self._is_chunk(chunk) else self._encode(chunk)
