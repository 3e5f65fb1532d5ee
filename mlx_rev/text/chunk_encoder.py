"""The ids of chunks that were not met before, by the tokenizer: of many in one call."""

from collections.abc import Iterator, Sequence
from functools import cached_property
from itertools import chain

import numpy as np

from mlx_rev.text.codec import StoryCodec

_TOGETHER = 1000
"""Chunks that are encoded in one call: a longer text takes SentencePiece more memory."""

Lot = tuple[Sequence[str], Sequence[int], np.ndarray]
"""Chunks, the ids of each one after another in model order, and how many ids each has."""


class ChunkEncoder:
    """Encodes the chunks of a codec, each as it stands in a text."""

    def __init__(self, codec: StoryCodec) -> None:
        self._order, self._tokenizer = codec.order, codec.tokenizer
        self.chunking = codec.order.chunking(codec.tokenizer.cuts)

    def first(self, chunk: str) -> list[int]:
        """The ids, in model order, of the chunk that the tokenizer sees first."""
        return self._order.reverse_ids(self._tokenizer.encode(self._order.reverse(chunk)))

    def later(self, chunk: str) -> list[int]:
        """Those of another one, with the space in front of it where it has no newline there."""
        return self._order.reverse_ids(self._seen_later(self._order.reverse(chunk)))

    def together(self, chunks: Sequence[str]) -> Iterator[Lot]:
        """`later` of whole chunks, lot by lot."""
        for number in range(0, len(chunks), _TOGETHER):
            yield self._lot(chunks[number : number + _TOGETHER])

    def _lot(self, chunks: Sequence[str]) -> Lot:
        """Encode a text that the tokenizer sees as these chunks; each of them begins with the only
        white space in it."""
        seen = self._seen_later(self._order.reverse(self.chunking.joined(chunks)))
        begins, ends = self._white
        of_seen = np.array(seen, np.int64)
        is_first = begins[of_seen]
        is_first[1:] &= ~ends[of_seen[:-1]]
        is_first[0] = True
        lengths = np.diff(np.flatnonzero(is_first), append=len(seen))
        if len(lengths) != len(chunks):  # This tokenizer takes white space apart.
            each = list(map(self.later, chunks))
            return chunks, list(chain(*each)), np.array(list(map(len, each)), np.int64)
        if self._order.reverse_ids((0, 1)) == [0, 1]:
            return chunks, seen, lengths
        return chunks[::-1], self._order.reverse_ids(seen), lengths[::-1]

    def _seen_later(self, text: str) -> list[int]:
        """The ids of what the tokenizer sees after other text."""
        if text.startswith("\n"):
            return self._tokenizer.encode_inside(text)
        return self._tokenizer.encode_after_space(text)

    @cached_property
    def _white(self) -> tuple[np.ndarray, np.ndarray]:
        """Whether each id begins, and whether it ends, with what a text may be cut at."""
        known = self._tokenizer
        white = tuple(known.cuts.encode()[at : at + 1] for at in range(len(known.cuts)))
        pieces = list(known.piece_bytes)
        if known.unknown is not None:
            pieces[known.unknown] = b""
        begins = np.array([piece.startswith(white) for piece in pieces])
        return begins, np.array([piece.endswith(white) for piece in pieces])
