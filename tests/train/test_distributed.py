"""Several nodes, here on one machine, as `mlx.launch` starts them."""

import json
import os
import signal
import socket
import subprocess
import sys
from pathlib import Path

import pytest

from tests.conftest import Run, training_of


def start(
    arguments: list[list[str]], folder: Path, environment: dict[str, str], *, missing: int = 0
) -> list[subprocess.Popen[str]]:
    """A node for each list of arguments, in a ring, each with a cache of its own; `missing` more
    are expected there."""
    hosts = []
    for _ in range(len(arguments) + missing):
        with socket.socket() as free:
            free.bind(("127.0.0.1", 0))
            hosts.append([f"127.0.0.1:{free.getsockname()[1]}"])
    hostfile = folder / "ring.json"
    hostfile.write_text(json.dumps(hosts))
    command = [sys.executable, "-m", "mlx_rev", "train", "--plain", "--ranks", "1"]
    return [
        subprocess.Popen(
            [*command, *own, "--cache", folder / f"cache-{rank}"],
            env={**environment, "MLX_HOSTFILE": str(hostfile), "MLX_RANK": str(rank)},
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        for rank, own in enumerate(arguments)
    ]


def wait_for_checkpoint(node: "subprocess.Popen[str]") -> None:
    """Return when the node says that it has saved one."""
    assert node.stdout is not None
    while "saved" not in node.stdout.readline():
        assert node.poll() is None


def end(nodes: "list[subprocess.Popen[str]]") -> list[int]:
    """Wait for all; their exit codes. Only the first may say anything."""
    said = [node.communicate(timeout=400) for node in nodes]
    assert not any(output or errors for output, errors in said[1:]), said
    return [node.returncode for node in nodes]


def steps(run: Path) -> list[float]:
    """The logged losses."""
    with open(run / "metrics.jsonl") as file:
        return [entry["loss"] for entry in map(json.loads, file) if entry["kind"] == "step"]


def test_two_nodes_train_as_one_and_resume(
    run: Run, tiny_flags: list[str], tmp_path: Path, command_environment: dict[str, str]
) -> None:
    flags = [*tiny_flags, "--dropout", "0", "--log-every", "1", "--save-every", "4"]
    flags += ["--steps", "24"]
    alone, shared = tmp_path / "alone", tmp_path / "shared"
    done = run("train", *flags, "--out", alone, "--plain", "--ranks", 1)
    assert done.returncode == 0
    nodes = start([[*flags, "--out", str(shared)]] * 2, tmp_path, command_environment)
    wait_for_checkpoint(nodes[0])
    nodes[1].terminate()  # one is asked to stop, both do
    assert end(nodes) == [0, 0]
    assert len(steps(shared)) < 24
    assert end(start([["--resume", str(shared)]] * 2, tmp_path, command_environment)) == [0, 0]
    assert len(steps(shared)) == 24
    assert steps(shared)[:12] == pytest.approx(steps(alone)[:12], abs=1e-4)


def test_nodes_with_other_options_are_refused(
    tiny_flags: list[str], tmp_path: Path, command_environment: dict[str, str]
) -> None:
    flags = [*tiny_flags, "--out", str(tmp_path / "run")]
    nodes = start([flags, [*flags, "--seed", "3"]], tmp_path, command_environment)
    for node in nodes:
        _, error = node.communicate(timeout=400)
        assert node.returncode == 2
        assert "the machines have different options or corpora" in error
        assert len(error.splitlines()) == 1


def test_a_lost_node_ends_the_run_and_the_checkpoint_is_kept(
    run: Run, tiny_flags: list[str], tmp_path: Path, command_environment: dict[str, str]
) -> None:
    folder = tmp_path / "run"
    flags = [*tiny_flags, "--steps", "100000", "--out", str(folder)]
    nodes = start([flags] * 2, tmp_path, command_environment)
    wait_for_checkpoint(nodes[0])
    nodes[1].kill()
    _, error = nodes[0].communicate(timeout=200)
    nodes[1].communicate()
    assert nodes[0].returncode == 2
    assert "another node was lost" in error
    assert run("tell", "The end.", "--model", folder).returncode == 0


def test_a_node_that_hangs_ends_the_run_and_the_checkpoint_is_kept(
    run: Run, tiny_flags: list[str], tmp_path: Path, command_environment: dict[str, str]
) -> None:
    folder = tmp_path / "run"
    flags = [*tiny_flags, "--steps", "100000", "--out", str(folder)]
    # Only the first may lose patience: if the other's watch were quicker, it would kill the other,
    # and the first would see a node lost, not one that hangs.
    patience = [[*flags, "--patience", seconds] for seconds in ("6", "600")]
    nodes = start(patience, tmp_path, command_environment)
    wait_for_checkpoint(nodes[0])
    os.kill(training_of(nodes[1]), signal.SIGSTOP)
    _, error = nodes[0].communicate(timeout=200)
    nodes[1].kill()
    nodes[1].communicate()
    assert nodes[0].returncode == 2
    assert "6 s without a step: another machine hangs" in error
    assert f"--resume {folder}" in error
    assert run("tell", "The end.", "--model", folder).returncode == 0


def test_a_node_that_never_comes_is_not_waited_for(
    tiny_flags: list[str], tmp_path: Path, command_environment: dict[str, str]
) -> None:
    flags = [*tiny_flags, "--out", str(tmp_path / "run"), "--patience", "2"]
    [first] = start([flags], tmp_path, command_environment, missing=1)
    _, error = first.communicate(timeout=200)
    assert first.returncode == 2
    assert "no other machine joined" in error
