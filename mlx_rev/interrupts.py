"""Ctrl-C before a command begins and after it is done: it ends the process, and nothing is shown.

Python would print where in its imports, or in its own end, it was. Imported before anything else.
"""

import signal
import sys


def is_command() -> bool:
    """Whether this process was started as `mlx-rev` or as one of its modules."""
    # Python's own part, with the program; what follows is the program's, which may have an -m too.
    started = sys.orig_argv[: len(sys.orig_argv) - len(sys.argv) + 1]
    if "-m" in started[:-1]:
        return started[-1].partition(".")[0] == "mlx_rev"
    return any(argument.endswith("/mlx-rev") for argument in started)


def end_at_once() -> None:
    """Let Ctrl-C end the process by its signal, which shells show as exit code 130; not where it is
    ignored, as with nohup."""
    if is_command() and signal.getsignal(signal.SIGINT) == signal.default_int_handler:
        signal.signal(signal.SIGINT, signal.SIG_DFL)


def interrupt_python() -> None:
    """Let Ctrl-C raise KeyboardInterrupt again."""
    if is_command() and signal.getsignal(signal.SIGINT) == signal.SIG_DFL:
        signal.signal(signal.SIGINT, signal.default_int_handler)
