"""A hash table in NumPy: the numbers of many chunks are looked up at once.

A chunk of up to 15 bytes is its own key: two numbers that hold its bytes and its length. So a chunk
that is found is the one that was meant, without any comparison of strings.
"""

from typing import NamedTuple

import numpy as np

LONGEST = 15
"""Bytes of a chunk that has a key."""
_BITS = 64
_LENGTH_AT = np.uint64(56)
"""The bit from which the second number holds the length."""
_NO_KEY = np.uint64((1 << _BITS) - 1)
"""The second number of an empty slot and of a chunk that is too long."""
_MASKS = np.array([(1 << 8 * length) - 1 for length in range(9)], np.uint64)
"""The first so many bytes of eight."""
_MIXERS = np.uint64(0x9E3779B97F4A7C15), np.uint64(0xC2B2AE3D27D4EB4F)
"""Large odd numbers: the upper bits of a product depend on all bits of the other factor."""
_FEWEST_BITS = 10
_ROOM = 2
"""Slots a key at least: the fuller a table is, the more often a slot is taken."""
PADDING = 16
"""Bytes that have to follow the last chunk of a text."""


class Keys(NamedTuple):
    """(chunks,) uint64 each."""

    low: np.ndarray
    high: np.ndarray

    def some(self, places: np.ndarray) -> "Keys":
        """Those at some places."""
        return Keys(self.low[places], self.high[places])


def keys_of(text: bytes, starts: np.ndarray, lengths: np.ndarray) -> Keys:
    """The keys of chunks of a text, of which starts and lengths are given in bytes."""
    # Eight bytes from every place on, as a number: the places overlap.
    numbers = np.ndarray((len(text) - 8,), np.dtype("<u8"), text, strides=(1,))
    low = numbers[starts] & _MASKS[np.minimum(lengths, 8)]
    high = lengths.astype(np.uint64) << _LENGTH_AT
    longer = np.flatnonzero(lengths > 8)
    length = lengths[longer]
    more = numbers[starts[longer] + 8] & _MASKS[np.clip(length - 8, 0, 7)]
    high[longer] = np.where(length > LONGEST, _NO_KEY, high[longer] | more)
    return Keys(low, high)


class ChunkTable:
    """Numbers by keys. It grows."""

    def __init__(self) -> None:
        self._clear(_FEWEST_BITS)

    def _clear(self, bits: int) -> None:
        self._bits, self._count = bits, 0
        self._low = np.zeros(1 << bits, np.uint64)
        self._high = np.full(1 << bits, _NO_KEY, np.uint64)
        self._number = np.full(1 << bits, -1, np.int32)

    def find(self, keys: Keys) -> np.ndarray:
        """(keys,) int32: the number of each; -1 where there is none."""
        slots = self._slots(keys)
        found: np.ndarray = self._number[slots]
        others = np.flatnonzero((self._low[slots] != keys.low) | (self._high[slots] != keys.high))
        slots = slots[others]
        while len(others):
            taken = self._high[slots] != _NO_KEY
            found[others[~taken]] = -1
            others, slots = others[taken], self._after(slots[taken])
            wrong = (self._low[slots] != keys.low[others]) | (
                self._high[slots] != keys.high[others]
            )
            found[others] = self._number[slots]
            others, slots = others[wrong], slots[wrong]
        return found

    def add(self, keys: Keys, numbers: np.ndarray) -> None:
        """Add keys that are not there, each once, with numbers that are not there."""
        if (self._count + len(numbers)) * _ROOM > len(self._number):
            taken = np.flatnonzero(self._high != _NO_KEY)
            low, high, number = self._low[taken], self._high[taken], self._number[taken]
            self._clear(((self._count + len(numbers)) * 2 * _ROOM).bit_length())
            self.add(Keys(low, high), number)
        self._count += len(numbers)
        slots, waiting = self._slots(keys), np.arange(len(numbers))
        while len(waiting):
            free = self._high[slots] == _NO_KEY
            # Of several that want the same slot, whichever is written last has it.
            here = slots[free]
            self._number[here] = numbers[waiting[free]]
            won = self._number[slots] == numbers[waiting]
            self._low[slots[won]] = keys.low[waiting[won]]
            self._high[slots[won]] = keys.high[waiting[won]]
            waiting, slots = waiting[~won], self._after(slots[~won])

    def _slots(self, keys: Keys) -> np.ndarray:
        """Where each is looked for first."""
        mixed = keys.low * _MIXERS[0] ^ keys.high * _MIXERS[1]
        return (mixed >> np.uint64(_BITS - self._bits)).view(np.int64)

    def _after(self, slots: np.ndarray) -> np.ndarray:
        """Where they are looked for next."""
        return (slots + 1) & (len(self._number) - 1)
