"""The machines of one run: this one, or those that `mlx.launch --hostfile` started it on.

Every node runs the same command and holds the same weights; each computes its share of the rows,
and the gradients are summed over all. The first one keeps the run's folder and reports.
"""

import hashlib
from collections.abc import Iterator
from contextlib import contextmanager

import mlx.core as mx
import numpy as np

from mlx_rev.errors import ConfigError, TrainingError
from mlx_rev.model.llama import Weights


class Nodes:
    """The group of nodes, of which this process is one. All must call the same methods in the same
    order. If one is lost, the others get a RuntimeError from MLX, a TrainingError before the first
    step."""

    def __init__(self) -> None:
        try:
            self._group = mx.distributed.init()
        except RuntimeError as error:
            raise TrainingError(
                f"cannot join the other machines ({error}); start the same command on all of them"
            ) from error

    @property
    def count(self) -> int:
        """How many there are."""
        return int(self._group.size())

    @property
    def number(self) -> int:
        """Which of them this is, from 0."""
        return int(self._group.rank())

    @property
    def first(self) -> bool:
        """Whether this one reports and keeps the run folder."""
        return self.number == 0

    def sum(self, loss: mx.array, gradients: Weights) -> tuple[mx.array, Weights]:
        """The sums over all nodes, in the same order on each, lazy."""
        if self.count == 1:
            return loss, gradients
        # In one message: the arrays are many, and most of them small.
        arrays = [loss, *gradients.values()]
        message = mx.concatenate([array.reshape(-1) for array in arrays])
        places = np.cumsum([array.size for array in arrays[:-1]]).tolist()
        parts = mx.split(mx.distributed.all_sum(message, group=self._group), places)
        total, *sums = (
            part.reshape(array.shape) for part, array in zip(parts, arrays, strict=True)
        )
        return total, dict(zip(gradients, sums, strict=True))

    def share(self, arrays: Weights) -> Weights:
        """The first node's arrays, on every node; the others pass arrays of the same shapes."""
        if self.count == 1:
            return arrays
        own = {name: array if self.first else array * 0 for name, array in arrays.items()}
        with _losing_none():
            shared = {
                name: mx.distributed.all_sum(own[name], group=self._group) for name in sorted(own)
            }
            mx.eval(shared)
        return shared

    def any(self, flag: bool) -> bool:
        """Whether any node's flag is set."""
        return flag if self.count == 1 else self._gather(int(flag)).max() > 0

    def check_same(self, what: str, text: str, remedy: str = "the same command and files") -> None:
        """Raise ConfigError, on every node, if `text` differs between them."""
        if self.count == 1:
            return
        digest = int.from_bytes(hashlib.sha256(text.encode()).digest()[:3])
        with _losing_none():
            found = self._gather(digest)
        if (found != found[0]).any():
            # MLX makes up what a node that has just been lost would have said.
            raise ConfigError(
                f"the machines have different {what}, or one of them has ended and says why; start "
                f"all of them with {remedy}"
            )

    def _gather(self, number: int) -> np.ndarray:
        gathered = mx.distributed.all_gather(mx.array([number]), group=self._group)
        return np.array(gathered)


@contextmanager
def _losing_none() -> Iterator[None]:
    """Raise TrainingError where another node is lost before the first step."""
    try:
        yield
    except RuntimeError as error:
        raise TrainingError(
            "another machine was lost before the first step, for the reason that it gave; start "
            "all of them again"
        ) from error
