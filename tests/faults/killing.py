"""Kill a command before its file-system events, give the command that is documented for that, and
say where the outcome is not what it would have been.

    python tests/faults/killing.py FOLDER SCENARIO[:full]=COUNT ...

FOLDER is for the commands to work in. COUNT events are tried of each scenario, or `all`. With
`full` the command is not killed: from that event on, the system has no room for anything new. The
outcome is printed as JSON. What was tried is kept in FOLDER/tried.jsonl: given the same FOLDER
again, an interrupted trial goes on from there.

Everything is imported once, and each command runs in a fork of this process, in which an audit hook
either ends it by os._exit, before the event and with no chance to clean up, or raises what the
system would.
"""

import atexit
import errno
import hashlib
import importlib
import json
import os
import shlex
import shutil
import sys
import tempfile
import zlib
from collections.abc import Callable, Sequence
from contextlib import redirect_stderr, redirect_stdout
from dataclasses import dataclass
from pathlib import Path
from typing import Any

KILLED = 9
_WRITES = os.O_WRONLY | os.O_RDWR | os.O_CREAT | os.O_TRUNC
_EVENTS = {
    *("os.mkdir", "os.rename", "os.remove", "os.rmdir", "os.symlink", "os.link", "os.chmod"),
    *("os.truncate", "fcntl.flock"),
}
_TAKES_ROOM = {"open", "os.mkdir", "os.rename", "os.symlink", "os.link"}
_CLOCK = ("tokens_per_second", "peak_memory")
_TRAIN = shlex.split(
    "train --plain --no-compile --vocab-size 400 --dim 32 --n-layers 1 --n-heads 4 --n-kv-heads 2 "
    "--hidden-dim 32 --context 64 --batch-size 2 --workers 1 --steps 3 --warmup 1 --log-every 1 "
    "--eval-every 2 --eval-stories 2 --save-every 1 --keep 1 --sample-every 2 --valid-share 0.2 "
    "--data stories.txt"
)
_RUN = Path("runs/stories-quick")

Arguments = Sequence[str]


@dataclass(frozen=True)
class Scenario:
    """A command, and what it finds."""

    command: Arguments
    next_one: Callable[[], Arguments]
    """The command after a kill; it is given again with --force where it says so."""
    begun: Sequence[Arguments] = ()
    """Commands that went before it."""


def _resumed() -> Arguments:
    from mlx_rev.train.watchdog import resuming

    if "--resume" in resuming(_RUN):
        return ["train", "--plain", "--resume", str(_RUN)]
    return _TRAIN


def _scenarios() -> dict[str, Scenario]:
    def again(command: Arguments, *begun: Arguments) -> Scenario:
        return Scenario(command, lambda: command, begun)

    made = [*_TRAIN, "--out", "made"]
    one_step = [*_TRAIN, "--steps", "1"]
    resume = ["train", "--plain", "--resume", str(_RUN), "--steps", "3"]
    return {
        "train": Scenario(_TRAIN, _resumed),
        "resume": again(resume, one_step),
        "prepare": again(shlex.split("prepare --plain --vocab-size 400 --data stories.txt")),
        "bin": again(shlex.split("convert --plain made out/model.bin"), made),
        "gguf": again(shlex.split("convert --plain made out/model.gguf"), made),
        "folder": again(
            shlex.split("convert --plain --force made out/model"),
            made,
            shlex.split("convert --plain --dtype float16 made out/model"),
        ),
        "run": again(shlex.split("convert --plain --to run made out/run"), made),
    }


class World:
    """The folder in which commands run."""

    def __init__(self, folder: Path) -> None:
        self._world, self._begun = folder / "world", folder / "begun"
        self._folder, self._output = folder, folder / "output"
        os.environ["MLX_REV_CACHE"] = str(self._world / "cache")
        os.environ["XDG_CACHE_HOME"] = str(folder / "user")
        tempfile.tempdir = str(self._world / "tmp")

    def begin(self, scenario: Scenario) -> None:
        """Make what the scenario's command finds."""
        from mlx_rev.data import bundled

        self._begun = self._folder / "begun"
        if not self._begun.exists():
            (self._begun / "tmp").mkdir(parents=True)
            stories = [story.text for story in bundled.stories("train", count=60)]
            text = "\n<|endoftext|>\n".join(stories)
            (self._begun / "stories.txt").write_text(text, encoding="utf-8")
        for command in scenario.begun:
            after = self._begun.with_name(
                f"{self._begun.name}-{zlib.crc32(repr(command).encode())}"
            )
            if not after.exists():
                self.reset()
                code, said = self.run(command)
                assert code == 0, said
                shutil.copytree(self._world, after, symlinks=True)
            self._begun = after
        self.reset()

    def reset(self) -> None:
        """Put everything back to what the command finds."""
        os.chdir("/")
        shutil.rmtree(self._world, ignore_errors=True)
        shutil.copytree(self._begun, self._world, symlinks=True)
        os.chdir(self._world)

    def run(
        self, command: Arguments, event: int | None = None, *, full: bool = False
    ) -> tuple[int, str]:
        """Run a command, killed before its event of that number, or on a disk that is `full` from
        there on; its exit code and output, or for event 0, which never comes, its events."""
        child = os.fork()
        if child == 0:
            self._be_child(command, event, full)
        code = os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
        return code, self._output.read_text(errors="replace")

    def _be_child(self, command: Arguments, event: int | None, full: bool) -> None:
        code = 70
        events: list[str] = []
        with open(self._output, "w", encoding="utf-8") as output:
            try:
                with redirect_stdout(output), redirect_stderr(output):
                    if event is not None:
                        sys.addaudithook(self._hook(event, events, full))
                    from mlx_rev.__main__ import main

                    code = main(command)
                    atexit._run_exitfuncs()
            except SystemExit as stop:
                code = stop.code if isinstance(stop.code, int) else 71
            except BaseException as error:
                output.write(f"{type(error).__name__}: {error}\n")
        if event == 0:
            self._output.write_text("\n".join(events))
        os._exit(code)

    def _hook(self, last: int, events: list[str], full: bool) -> Callable[[str, tuple], None]:
        def hook(event: str, given: tuple) -> None:
            if event == "open":
                path, _, flags = given
                if not flags & _WRITES or not self._is_here(path):
                    return
            elif event not in _EVENTS:
                return
            events.append(f"{event} {given[0]}".replace("\n", " "))
            if full and 0 < last <= len(events) and event in _TAKES_ROOM:
                raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), str(given[0]))
            if not full and len(events) == last:
                os._exit(KILLED)

        return hook

    def _is_here(self, path: object) -> bool:
        if not isinstance(path, str | bytes | os.PathLike):
            return False
        return Path(self._world, os.fsdecode(path)).is_relative_to(self._world)

    def content(self) -> dict[str, str]:
        """What there is, by path: a link's target, a file's checksum; the clock left out."""
        found = {}
        for path in sorted(self._world.rglob("*")):
            name = str(path.relative_to(self._world))
            if path.is_symlink():
                found[name] = f"-> {path.readlink()}"
            elif path.is_dir():
                found[name] = "folder"
            elif path.name == "metrics.jsonl":
                entries = map(json.loads, path.read_text(encoding="utf-8").splitlines())
                found[name] = json.dumps(
                    [{k: v for k, v in entry.items() if k not in _CLOCK} for entry in entries]
                )
            else:
                found[name] = hashlib.sha256(path.read_bytes()).hexdigest()
        return found


def try_one(
    world: World, scenario: Scenario, event: int, expected: dict[str, str], *, full: bool
) -> list[str]:
    """Disturb the command before an event and do what is documented; what is wrong then."""
    world.reset()
    code, said = world.run(scenario.command, event, full=full)
    if full and code != 0 and not (code == 2 and _said_so(said)):
        return [f"exit code {code}: {said}"]
    if not full and code != KILLED:
        return [f"not killed: exit code {code}: {said}"]
    command = scenario.next_one()
    code, said = world.run(command)
    if code != 0 and "--force" in said:
        code, said = world.run([*command, "--force"])
    found = world.content()
    if code != 0 and not (found == expected and ("already finished" in said or "exists" in said)):
        return [f"{' '.join(command)}: exit code {code}: {said}"]
    names = sorted(found.keys() | expected.keys())
    return [
        f"{name}: {found.get(name, 'missing')}, expected {expected.get(name, 'nothing')}"
        for name in names
        if found.get(name) != expected.get(name)
    ]


def _said_so(said: str) -> bool:
    """Whether the last line, and no other, is an error's."""
    lines = said.splitlines()
    errors = [line for line in lines if line.startswith("mlx-rev ") and "No space left" in line]
    return errors == lines[-1:]


def try_all(
    world: World, scenario: Scenario, count: int | None, journal: Path, name: str
) -> dict[str, object]:
    """Try `count` events of a scenario, spread over it, or all but what the journal has."""
    world.begin(scenario)
    code, said = world.run(scenario.command, 0)
    if code != 0:
        return {"events": 0, "tried": 0, "failures": [f"exit code {code}: {said}"]}
    events, expected = said.splitlines(), world.content()
    every = range(1, len(events) + 1)
    tried = every if count is None else every[len(events) // (2 * count) :: len(events) // count]
    done = _done(journal, name, events)
    for event in tried:
        if event not in done:
            done[event] = try_one(world, scenario, event, expected, full=name.endswith(":full"))
            with open(journal, "a", encoding="utf-8") as file:
                file.write(json.dumps([name, len(events), event, done[event]]) + "\n")
    failures = [
        f"event {event} of {len(events)}, {events[event - 1]}: {problem}"
        for event in tried
        for problem in done[event]
    ]
    return {"events": len(events), "tried": len(tried), "failures": failures}


def _done(journal: Path, name: str, events: Sequence[str]) -> dict[int, list[str]]:
    """What was wrong after each event that was tried before, of a command with the same events."""
    if not journal.exists():
        return {}
    entries = map(json.loads, journal.read_text(encoding="utf-8").splitlines())
    return {
        event: problems
        for scenario, count, event, problems in entries
        if (scenario, count) == (name, len(events))
    }


def _write_points(figure: Any, path: Path, **_: object) -> None:
    """Write what a figure would show."""
    lines = [line.get_xydata().tolist() for axes in figure.axes for line in axes.lines]
    path.write_text(json.dumps(lines), encoding="utf-8")


def main(folder: Path, wanted: Sequence[str]) -> None:
    """Try the scenarios that are named, and print what came of it."""
    folder = folder.resolve()
    for name in ("train", "prepare", "convert"):
        importlib.import_module(f"mlx_rev.cli.{name}")
    # Drawing, and timing what the machine can do, take as long as the training.
    importlib.import_module("matplotlib.figure").Figure.savefig = _write_points
    importlib.import_module("mlx_rev.cli.train").matrix_speed = lambda dtype: 1e11
    world = World(folder)
    scenarios = _scenarios()
    outcome = {}
    for each in wanted:
        name, _, count = each.partition("=")
        scenario = scenarios[name.removesuffix(":full")]
        number = None if count == "all" else int(count)
        outcome[name] = try_all(world, scenario, number, folder / "tried.jsonl", name)
    json.dump(outcome, sys.stdout, indent=1)


if __name__ == "__main__":
    main(Path(sys.argv[1]), sys.argv[2:])
