"""Batches as a pure function of the step: resume needs no loader state."""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache

import numpy as np

from mlx_rev.data.packing import pack
from mlx_rev.data.shards import Shard
from mlx_rev.errors import DataError
from mlx_rev.text.tokenizer import BOUNDARY

IGNORED = -1
"""The target at a position of padding."""


@dataclass(frozen=True, eq=False)
class Batch:
    """What one optimiser step reads."""

    inputs: np.ndarray
    """(micro-batches, rows, context) int32."""
    targets: np.ndarray
    """The same shape; IGNORED at padding."""
    segment_start: np.ndarray
    """The same shape: where the story of each position begins in its row."""
    target_count: int
    """Targets of the whole step without padding, over all micro-batches."""

    def parts(self, count: int) -> list["Batch"]:
        """The rows of each micro-batch, split into `count` parts as evenly as possible."""
        arrays = (self.inputs, self.targets, self.segment_start)
        split = (np.array_split(array, count, axis=1) for array in arrays)
        return [
            Batch(inputs, targets, segment_start, self.target_count)
            for inputs, targets, segment_start in zip(*split, strict=True)
        ]


class Batches:
    """The rows of all `shards` together, in another order each epoch; a row is of one shard.

    Row i of step s is row s · rows_per_step + i of the endless sequence of epochs. Raises DataError
    if the stories do not fill one micro-batch.
    """

    def __init__(
        self,
        shards: Sequence[Shard],
        *,
        context: int,
        batch_size: int,
        accumulation: int = 1,
        seed: int = 0,
    ) -> None:
        self._shards, self._context, self._seed = shards, context, seed
        self._rows = [pack(shard.starts, context) for shard in shards]
        self._first_row = np.cumsum([0, *(rows.count for rows in self._rows)])
        if self.row_count < batch_size:
            raise DataError(
                f"the stories make {self.row_count} rows of {context} tokens, too few for a "
                f"batch of {batch_size}; give more text or a smaller --batch-size or --context"
            )
        self._batch_size, self._accumulation = batch_size, accumulation
        self._targets_of_row = np.concatenate(
            [np.add.reduceat(rows.lengths, rows.first[:-1]) for rows in self._rows]
        )
        self._order = lru_cache(maxsize=2)(self._order_of_epoch)

    @property
    def row_count(self) -> int:
        """Rows of an epoch."""
        return int(self._first_row[-1])

    def batch_at(self, step: int) -> Batch:
        """What step `step`, from 0, reads."""
        per_step = self._batch_size * self._accumulation
        numbers = range(step * per_step, (step + 1) * per_step)
        rows = np.array([self._row_at(number) for number in numbers])
        shape = (self._accumulation, self._batch_size, self._context)
        inputs = np.full(shape, BOUNDARY, np.int32)
        targets = np.full(shape, IGNORED, np.int32)
        segment_start = np.tile(np.arange(self._context, dtype=np.int32), (*shape[:2], 1))
        for index, row in np.ndenumerate(rows.reshape(shape[:2])):
            self._read(int(row), inputs[index], targets[index], segment_start[index])
        return Batch(inputs, targets, segment_start, int(self._targets_of_row[rows].sum()))

    def _row_at(self, number: int) -> int:
        epoch, place = divmod(number, self.row_count)
        return int(self._order(epoch)[place])

    def _order_of_epoch(self, epoch: int) -> np.ndarray:
        return np.random.default_rng([self._seed, epoch]).permutation(self.row_count)

    def _read(
        self, row: int, inputs: np.ndarray, targets: np.ndarray, segment_start: np.ndarray
    ) -> None:
        part = int(np.searchsorted(self._first_row, row, side="right")) - 1
        shard, rows, row = self._shards[part], self._rows[part], row - self._first_row[part]
        place = 0
        for segment in range(rows.first[row], rows.first[row + 1]):
            start, length = int(rows.starts[segment]), int(rows.lengths[segment])
            tokens = shard.tokens[start : start + length + 1]
            inputs[place : place + length] = tokens[:-1]
            targets[place : place + length] = tokens[1:]
            segment_start[place : place + length] = place
            place += length
