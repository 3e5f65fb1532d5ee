"""A training process and its parent, which says in a sentence why the training died.

Metal's watchdog aborts a process, and the system kills one that takes too much memory: then the
process itself can say nothing. And while MLX waits for another machine, no Python thread of its
process may get to run. So the command starts the training as its child, waits for it, and ends as
it ended. The two are joined by a socket. The child sends what the parent has to know, one JSON
object per line; when one end closes, the other knows that its peer is gone.

The child has a process group of its own, so that Ctrl-C in the terminal reaches the parent alone,
which forwards it to the training and not to the compilers that MLX has started.
MLX_REV_WATCHDOG=off trains without a parent.
"""

import ctypes
import json
import os
import select
import shlex
import shutil
import signal
import socket
import subprocess
import sys
import threading
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from types import FrameType
from typing import Any, ClassVar

from mlx_rev import run_folder
from mlx_rev.errors import RevError
from mlx_rev.program import program, switched_off
from mlx_rev.train.runlog import read_metrics
from mlx_rev.train.terminal import Terminal

VARIABLE = "MLX_REV_WATCHDOG"
"""Set to off, the training has no parent."""
_CHANNEL = "_MLX_REV_WATCHDOG_CHANNEL"
"""Hands a command that runs again its end of the socket, a file descriptor."""

EXPLAINED = 2
"""The exit code after an explanation."""

NOBODY_CAME = "no other machine joined; start the same command on all of them"
STILL_PREPARING = (
    "all machines have joined, but one still prepares its data, or hangs; run mlx-rev prepare on "
    "each before, or give a larger --patience"
)
ANOTHER_HANGS = (
    "another machine hangs, or evaluates for longer than that; end it, or give a larger --patience"
)

_FORWARDED = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)
_ASKED_FOR = {*_FORWARDED, signal.SIGQUIT, signal.SIGPIPE}
_AT_ONCE, _OUT_OF_PATIENCE = 2, 3
"""Ctrl-C: the first asks for a stop after the step, the second for one at once; the third kills."""
_GRACE = 3.0
"""Seconds after the second in which it may stop by itself, which it cannot while a step computes.
"""

_FULL = 64 << 20
"""Bytes: with less free space, a compiled kernel may not have fitted."""
_RECENT = 100
"""How many of the last lines of the metrics are read."""

_SMALLER = "use a smaller --batch-size with more --accumulation, or close other programs, and then"


class Parent:
    """The parent, as the training sees it; without one, nothing is sent."""

    channel: ClassVar[int | None] = None
    """This process's end of the socket, where `guard` has made it a child."""

    def __init__(self) -> None:
        self._expects_steps = False

    def has_run(self, run: Path) -> None:
        """Say which run folder this is, so that its last checkpoint can be named."""
        self._tell(run=str(run))

    def takes_screen(self) -> None:
        """Say that the terminal has to be put back if this process is killed or suspended."""
        self._tell(screen=True)

    def expect_steps(self, patience: float) -> None:
        """Ask to be killed if none of the calls below comes for `patience` seconds."""
        self._expects_steps = True
        self._tell(patience=patience, otherwise=NOBODY_CAME)

    def preparing(self) -> None:
        """Say that the other machines are there, and the data is being prepared."""
        self._lives(STILL_PREPARING)

    def step_done(self) -> None:
        """Say that the training has not hung."""
        self._lives(ANOTHER_HANGS)

    def doing(self, what: str) -> None:
        """Say that something other than a step begins."""
        self._lives(f"{what} takes longer than that; give a larger --patience")

    def _lives(self, otherwise: str) -> None:
        if self._expects_steps:
            self._tell(otherwise=otherwise)

    def _tell(self, **facts: str | float) -> None:
        if self.channel is not None:
            with suppress(BrokenPipeError):  # It is gone, and this process soon will be.
                os.write(self.channel, json.dumps(facts).encode() + b"\n")


def guard(program: str, *, fork: bool = sys.platform == "linux") -> int | None:
    """Continue in a child process. Returns None in the child and, in this process, the child's exit
    code once it has ended.

    If a signal that nobody sent on purpose ended it, that is explained on standard error and the
    code is 2; if a signal sent on purpose did, this process ends by it as well. `fork` is quicker,
    as nothing is imported twice; outside Linux the child runs this command again, as Apple's
    frameworks do not work in a forked process. Raises ConfigError where `VARIABLE` is not off.
    """
    if (channel := os.environ.pop(_CHANNEL, None)) is not None:
        _be_child(int(channel))
        return None
    if switched_off(VARIABLE):
        return None
    parent = _Guard()
    before = {number: signal.signal(number, parent.forward) for number in _FORWARDED}
    if before[signal.SIGHUP] is signal.SIG_IGN:  # nohup
        signal.signal(signal.SIGHUP, signal.SIG_IGN)
    ours, theirs = socket.socketpair()
    child = _fork() if fork else _run_again(theirs)
    if child == 0:
        for number, handler in before.items():
            signal.signal(number, handler)
        ours.close()
        _be_child(theirs.detach())
        return None
    theirs.close()
    parent.watch(child, ours)
    return parent.end_of(child, program)


def _fork() -> int:
    """The child's process id; in the child, 0."""
    child = os.fork()
    if child == 0:
        os.setpgid(0, 0)
    else:
        with suppress(OSError):  # The child did it, and may have ended already.
            os.setpgid(child, child)
    return child


def _run_again(theirs: socket.socket) -> int:
    """Start this command again, with its end of the socket; returns its process id."""
    environment = os.environ | {_CHANNEL: str(theirs.fileno())}
    command = [sys.executable, *sys.orig_argv[1:]]
    return subprocess.Popen(
        command, env=environment, pass_fds=[theirs.fileno()], process_group=0
    ).pid


def _be_child(channel: int) -> None:
    """Be allowed to write to the terminal from the background, and end when the parent does."""
    Parent.channel = channel
    signal.signal(signal.SIGTTOU, signal.SIG_IGN)
    os.set_inheritable(channel, False)
    if sys.platform == "linux":  # Works even while MLX lets no Python thread run.
        death_signal_of_parent = 1
        ctypes.CDLL(None).prctl(death_signal_of_parent, int(signal.SIGKILL))
    threading.Thread(target=_end_with_parent, args=[channel], daemon=True).start()


def _end_with_parent(channel: int) -> None:
    os.read(channel, 1)
    os.kill(os.getpid(), signal.SIGKILL)


class _Guard:
    """The parent at work."""

    def __init__(self) -> None:
        self._child: int | None = None
        self._early: list[int] = []
        self._interrupts = 0
        self._told: dict[str, Any] = {}
        self._hung = self._continued = self._impatient = False
        self._killed_before = _out_of_memory_kills()
        self._terminal = Terminal()

    def forward(self, number: int, frame: FrameType | None) -> None:
        """Forward a signal to the training, and to it alone."""
        if self._child is None:
            self._early.append(number)
            return
        self._interrupts += number == signal.SIGINT
        if self._interrupts >= _OUT_OF_PATIENCE:
            self._lose_patience()
            return
        os.kill(self._child, number)
        if number == signal.SIGINT and self._interrupts == _AT_ONCE:
            timer = threading.Timer(_GRACE, self._lose_patience)
            timer.daemon = True
            timer.start()

    def watch(self, child: int, channel: socket.socket) -> None:
        """Listen to the child until it has ended; kill it if it should have said something and has
        not."""
        self._child = child
        for number in self._early:
            self.forward(number, None)
        signal.signal(signal.SIGTSTP, self._suspend)
        signal.signal(signal.SIGCONT, self._go_on)
        begun = b""
        while True:
            patience = None if self._hung else self._told.get("patience")
            if not select.select([channel], [], [], patience)[0]:
                # The time while this process was suspended does not count.
                self._hung = not self._continued
                if self._hung:
                    self._signal_all(signal.SIGKILL)
            elif heard := channel.recv(1 << 16):
                *lines, begun = (begun + heard).split(b"\n")
                for line in lines:
                    self._told.update(json.loads(line))
            else:
                return
            self._continued = False

    def end_of(self, child: int, program: str) -> int:
        """Wait for the child's end, explain it if nobody asked for it, and return the exit code."""
        _, status, usage = os.wait4(child, 0)
        self._child = None
        code = os.waitstatus_to_exitcode(status)
        if code >= 0:
            return code
        if "screen" in self._told:
            self._terminal.give_back()
        run = Path(self._told["run"]) if "run" in self._told else None
        if self._impatient:
            _say(f"{program}: stopped; {resuming(run)}")
            return 128 + signal.SIGINT
        if -code in _ASKED_FOR:
            signal.signal(-code, signal.SIG_DFL)
            os.kill(os.getpid(), -code)
        if self._hung:
            reason = f"{self._told['patience']:g} s without a step: {self._told['otherwise']}"
            sentence = f"{reason}, and then {resuming(run)}" if run else reason
        else:
            held = usage.ru_maxrss * (1 if sys.platform == "darwin" else 1024)
            folder = os.environ.get("TMPDIR", "/tmp")
            death = Death(
                signal=-code,
                memory=max(held, _peak_memory(run)),
                machine_memory=os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES"),
                killed_for_memory=_out_of_memory_kills() > self._killed_before,
                temporary_folder=folder,
                temporary_free=_free(folder),
                platform=sys.platform,
            )
            sentence = f"{explain(death)} {resuming(run)}"
        _say(f"{program}: {sentence}")
        return EXPLAINED

    def _suspend(self, number: int, frame: FrameType | None) -> None:
        """Ctrl-Z: suspend the training, and this process as if it had no handler."""
        self._signal_all(signal.SIGSTOP)
        if "screen" in self._told:
            self._terminal.give_back()
        signal.signal(signal.SIGTSTP, signal.SIG_DFL)
        os.kill(os.getpid(), signal.SIGTSTP)
        signal.signal(signal.SIGTSTP, self._suspend)
        if "screen" in self._told:
            self._terminal.take_again()
        self._go_on(number, frame)

    def _go_on(self, number: int, frame: FrameType | None) -> None:
        self._continued = True
        self._signal_all(signal.SIGCONT)

    def _lose_patience(self) -> None:
        self._impatient = True
        self._signal_all(signal.SIGKILL)

    def _signal_all(self, number: signal.Signals) -> None:
        """Send a signal to the training and to the compilers it has started."""
        if self._child is not None:
            with suppress(ProcessLookupError):
                os.killpg(self._child, number)


def _say(sentence: str) -> None:
    with suppress(OSError):  # The terminal may be gone.
        os.write(2, os.fsencode(f"{sentence}\n"))  # a run's name need not be UTF-8


@dataclass(frozen=True, kw_only=True)
class Death:
    """How a training process died, and the state of the machine then."""

    signal: int
    memory: int
    """Bytes it held at most."""
    machine_memory: int
    """Bytes."""
    killed_for_memory: bool
    """Whether Linux meanwhile killed a process because memory ran out."""
    temporary_folder: str
    """Where MLX keeps its compiled kernels."""
    temporary_free: int
    """Bytes free there."""
    platform: str
    """sys.platform."""


def explain(death: Death) -> str:
    """What most likely happened and what to do: a sentence that `resuming` completes."""
    name = signal.Signals(death.signal).name
    much = death.killed_for_memory or 2 * death.memory > death.machine_memory
    held = (
        f"it held {death.memory / 1e9:.1f} GB at most, and the machine has "
        f"{death.machine_memory / 1e9:.1f} GB"
    )
    out_of_memory = f"most likely because memory ran out ({held}); {_SMALLER}"
    match name:
        case "SIGKILL" if much:
            return f"the training was killed ({name}), {out_of_memory}"
        case "SIGKILL":
            return f"the training was killed ({name}) by the system or by another program ({held});"
        case "SIGABRT" if death.platform == "darwin" and much:
            return f"the training was aborted ({name}), {out_of_memory}"
        case "SIGABRT" if death.platform == "darwin":
            return (
                f"the training was aborted ({name}), most likely by Metal, which ends GPU work "
                "that keeps the display waiting; let the display sleep, use a smaller --batch-size "
                "with more --accumulation or set AGX_RELAX_CDM_CTXSTORE_TIMEOUT=1, and then"
            )
        case "SIGABRT":
            return (
                f"the training was aborted ({name}) by MLX or a library under it, whose reason, "
                "if it gave one, is above;"
            )
        case "SIGBUS" if death.temporary_free < _FULL:
            return (
                f"the training ended on a memory error ({name}), most likely because "
                f"{death.temporary_folder} is full ({death.temporary_free / 1e6:.0f} MB free); "
                "make room there or set TMPDIR to another folder, and then"
            )
        case "SIGBUS":
            return (
                f"the training ended on a memory error ({name}), most likely because a file it was "
                "reading was cut short or its disk failed; check the disk, and then"
            )
        case _:
            return (
                f"the training crashed ({name}) in native code, which is a bug in MLX or in "
                "mlx-rev; report it if it happens again, and meanwhile"
            )


def resuming(run: Path | None) -> str:
    """Which checkpoint of the run is the last, and the command that resumes from it."""
    latest = run_folder.latest(run) if run else None
    if latest is None:
        return "start it again, as no checkpoint had been saved"
    command = f"{program()} train --resume {shlex.quote(str(run))}"
    return f"resume from the last checkpoint, {latest.name}: {command}"


def _peak_memory(run: Path | None) -> int:
    """Bytes that MLX held, from the run's metrics: a GPU's do not count as the process's own."""
    peaks = []
    with suppress(OSError, RevError):
        entries = read_metrics(run / run_folder.METRICS) if run else []
        peaks = [entry.get("peak_memory") for entry in entries[-_RECENT:]]
    return max((peak for peak in peaks if isinstance(peak, int)), default=0)


def _free(folder: str) -> int:
    """Bytes free in a folder; 0 where it cannot be used at all."""
    try:
        return shutil.disk_usage(folder).free
    except OSError:
        return 0


def _out_of_memory_kills() -> int:
    """How many processes Linux has killed so far because memory ran out; 0 where it cannot say."""
    try:
        counters = dict(line.split() for line in Path("/proc/vmstat").read_text().splitlines())
        return int(counters.get("oom_kill", 0))
    except (OSError, ValueError):
        return 0
