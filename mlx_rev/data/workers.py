"""Blocks of stories to tokens, in this process and in others: the same tokens for any number.

A worker is a process that is started anew, as a fork of a process with MLX's threads may hang. What
goes through its standard input and output is pickled: first it says that it is there, then it is
given a tokenizer, and then a block of stories, of which it gives the tokens, another block, and so
on. When the process that started it ends, in whatever way, the worker's input does, and so does the
worker.
"""

import os
import pickle
import subprocess
import sys
from collections.abc import Iterable, Iterator, Sequence
from contextlib import ExitStack, suppress
from dataclasses import dataclass
from functools import cached_property
from multiprocessing.connection import wait
from typing import Any, BinaryIO

from mlx_rev.data import child
from mlx_rev.data.child import Child
from mlx_rev.data.encoding import Block, Encoder
from mlx_rev.errors import DataError, RevError
from mlx_rev.text.chunk_cache import Encoded
from mlx_rev.text.codec import StoryCodec
from mlx_rev.text.load import tokenizer_of
from mlx_rev.text.order import order_named

ALONE = 4 << 20
"""Bytes of text that this process encodes before it starts another, which takes that a third of a
second, and as many before it starts one more."""
_MOST = 4
"""More processes would wait for the one that reads the corpus, and each takes up to 91 MB."""

_WAITING = 2
"""Blocks that wait for a worker, so that it has the next one soon."""


def worker_count() -> int:
    """How many processes this machine's cores are good for."""
    cores = len(os.sched_getaffinity(0)) if sys.platform == "linux" else os.cpu_count()
    return min(cores or 1, _MOST)


@dataclass
class _Given:
    """A block, and the worker that has it, or what came of it; neither while it waits."""

    block: Block
    worker: "Worker | None" = None
    encoded: list[Encoded] | RevError | None = None
    """An error is raised when the blocks before this one are done, as it is with one process."""


class Encoders(ExitStack):
    """An encoder in this process and in up to `count` - 1 others, which are started one by one when
    there is much text, and end with the `with` statement that this is used in.

    A block waits for a worker. Where some wait already, this process encodes one, so that no core
    is idle.
    """

    def __init__(self, codec: StoryCodec, count: int) -> None:
        super().__init__()
        self._codec, self._count, self._alone = codec, count, 0
        self._starting: Worker | None = None
        self._started = 0
        self._idle: list[Worker] = []
        self._busy = 0

    @cached_property
    def _encoder(self) -> Encoder:
        """Made when there is something to encode."""
        return Encoder(self._codec)

    def encode(self, blocks: Iterable[Block]) -> Iterator[tuple[Block, list[Encoded]]]:
        """Each block, in order, and its tokens in each direction.

        Raises DataError for what cannot be encoded, and where a worker was killed; what reading
        the blocks raises is raised after what is wrong with the blocks before.
        """
        given: list[_Given] = []
        for each in _read(blocks):
            given.append(each)
            self._hand_out(given, _WAITING if self._idle or self._busy else 0)
            while given and (given[0].encoded is not None or len(given) > 2 * self._count):
                yield self._finished(given.pop(0))
        while given:
            self._hand_out(given, 0)
            yield self._finished(given.pop(0))

    def _hand_out(self, given: list[_Given], waiting: int) -> None:
        """Take what workers have done, give them more, and encode a block here where more than so
        many wait for one."""
        for each in given:
            self._take(each)
        if self._starting and self._starting.has_answered:
            self._begin(self._starting)
            self._starting, self._alone = None, 0
        new = [each for each in given if each.worker is None and each.encoded is None]
        while new and self._idle:
            first = new.pop(0)
            first.worker = self._idle.pop()
            first.worker.send(first.block.stories)
            self._busy += 1
        if len(new) <= waiting:
            return
        new[0].encoded = _tried(self._encoder, new[0].block.stories)
        self._alone += sum(new[0].block.text_bytes)
        if self._alone > ALONE and self._started < self._count - 1 and not self._starting:
            self._started += 1
            self._starting = self.enter_context(Worker())

    def _begin(self, worker: "Worker") -> None:
        """Let a worker that is there know what this process does."""
        worker.receive()
        tokenizer, known = self._codec.tokenizer, self._encoder.known
        worker.send((tokenizer.content, tokenizer.source, self._codec.order.name, known))
        self._idle.append(worker)

    def _take(self, given: _Given, *, patiently: bool = False) -> None:
        """Take a block's tokens from its worker, if it has them yet."""
        if given.worker and (patiently or given.worker.has_answered):
            try:
                given.encoded = given.worker.receive()
                self._idle.append(given.worker)
            except RevError as error:  # It may have come to its end, so it gets no more.
                given.encoded = error
            self._busy -= 1
            given.worker = None

    def _finished(self, given: _Given) -> tuple[Block, list[Encoded]]:
        """A block and its tokens. Raises what was wrong with it."""
        self._take(given, patiently=True)
        if given.encoded is None:
            given.encoded = _tried(self._encoder, given.block.stories)
        if isinstance(given.encoded, RevError):
            raise given.encoded
        return given.block, given.encoded


def _read(blocks: Iterable[Block]) -> Iterator[_Given]:
    """The blocks, and what reading them raises in the place of the last one."""
    try:
        yield from map(_Given, blocks)
    except RevError as error:
        yield _Given(Block([], []), encoded=error)


def _tried(encode: Encoder, stories: Sequence[str]) -> list[Encoded] | RevError:
    """The tokens of stories in each direction, or why there are none."""
    try:
        return encode(stories)
    except RevError as error:
        return error


class Worker(Child):
    """A process with an encoder, for the process that starts it."""

    def __enter__(self) -> "Worker":
        self.start(__name__)
        return self

    @property
    def has_answered(self) -> bool:
        """Whether `receive` would not wait."""
        return bool(wait([self._output.fileno()], 0))

    def send(self, content: Any) -> None:
        """Give it the tokenizer, or stories. Raises DataError where it has come to its end."""
        try:
            pickle.dump(content, self._input, pickle.HIGHEST_PROTOCOL)
            self._input.flush()
        except OSError as error:
            raise self._ended() from error

    def receive(self) -> list[Encoded]:
        """Nothing at first, and then the tokens of the stories that were sent. Raises DataError for
        what cannot be encoded, and where it has come to its end."""
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
    _answer(target, [])
    if (begun := _received(source)) is None:
        return
    content, name, order, known = begun
    encode = Encoder(StoryCodec(tokenizer_of(content, name), order_named(order)), known)
    while (stories := _received(source)) is not None:
        _answer(target, _tried(encode, stories))


def _answer(target: BinaryIO, answer: list[Encoded] | RevError) -> None:
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
