"""Several nodes, here on one machine, as `mlx.launch` starts them."""

import json
import os
import re
import signal
import socket
import subprocess
import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import cast

import numpy as np
import pytest

from mlx_rev.config import ModelConfig, RunConfig, TrainConfig
from mlx_rev.data.prepare import Prepared
from mlx_rev.errors import ConfigError
from mlx_rev.train import distributed
from mlx_rev.train.loop import check_same
from tests.conftest import Run, training_of

Nodes = list["subprocess.Popen[str]"]
Start = Callable[..., Nodes]


@pytest.fixture
def start(tmp_path: Path, command_environment: dict[str, str]) -> Iterator[Start]:
    """Starts a node for each list of arguments, in a ring, each with a cache of its own; `missing`
    more are expected there. None outlives the test. Those that are not `watched` have no parent:
    only one that hangs needs it."""
    started: Nodes = []

    def start_nodes(
        arguments: list[list[str]], *, missing: int = 0, watched: bool = False
    ) -> Nodes:
        with ExitStack() as held:
            sockets = [held.enter_context(socket.socket()) for _ in range(len(arguments) + missing)]
            for free in sockets:
                free.bind(("127.0.0.1", 0))
            hosts = [[f"127.0.0.1:{free.getsockname()[1]}"] for free in sockets]
        hostfile = tmp_path / "ring.json"
        hostfile.write_text(json.dumps(hosts))
        command = [sys.executable, "-m", "mlx_rev", "train", "--plain", "--ranks", "1"]
        environment = command_environment | {"MLX_HOSTFILE": str(hostfile)}
        environment |= {} if watched else {"MLX_REV_WATCHDOG": "off"}
        nodes = [
            subprocess.Popen(
                [*command, *own, "--cache", tmp_path / f"cache-{rank}"],
                env=environment | {"MLX_RANK": str(rank)},
                stdout=subprocess.PIPE,
                stderr=subprocess.PIPE,
                text=True,
            )
            for rank, own in enumerate(arguments)
        ]
        started.extend(nodes)
        return nodes

    yield start_nodes
    for node in started:
        node.kill()
        node.communicate()


@pytest.fixture
def flags(tiny_flags: list[str], some_stories: list[str], tmp_path: Path) -> list[str]:
    """Of a run on so few stories that each machine has its vocabulary at once."""
    corpus = tmp_path / "few.txt"
    corpus.write_text("\n<|endoftext|>\n".join(some_stories[:80]), encoding="utf-8")
    return [*tiny_flags, "--data", str(corpus), "--eval-stories", "2"]


def wait_for_checkpoint(node: "subprocess.Popen[str]") -> None:
    """Return when the node says that it has saved one."""
    assert node.stdout is not None
    while "saved" not in node.stdout.readline():
        assert node.poll() is None


def end(nodes: Nodes) -> list[int]:
    """Wait for all; their exit codes. Only the first may say anything."""
    said = [node.communicate(timeout=400) for node in nodes]
    assert not any(output or errors for output, errors in said[1:]), said
    return [node.returncode for node in nodes]


def steps(run: Path) -> list[float]:
    """The logged losses."""
    with open(run / "metrics.jsonl") as file:
        return [entry["loss"] for entry in map(json.loads, file) if entry["kind"] == "step"]


def test_two_nodes_train_as_one_and_resume(
    run: Run, flags: list[str], tmp_path: Path, start: Start
) -> None:
    flags += ["--dropout", "0", "--log-every", "1", "--save-every", "4"]
    flags += ["--learning-rate", "3e-3", "--min-learning-rate", "3e-3"]  # whatever the steps
    alone, shared = tmp_path / "alone", tmp_path / "shared"
    done = run("train", *flags, "--steps", 8, "--out", alone, "--plain", "--ranks", 1)
    assert done.returncode == 0
    endless = [*flags, "--steps", "1000000", "--out", str(shared)]
    nodes = start([endless] * 2)
    wait_for_checkpoint(nodes[0])
    nodes[1].terminate()  # one is asked to stop, both do
    assert end(nodes) == [0, 0]
    begun = len(steps(shared))
    more = ["--resume", str(shared), "--steps", str(begun + 4)]
    assert end(start([more] * 2)) == [0, 0]
    assert len(steps(shared)) == begun + 4 >= 8
    assert steps(shared)[:8] == pytest.approx(steps(alone), abs=1e-4)


def test_nodes_with_other_options_are_refused(
    flags: list[str], tmp_path: Path, start: Start
) -> None:
    flags += ["--out", str(tmp_path / "run")]
    nodes = start([flags, [*flags, "--seed", "3"]])
    for node in nodes:
        _, error = node.communicate(timeout=400)
        assert node.returncode == 2
        assert "the machines have different options, corpora or tokenizers" in error
        assert len(error.splitlines()) == 1


class OneOfTwo(distributed.Nodes):
    """A machine whose other one has said `other` when it was asked."""

    count, number = 2, 1  # type: ignore[assignment]

    def __init__(self, other: Sequence[int] = ()) -> None:
        self._other, self.said = iter(other), list[int]()

    def _gather(self, number: int) -> np.ndarray:
        self.said.append(number)
        return np.array([next(self._other, number), number])


def holding(corpus: str = "a corpus", tokenizer: str = "a tokenizer") -> Prepared:
    """What is prepared of a corpus, as far as it is compared."""
    codec = SimpleNamespace(tokenizer=SimpleNamespace(fingerprint=tokenizer))
    return cast(Prepared, SimpleNamespace(codec=codec, corpus_fingerprint=corpus))


SMALL = RunConfig(train=TrainConfig(workers=2))


@pytest.mark.parametrize(
    ("config", "data", "said"),
    [
        (replace(SMALL, model=ModelConfig(dim=64)), holding(), "options, corpora or tokenizers"),
        (replace(SMALL, train=TrainConfig(workers=2, seed=3)), holding(), "options, corpora or"),
        (SMALL, holding(corpus="another one"), "options, corpora or tokenizers"),
        (SMALL, holding(tokenizer="another one"), "options, corpora or tokenizers"),
        (replace(SMALL, train=TrainConfig(workers=4)), holding(), "workers .* same --workers$"),
    ],
    ids=["shape", "options", "corpus", "tokenizer", "workers"],
)
def test_what_differs_between_machines_is_refused(
    config: RunConfig, data: Prepared, said: str
) -> None:
    other = OneOfTwo()
    check_same(SMALL, holding(), other)
    check_same(SMALL, holding(), OneOfTwo(other.said))
    with pytest.raises(ConfigError, match=f"^the machines have different .*{said}"):
        check_same(config, data, OneOfTwo(other.said))


def test_a_flag_of_either_machine_is_one_of_both() -> None:
    told = [OneOfTwo([other]).any(own) for other in (0, 1) for own in (False, True)]
    assert told == [False, True, True, True]


def test_one_that_is_refused_alone_leaves_the_others_a_sentence(
    flags: list[str], tmp_path: Path, start: Start
) -> None:
    """Below what MLX says of its sockets."""
    flags += ["--out", str(tmp_path / "run")]
    nodes = start([flags, [*flags, "--tokenizer", str(tmp_path / "missing.model")]])
    known = "another machine was lost|or one of them has ended", "missing.model"
    for node, said in zip(nodes, known, strict=True):
        _, error = node.communicate(timeout=400)
        assert node.returncode == 2
        assert re.search(said, error.splitlines()[-1])
        assert "Traceback" not in error


def test_a_lost_node_ends_the_run_and_the_checkpoint_is_kept(
    run: Run, flags: list[str], tmp_path: Path, start: Start
) -> None:
    folder = tmp_path / "run"
    flags += ["--steps", "100000", "--out", str(folder)]
    nodes = start([flags] * 2)
    wait_for_checkpoint(nodes[0])
    nodes[1].kill()
    _, error = nodes[0].communicate(timeout=200)
    assert nodes[0].returncode == 2
    assert "another node was lost" in error
    assert run("tell", "The end.", "--model", folder).returncode == 0


@pytest.mark.slow
def test_a_node_that_hangs_ends_the_run_and_the_checkpoint_is_kept(
    run: Run, flags: list[str], tmp_path: Path, start: Start
) -> None:
    """With patience enough for the other to come, on a machine that has much else to do."""
    folder = tmp_path / "run"
    flags += ["--steps", "100000", "--out", str(folder)]
    # Only the first may lose patience: if the other's watch were quicker, it would kill the other,
    # and the first would see a node lost, not one that hangs.
    patience = [[*flags, "--patience", seconds] for seconds in ("30", "600")]
    nodes = start(patience, watched=True)
    wait_for_checkpoint(nodes[0])
    os.kill(training_of(nodes[1]), signal.SIGSTOP)
    _, error = nodes[0].communicate(timeout=200)
    assert nodes[0].returncode == 2
    assert "30 s without a step: another machine hangs" in error
    assert f"--resume {folder}" in error
    assert run("tell", "The end.", "--model", folder).returncode == 0


def test_a_node_that_never_comes_is_not_waited_for(
    flags: list[str], tmp_path: Path, start: Start
) -> None:
    flags += ["--out", str(tmp_path / "run"), "--patience", "2"]
    [first] = start([flags], missing=1, watched=True)
    _, error = first.communicate(timeout=200)
    assert first.returncode == 2
    assert "no other machine joined" in error
