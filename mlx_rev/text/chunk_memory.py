"""The ids of chunks that were met: what looking chunks up remembers."""

from collections.abc import Sequence

import numpy as np

from mlx_rev.text.chunk_table import LONGEST, ChunkTable, Keys

BOUNDARY = 0
"""The number of the boundary, which stands after each story."""


class ChunkMemory:
    """Ids by number, and numbers by what is met in a text. It can be pickled."""

    def __init__(self, boundary: int, kind: str) -> None:
        """For ids of a type by its letter in `array`."""
        self._table = ChunkTable()
        self.long: dict[bytes, int] = {}
        """Parts that are too long for the table."""
        self.first: dict[bytes, int] = {}
        """Chunks that the tokenizer sees first."""
        self.glued: dict[bytes, int] = {}
        """Later chunks of several parts, or of one that is a chunk only there."""
        self.ids = np.array([boundary], kind)
        """The ids of all, one after another in model order."""
        self.starts = np.zeros(1, np.int64)
        """(numbers,): where each one's ids are."""
        self.lengths = np.ones(1, np.int64)
        """(numbers,): how many ids each has; 0 for parts that are no chunk alone."""
        self.ends = np.zeros(1, np.uint8)
        """(numbers,): how parts of texts begin and end (Chunking.ends_of)."""

    def add(
        self, ids: Sequence[int], lengths: Sequence[int] | np.ndarray, ends: int | Sequence[int] = 0
    ) -> int:
        """Give numbers to chunks whose ids are given one after another; the first number, from
        which they ascend."""
        first, lengths = len(self.starts), np.asarray(lengths, np.int64)
        starts = len(self.ids) + np.cumsum(lengths) - lengths
        self.ids = np.concatenate([self.ids, np.array(ids, self.ids.dtype)])
        self.starts = np.concatenate([self.starts, starts])
        self.lengths = np.concatenate([self.lengths, lengths])
        how = np.broadcast_to(np.asarray(ends, np.uint8), len(lengths))
        self.ends = np.concatenate([self.ends, how])
        return first

    def find(self, keys: Keys) -> np.ndarray:
        """(keys,) int32: the number of each part of a text; -1 where it is new, or long."""
        return self._table.find(keys)

    def remember(self, parts: Sequence[bytes], keys: Keys, numbers: Sequence[int]) -> None:
        """Find these parts by their numbers from now on."""
        short = np.array([len(part) <= LONGEST for part in parts], bool)
        self._table.add(keys.some(short), np.array(numbers, np.int32)[short])
        pairs = zip(parts, numbers, strict=True)
        self.long.update((part, number) for part, number in pairs if len(part) > LONGEST)
