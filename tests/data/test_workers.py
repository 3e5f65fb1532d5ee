"""The processes that tokenise, and how they end."""

import io
import pickle
import random
import signal
import subprocess
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np
import pytest

from mlx_rev.data import child, workers
from mlx_rev.data.encoding import Block, Encoder
from mlx_rev.data.workers import Encoders, Worker
from mlx_rev.errors import DataError
from mlx_rev.text.chunk_cache import Encoded
from mlx_rev.text.codec import StoryCodec


@pytest.mark.process
@pytest.mark.parametrize("when", ["before", "after"])
def test_a_worker_that_is_killed_is_an_error_and_the_others_end(
    codec: StoryCodec,
    some_stories: list[str],
    when: str,
    busy_workers: None,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(workers, "ALONE", 0)
    started: list[subprocess.Popen[bytes]] = []
    popen = subprocess.Popen

    def noted(*given: object, **options: object) -> subprocess.Popen[bytes]:
        started.append(popen(*given, **options))  # type: ignore[call-overload]
        return started[-1]

    def blocks() -> Iterator[Block]:
        for number in range(10):
            if number == 5:
                started[1].send_signal(signal.SIGKILL)
                if when == "after":
                    started[1].wait()
            yield Block(some_stories[:20], [len(story) for story in some_stories[:20]])

    monkeypatch.setattr(subprocess, "Popen", noted)
    said = r"was killed \(signal 9\).*give the command again"
    with pytest.raises(DataError, match=said), Encoders(codec, 3) as encoders:
        list(encoders.encode(blocks()))
    assert len(started) == 2
    assert all(process.poll() is not None for process in started)


@pytest.mark.process
def test_a_worker_imports_from_where_this_process_does(
    codec: StoryCodec,
    monkeypatch: pytest.MonkeyPatch,
    tmp_path: Path,
    capfd: pytest.CaptureFixture[str],
) -> None:
    """Also if it is found only in the current folder or where sys.path was told to look; what that
    prints is not taken for an answer."""
    monkeypatch.setattr(sys, "executable", getattr(sys, "_base_executable", sys.executable))
    monkeypatch.setattr(sys, "path", ["", *sys.path])
    monkeypatch.chdir(tmp_path)
    loud = "lambda file, load=pickle.load: print('reads', flush=True) or load(file)"
    (tmp_path / "sitecustomize.py").write_text(f"import pickle\npickle.load = {loud}\n")
    with Worker() as worker:
        assert worker.receive() == []
        worker.send((codec.tokenizer.content, "tokenizer", codec.order.name, ()))
        worker.send(["Tom ran."])
        assert len(worker.receive()) == 2
    assert capfd.readouterr().err == "reads\n" * 3


def test_an_input_that_is_cut_off_anywhere_ends_a_worker(codec: StoryCodec) -> None:
    begin = pickle.dumps((codec.tokenizer.content, "tokenizer", codec.order.name, ()))
    block = pickle.dumps(["Tom ran.", "Sam saw é."], pickle.HIGHEST_PROTOCOL)

    def answers(given: bytes) -> list[object]:
        workers._work(io.BytesIO(given), said := io.BytesIO())
        said.seek(0)
        return [pickle.load(said) for _ in iter(lambda: said.tell() < len(said.getvalue()), False)]

    for cut in (0, 1, 5, 300, len(begin) - 1):
        assert answers(begin[:cut]) == [[]]
    for cut in range(len(block)):
        assert answers(begin + block[:cut]) == [[]]
    first, encoded = answers(begin + block)
    assert (first, len(encoded)) == ([], 2)


@pytest.mark.process
@pytest.mark.parametrize(
    ("script", "said"),
    [
        ("echo hello; exec sleep 60", "gave an answer that is none; give"),
        (r"printf '\200\011'; exec sleep 60", "gave an answer that is none; give"),
        ("exit 3", r"failed \(exit code 3\); give"),
        ("kill -9 $$", r"was killed \(signal 9\), perhaps for want of memory; give"),
    ],
)
def test_what_a_worker_says_that_is_no_answer_ends_it(
    monkeypatch: pytest.MonkeyPatch, script: str, said: str
) -> None:
    # One that has ended of itself is waited for however long the system takes to say so.
    monkeypatch.setattr(child, "PATIENCE", 0.3 if "sleep" in script else 60)
    popen = subprocess.Popen

    def other(command: object, **options: object) -> object:
        return popen(["sh", "-c", script], **options)  # type: ignore[call-overload]

    monkeypatch.setattr(subprocess, "Popen", other)
    with Worker() as worker:
        with pytest.raises(DataError, match=said):
            worker.receive()
        assert worker._process.poll() is not None


@pytest.mark.process
def test_a_worker_ends_with_the_process_that_started_it(codec: StoryCodec) -> None:
    with Worker() as worker:
        assert worker.receive() == []
        worker.send((codec.tokenizer.content, "tokenizer", codec.order.name, ()))
        worker.send(["Tom ran."])
        [backward, forward] = worker.receive()
        assert np.frombuffer(forward.tokens, np.uint16).tolist() == [
            *codec.directions[1].encode("Tom ran."),
            2,
        ]
        assert backward.lengths.tolist() == [len(codec.encode("Tom ran.")) + 1]
        worker._input.close()
        assert worker._process.wait(60) == 0


@pytest.mark.process
def test_a_worker_says_what_it_cannot_encode_and_goes_on(codec: StoryCodec) -> None:
    with Worker() as worker:
        assert worker.receive() == []
        worker.send((codec.tokenizer.content, "tokenizer", codec.order.name, ()))
        worker.send(["Tom \ud800."])
        with pytest.raises(DataError, match="lone surrogate at character 5;"):
            worker.receive()
        worker.send(["Tom ran."])
        assert len(worker.receive()) == 2


def test_the_first_error_is_said_whatever_encodes_a_block(
    codec: StoryCodec, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Of several, that of the first block, and what was read before is given: as with one process,
    whichever worker is done first."""
    monkeypatch.setattr(workers, "ALONE", 0)
    encoded_by_workers = 0

    class Near(Worker):
        """A worker in this process, a slow one or a fast one."""

        def __init__(self) -> None:
            self._sent: list[list[str]] | None = None
            self._speed = chance.choice((0.1, 0.9))

        def __enter__(self) -> "Near":
            return self

        def __exit__(self, *error: object) -> None:
            pass

        @property
        def has_answered(self) -> bool:
            return self._sent is None or chance.random() < self._speed

        def send(self, content: object) -> None:
            if self._sent is None:
                self._sent = []
            else:
                assert isinstance(content, list)
                self._sent.append(content)

        def receive(self) -> list[Encoded]:
            nonlocal encoded_by_workers
            if self._sent is None:
                return []
            encoded_by_workers += 1
            [stories] = self._sent
            self._sent = []
            return Encoder(codec)(stories)

    def outcome(texts: Sequence[str | None], count: int) -> tuple[list[str], str]:
        """The blocks that were given before an error, and what that said."""

        def blocks() -> Iterator[Block]:
            for text in texts:
                if text is None:
                    raise DataError("unreadable")
                yield Block([text], [len(text)])

        done: list[str] = []
        try:
            with Encoders(codec, count) as encoders:
                for block, encoded in encoders.encode(blocks()):
                    assert encoded[0].lengths.tolist() == [len(codec.encode(block.stories[0])) + 1]
                    done += block.stories
        except DataError as error:
            return done, str(error)
        return done, ""

    monkeypatch.setattr(workers, "Worker", Near)
    for seed in range(20):
        chance = random.Random(seed)
        texts: list[str | None] = [f"Tom saw {number}." for number in range(24)]
        place = chance.randrange(2, 21)
        for unfit in ("Tom \ud800.", "Sam saw \ud800.", None):
            texts[place + chance.randrange(4)] = unfit
        assert outcome(texts, 2 + seed % 4) == outcome(texts, 1)
    assert encoded_by_workers > 30
