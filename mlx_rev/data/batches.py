"""Batches as a pure function of the step: resume needs no loader state."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from mlx_rev.config import Packing
from mlx_rev.data.row_plan import plan_rows
from mlx_rev.data.rows import More, PlannedRows, Rows, ShardRows
from mlx_rev.data.shard_set import ShardSet
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
    """The stories of all `directions` together, packed into rows.

    Row i of step s is row s · rows_per_step + i of the endless sequence of epochs, whatever the
    number of machines and workers that share a step's rows. With `more`, the directions need to
    have their first shards only, and `packing` is "shards". Raises DataError if the stories do not
    fill one micro-batch.
    """

    def __init__(
        self,
        directions: Sequence[ShardSet],
        *,
        context: int,
        batch_size: int,
        accumulation: int = 1,
        seed: int = 0,
        packing: Packing = "epoch",
        more: More | None = None,
    ) -> None:
        self._vocab_size, self._context = directions[0].vocab_size, context
        self._rows: Rows
        if packing == "shards":
            self._rows = ShardRows(directions, context, seed, more)
        else:
            lengths = [shards.lengths for shards in directions]
            plan = plan_rows(lengths, context=context, seed=seed, packing=packing)
            self._rows = PlannedRows(directions, plan)
        if self.row_count < batch_size:
            raise DataError(
                f"too few rows of {context} tokens for a batch of {batch_size}: the stories make "
                f"{self.row_count}; give more text or a smaller --batch-size or --context"
            )
        self._batch_size, self._accumulation = batch_size, accumulation

    @property
    def row_count(self) -> int:
        """Rows of an epoch; with `more`, of the part of the first one that is there."""
        return self._rows.row_count

    def has(self, step: int) -> bool:
        """Whether all stories that step `step`, from 0, reads are there. Raises DataError where
        they will not come."""
        return self._rows.has((step + 1) * self._batch_size * self._accumulation - 1)

    def batch_at(self, step: int) -> Batch:
        """What step `step` reads, which must be there. Raises DataError for an id beyond the
        vocabulary, as only a damaged shard has it."""
        per_step = self._batch_size * self._accumulation
        shape = (self._accumulation, self._batch_size, self._context)
        inputs = np.full(shape, BOUNDARY, np.int32)
        targets = np.full(shape, IGNORED, np.int32)
        segment_start = np.tile(np.arange(self._context, dtype=np.int32), (*shape[:2], 1))
        for row, index in enumerate(np.ndindex(shape[:2]), step * per_step):
            self._read(row, inputs[index], targets[index], segment_start[index])
        self._check(max(int(inputs.max()), int(targets.max())))
        return Batch(inputs, targets, segment_start, int((targets != IGNORED).sum()))

    def _read(
        self, row: int, inputs: np.ndarray, targets: np.ndarray, segment_start: np.ndarray
    ) -> None:
        place = 0
        for tokens in self._rows.segments(row):
            length = len(tokens) - 1
            inputs[place : place + length] = tokens[:-1]
            targets[place : place + length] = tokens[1:]
            segment_start[place : place + length] = place
            place += length

    def _check(self, largest: int) -> None:
        """Shards of gigabytes are not read through when training begins."""
        if largest >= self._vocab_size:
            raise DataError(
                f"a token shard has token {largest} in a vocabulary of {self._vocab_size}, so it "
                "is damaged; mlx-rev data says which one"
            )
