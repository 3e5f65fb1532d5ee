"""A shuffle that is computed where it is looked at, so that none is kept in memory."""

import math
from collections.abc import Sequence

import numpy as np

_ROUNDS = 3
"""Pairs of Feistel rounds; two would hide any order from all but a cryptographer."""


class Permutation:
    """A pseudo-random permutation of the numbers below `count`, chosen by `seed`.

    The generalised Feistel cipher of Black and Rogaway (Ciphers with Arbitrary Finite Domains,
    2002): a number is a place in a table that is about square; in turn its column moves by a random
    amount that its line decides, and its line by one that its column decides. What leaves the
    numbers below `count` is permuted again until it is back among them. Memory: O(√count).
    """

    def __init__(self, count: int, seed: Sequence[int]) -> None:
        self._count = count
        self._columns = math.isqrt(max(count - 1, 0)) + 1
        self._lines = -(-count // self._columns)
        # A bit generator's numbers never change with NumPy's version, as a Generator's may.
        random = np.random.PCG64(np.random.SeedSequence(seed))
        self._rounds = [
            (
                (random.random_raw(self._lines) % self._columns).astype(np.int64),
                (random.random_raw(self._columns) % self._lines).astype(np.int64),
            )
            for _ in range(_ROUNDS)
        ]

    def __call__(self, places: np.ndarray) -> np.ndarray:
        """The numbers at `places`, (n,) integers below `count`: (n,) int64."""
        numbers = self._moved(places)
        while len(outside := np.flatnonzero(numbers >= self._count)):
            numbers[outside] = self._moved(numbers[outside])
        return numbers

    def _moved(self, numbers: np.ndarray) -> np.ndarray:
        lines, columns = np.divmod(numbers.astype(np.int64), self._columns)
        for of_line, of_column in self._rounds:
            columns += of_line[lines]
            columns[columns >= self._columns] -= self._columns
            lines += of_column[columns]
            lines[lines >= self._lines] -= self._lines
        return lines * self._columns + columns
