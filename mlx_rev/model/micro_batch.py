"""From the rows of a batch, in NumPy, to the arrays of one forward pass."""

from typing import NamedTuple

import mlx.core as mx

from mlx_rev.data.batches import Batch


class MicroBatch(NamedTuple):
    """What a loss reads, besides the weights."""

    inputs: mx.array
    """(B, T) int32."""
    targets: mx.array
    """(B, T) int32; below 0 where there is none."""
    segment_start: mx.array
    """(B, T) int32: where each position's own story begins in its row."""
    share: mx.array
    """Scalar: a target's share of the step's mean loss."""
    key: mx.array
    """Random key of the dropout."""


def micro_batch(batch: Batch, index: int, seed: int) -> MicroBatch:
    """Micro-batch `index` of `batch`, its dropout a function of `seed` and `index`."""
    key = mx.random.split(mx.random.key(seed), len(batch.inputs))[index]
    return MicroBatch(
        inputs=mx.array(batch.inputs[index]),
        targets=mx.array(batch.targets[index]),
        segment_start=mx.array(batch.segment_start[index]),
        share=mx.array(1 / batch.target_count),
        key=key,
    )
