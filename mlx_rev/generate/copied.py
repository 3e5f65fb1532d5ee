"""How much of a story was copied: its longest run of words that a training text has too."""

from collections.abc import Iterable, Iterator, Sequence
from itertools import chain

import numpy as np

_WORDS_AT_ONCE = 1_000_000
_NONE = -1
"""Stands for a word of the training text that no story has, and between two texts."""


def longest_copied(
    stories: Sequence[Sequence[str]], training: Iterable[Sequence[str]]
) -> np.ndarray:
    """For each story, the words of its longest run that some training story has: (N,).

    Exact, at the cost of a few passes over the training text, which is read once and may be larger
    than memory. Runs of n + 1 words are looked for only where runs of n words were found.
    """
    index = {word: number for number, word in enumerate(dict.fromkeys(chain(*stories)))}
    own = _Runs(stories, index)
    for block in _blocks(training, index):
        own.find(block)
    return own.longest


class _Runs:
    """The runs of words of some stories. Equal runs of n words have the same number."""

    def __init__(self, stories: Sequence[Sequence[str]], index: dict[str, int]) -> None:
        self.longest = np.zeros(len(stories), int)
        self._vocabulary = len(index)
        self._ids = _as_ids(stories, index)
        self._story = np.repeat(np.arange(len(stories)), [len(story) + 1 for story in stories])
        self._numbered = [self._ids]
        """For n = 1, 2, ...: the number of the run of n words at each place, _NONE for none."""
        self._keys: list[np.ndarray] = []
        """For n = 2, 3, ...: the runs in order of their numbers, each as _extended gives it."""

    def find(self, block: np.ndarray) -> None:
        """Note the longest runs that a block of training text has."""
        places = np.flatnonzero(block != _NONE)
        numbers, length = block[places], 1
        while len(places):
            found = np.isin(self._numbered[length - 1], np.unique(numbers))
            stories = self._story[found & (self._numbered[length - 1] != _NONE)]
            self.longest[stories] = np.maximum(self.longest[stories], length)
            keys = self._keys_of(length + 1)
            extended = self._extended(numbers, block[places + length])
            at = np.searchsorted(keys, extended)
            kept = (extended >= 0) & (np.append(keys, _NONE)[at] == extended)
            places, numbers, length = places[kept], at[kept], length + 1

    def _extended(self, numbers: np.ndarray, following: np.ndarray) -> np.ndarray:
        """Runs, each with the word after it, as one number; _NONE where either is none."""
        there = (numbers != _NONE) & (following != _NONE)
        return np.where(there, numbers * self._vocabulary + following, _NONE)

    def _keys_of(self, length: int) -> np.ndarray:
        """The runs of so many words, ascending; made when they are first asked for."""
        if len(self._keys) < length - 1:
            following = np.append(self._ids[length - 1 :], np.full(length - 1, _NONE))
            extended = self._extended(self._numbered[-1], following)
            keys = np.unique(extended[extended != _NONE])
            self._keys.append(keys)
            numbered = np.searchsorted(keys, extended)
            self._numbered.append(np.where(extended == _NONE, _NONE, numbered))
        return self._keys[length - 2]


def _as_ids(texts: Sequence[Sequence[str]], index: dict[str, int]) -> np.ndarray:
    """The words of texts as numbers, with _NONE after each text."""
    numbers = (index.get(word, _NONE) for text in texts for word in (*text, ""))
    return np.fromiter(numbers, np.int64)


def _blocks(texts: Iterable[Sequence[str]], index: dict[str, int]) -> Iterator[np.ndarray]:
    """Texts as numbers, about a million words at a time."""
    block: list[Sequence[str]] = []
    size = 0
    for text in texts:
        block.append(text)
        size += len(text)
        if size >= _WORDS_AT_ONCE:
            yield _as_ids(block, index)
            block, size = [], 0
    yield _as_ids(block, index)
