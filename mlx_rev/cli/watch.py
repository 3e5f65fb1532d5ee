"""Ends a run that waits in vain for another machine: MLX itself would wait for ever.

While MLX waits, no thread of its process need get a turn, so the watch is a process of its own:
this file, run as a program. It is told on standard input, by a line, that something happened, and
what to say if nothing else does.
"""

import os
import select
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager

NOBODY_CAME = "no other machine came; start the same command on all of them"

Beat = Callable[[str], None]
"""To be told that something happened, and what it means if nothing else does."""


@contextmanager
def watched(program: str, patience: float) -> Iterator[Beat]:
    """Where this process is one of several nodes, kill it with a line on standard error when
    nothing was heard of it for `patience` seconds."""
    if "MLX_RANK" not in os.environ:
        yield lambda otherwise: None
        return
    command = [sys.executable, __file__, str(os.getpid()), str(patience), program]
    with subprocess.Popen(command, stdin=subprocess.PIPE, text=True, bufsize=1) as watch:
        pipe = watch.stdin

        def beat(otherwise: str) -> None:
            if pipe is not None:
                pipe.write(otherwise + "\n")

        beat(NOBODY_CAME)
        yield beat


def main(process: int, patience: float, program: str) -> None:
    """Wait for lines until there are no more, or until there is none for too long."""
    otherwise = ""
    while select.select([sys.stdin], [], [], patience)[0]:
        lines = os.read(sys.stdin.fileno(), 1 << 16).decode().splitlines()
        if not lines:
            return
        otherwise = lines[-1]
    sys.stderr.write(f"{program}: {patience:g} s without a step: {otherwise}\n")
    os.kill(process, signal.SIGKILL)


if __name__ == "__main__":
    # Ctrl-C in the terminal is for the run.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    main(int(sys.argv[1]), float(sys.argv[2]), sys.argv[3])
