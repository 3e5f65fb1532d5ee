"""The shards after the first, made by a process of their own while training goes on.

The process does what `mlx-rev prepare` does, from where the shards that are there end. It ends with
the one that started it, in whatever way that ends; what it made is kept, and the next one goes on
from there.
"""

import os
import pickle
import sys
import tempfile
import threading
from collections.abc import Sequence
from contextlib import suppress
from functools import cached_property
from pathlib import Path
from types import TracebackType
from typing import BinaryIO

from mlx_rev.config import DataConfig
from mlx_rev.data.child import Child
from mlx_rev.data.prepare import Prepared, prepare
from mlx_rev.data.shard_set import ShardSet, is_done, shard_path
from mlx_rev.data.shards import open_shard
from mlx_rev.errors import DataError, RevError, in_a_line

_NICENESS = 10
"""Training comes first where both want the same cores."""


class Meanwhile(Child):
    """Makes the shards of `data` that are not there yet, in a `with` statement; `more` gives them.

    `config`, `vocab_size` and `cache` are what `data` was prepared with.
    """

    def __init__(self, data: Prepared, config: DataConfig, vocab_size: int, cache: Path) -> None:
        self._first = [part.train.shards[0] for part in data.directions]
        paths = [shard.path for shard in self._first]
        self._folders = [path.parent for path in paths if path is not None]
        self._asked = (config, vocab_size, cache.absolute())

    def __enter__(self) -> "Meanwhile":
        self._errors = tempfile.TemporaryFile()
        self.start(__name__, self._errors)
        with suppress(OSError):  # it ended at once, as `more` will say
            pickle.dump(self._asked, self._input)
            self._input.flush()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        super().__exit__(kind, error, trace)
        self._errors.close()

    def more(self, number: int) -> Sequence[ShardSet] | None:
        """Shard `number` in each direction; nothing where there are only so many, None where it is
        not there yet. Raises DataError where it will not come."""
        ended = self._process.poll() is not None  # asked first: what it made then is there
        paths = [shard_path(folder, number) for folder in self._folders]
        if all(path.exists() for path in paths):
            try:
                shards = [open_shard(path) for path in paths]
            except RevError:
                if not ended:  # one that is damaged is made again
                    return None
                raise
            for first, shard in zip(self._first, shards, strict=True):
                ShardSet((first, shard))  # of one origin
            return [ShardSet((shard,)) for shard in shards]
        if all(map(is_done, self._folders)):
            return []
        if ended:
            raise self._failure()
        return None

    @property
    def left_out(self) -> str:
        """What was left out of the stories after the first shard, in a line, once all are there."""
        if not all(map(is_done, self._folders)):
            return ""
        self._process.wait()
        _, left_out = self._answer or ("", "")
        return left_out

    @cached_property
    def _answer(self) -> tuple[str, str] | None:
        """What went wrong and what was left out, once the process has ended; None where it did not
        say."""
        try:
            said, left_out = pickle.load(self._output)
        except Exception:  # what is no pickle may raise anything
            return None
        return str(said), str(left_out)

    def _failure(self) -> DataError:
        """Why the process ended without the shards."""
        if self._answer is not None:
            said, _ = self._answer
            return DataError(said or "the stories changed while they were made into token shards")
        self._errors.seek(0)
        *_, last = [b"", *self._errors.read().splitlines()]
        code = self._process.returncode
        said = f": {last.decode(errors='replace')}" if last else ""
        return DataError(f"the process that makes token shards ended with exit code {code}{said}")


def _make(source: BinaryIO, target: BinaryIO) -> None:
    """Prepare what was asked for, and say what went wrong, or "", and what was left out."""
    config, vocab_size, cache = pickle.load(source)
    threading.Thread(target=_end_with, args=(source.fileno(),), daemon=True).start()
    os.nice(_NICENESS)
    said = left_out = ""
    try:
        left_out = prepare(config, vocab_size, cache).left_out
    except (RevError, OSError) as error:
        said = in_a_line(error)
    pickle.dump((said, left_out), target)


def _end_with(source: int) -> None:
    """End this process when its input does, which says nothing more."""
    os.read(source, 1)  # A file object would have a lock that Python wants when it ends.
    os._exit(0)


if __name__ == "__main__":
    with open(os.dup(1), "wb") as answers:
        # What is printed, by whatever is imported, must not come into the answer.
        os.dup2(2, 1)
        _make(sys.stdin.buffer, answers)
