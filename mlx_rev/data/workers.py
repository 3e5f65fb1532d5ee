"""Blocks of stories to tokens, in this process or in several: the same tokens for any number.

A worker is a process that is started anew, as a fork of a process with MLX's threads may hang. What
goes through its standard input and output is pickled: first a tokenizer, then a block of stories,
its tokens, a block of stories, and so on. When the process that started it ends, in whatever way,
the worker's input does, and so does the worker.
"""

import os
import pickle
import subprocess
import sys
from collections.abc import Iterable, Iterator
from contextlib import ExitStack, suppress
from functools import cached_property
from typing import Any, BinaryIO

from mlx_rev.data import child
from mlx_rev.data.child import Child
from mlx_rev.data.encoding import Block, Encoded, Encoder
from mlx_rev.errors import DataError, RevError
from mlx_rev.text.codec import StoryCodec
from mlx_rev.text.load import tokenizer_of
from mlx_rev.text.order import order_named

ALONE = 4 << 20
"""Bytes of text that this process encodes before it starts others, which takes them a second."""
_MOST_WORKERS = 4
"""More would wait for the one process that reads the corpus, and each takes up to 100 MB."""


def worker_count() -> int:
    """How many workers this machine's cores are good for."""
    cores = len(os.sched_getaffinity(0)) if sys.platform == "linux" else os.cpu_count()
    return min(cores or 1, _MOST_WORKERS)


class Encoders(ExitStack):
    """An encoder in this process and, after so much text as is encoded ALONE, in `workers` others,
    unless that is one. They end with the `with` statement that this is used in."""

    def __init__(self, codec: StoryCodec, workers: int) -> None:
        super().__init__()
        self._codec, self._count, self._alone = codec, workers, ALONE
        self._workers: list[Worker] = []

    @cached_property
    def _encoder(self) -> Encoder:
        """Made when there is something to encode."""
        return Encoder(self._codec)

    def encode(self, blocks: Iterable[Block]) -> Iterator[tuple[Block, list[Encoded]]]:
        """Each block, in order, and its tokens in each direction.

        Raises DataError for what cannot be encoded, and where a worker was killed.
        """
        waiting: list[tuple[Block, Worker]] = []
        for block in blocks:
            if self._count < 2 or self._alone > 0:
                self._alone -= sum(block.text_bytes)
                yield block, self._encoder(block.stories)
                continue
            if not self._workers:
                self._start()
            if len(waiting) < self._count:
                worker = self._workers[len(waiting)]
            else:
                done, worker = waiting.pop(0)
                yield done, worker.receive()
            worker.send(block.stories)
            waiting.append((block, worker))
        for done, worker in waiting:
            yield done, worker.receive()

    def _start(self) -> None:
        self._workers += [self.enter_context(Worker()) for _ in range(self._count)]
        tokenizer, known = self._codec.tokenizer, self._encoder.known
        for worker in self._workers:
            worker.send((tokenizer.content, tokenizer.source, self._codec.order.name, known))


class Worker(Child):
    """A process with an encoder, for the process that starts it."""

    def __enter__(self) -> "Worker":
        self.start(__name__)
        return self

    def send(self, content: Any) -> None:
        """Give it the tokenizer, or stories. Raises DataError where it has come to its end."""
        try:
            pickle.dump(content, self._input, pickle.HIGHEST_PROTOCOL)
            self._input.flush()
        except OSError as error:
            raise self._ended() from error

    def receive(self) -> list[Encoded]:
        """The tokens of the stories that were sent. Raises DataError for what cannot be encoded,
        and where it has come to its end."""
        try:
            found = pickle.load(self._output)
        except Exception as error:  # what is no pickle may raise anything
            raise self._ended() from error
        if isinstance(found, RevError):
            raise found
        return list(found)

    def _ended(self) -> DataError:
        try:
            code = self._process.wait(child.PATIENCE)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()
            how = "gave an answer that is none"
        else:
            how = f"failed (exit code {code})"
            if code < 0:
                how = f"was killed (signal {-code}), perhaps for want of memory"
        return DataError(
            f"a process that tokenises {how}; give the command again, and it goes on from the last "
            "whole shard"
        )


def _work(source: BinaryIO, target: BinaryIO) -> None:
    """Do the work of a worker until its input ends."""
    if (begun := _received(source)) is None:
        return
    content, name, order, known = begun
    encode = Encoder(StoryCodec(tokenizer_of(content, name), order_named(order)), known)
    while (stories := _received(source)) is not None:
        try:
            answer: list[Encoded] | RevError = encode(stories)
        except RevError as error:
            answer = error
        pickle.dump(answer, target, pickle.HIGHEST_PROTOCOL)
        target.flush()


def _received(source: BinaryIO) -> Any:
    """What was sent; None where the input ends, perhaps in the middle of it."""
    try:
        return pickle.load(source)
    except (EOFError, pickle.UnpicklingError):
        return None


if __name__ == "__main__":
    with suppress(BrokenPipeError), open(os.dup(1), "wb") as answers:
        # What is printed, by whatever is imported, must not come between the answers.
        os.dup2(2, 1)
        _work(sys.stdin.buffer, answers)
