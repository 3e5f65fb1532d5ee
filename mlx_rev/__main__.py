"""The `mlx-rev` command: imports just the subcommand asked for; an error is one line."""

import importlib
import io
import os
import sys
from collections.abc import Callable, Sequence

from mlx_rev import __version__
from mlx_rev.errors import RevError, in_a_line
from mlx_rev.ui.visible import one_line

COMMANDS = {
    "train": "train a model, or resume a run",
    "prepare": "turn a corpus into token shards and report on them",
    "tell": "write stories that end as you say",
    "repl": "type an ending, watch the story grow",
    "convert": "convert between llama2.c .bin, mlx-lm folders and GGUF",
    "score": "bits per byte of stories under a model",
    "evaluate": "what its stories are worth, beside real ones",
    "wtac": "reverse the words of standard input",
}
"""Each is a module in mlx_rev/cli with a `main(arguments, program)`."""

_USAGE_ERROR = 2


def main(arguments: Sequence[str] | None = None) -> int:
    """Run a subcommand and return the exit code."""
    given = list(sys.argv[1:] if arguments is None else arguments)
    if not given or given[0] in ("-h", "--help", "help"):
        return _reported("mlx-rev", lambda: _show(usage()))
    if given[0] in ("-V", "--version"):
        return _reported("mlx-rev", lambda: _show(f"mlx-rev {__version__}\n"))
    if given[0] not in COMMANDS:
        sys.stderr.write(
            f"mlx-rev: unknown command {given[0]!r}; expected one of {', '.join(COMMANDS)}\n"
        )
        return _USAGE_ERROR
    return run(given[0], given[1:], guarded=arguments is None)


def run(
    command: str,
    arguments: Sequence[str] | None = None,
    program: str | None = None,
    *,
    guarded: bool = False,
) -> int:
    """Run one subcommand; a RevError becomes a line on standard error and exit code 2.

    If `guarded`, training runs in a child process, whose death this one can explain.
    """
    given = list(sys.argv[1:] if arguments is None else arguments)
    name = program or f"mlx-rev {command}"

    def work() -> int:
        if command == "train" and guarded:
            from mlx_rev.train import watchdog

            if (code := watchdog.guard(name)) is not None:
                return code
        return int(importlib.import_module(f"mlx_rev.cli.{command}").main(given, name))

    return _reported(f"mlx-rev {command}", work)


def _show(text: str) -> int:
    sys.stdout.write(text)
    return 0


def _reported(name: str, work: Callable[[], int]) -> int:
    """The exit code of `work`, its errors and those of standard output being one line."""
    _ready_streams()
    try:
        try:
            code = work()
        except SystemExit as stop:  # --help, or flags that tyro refused
            code = stop.code if isinstance(stop.code, int) else 0 if stop.code is None else 1
        sys.stdout.flush()
        return code
    except RevError as error:
        sys.stderr.write(f"{name}: {one_line(str(error))}\n")
        return _USAGE_ERROR
    except KeyboardInterrupt:
        return 130
    except BrokenPipeError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 141
    except OSError as error:
        sys.stderr.write(f"{name}: {one_line(in_a_line(error))}\n")
        if error.filename is None:  # standard output itself failed; Python must not flush it again
            os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return _USAGE_ERROR


def _ready_streams() -> None:
    """Treat closed streams as empty; what standard output cannot encode becomes ?."""
    if sys.stdin is None:
        sys.stdin = open(os.devnull, encoding="utf-8")  # noqa: SIM115
    if sys.stdout is None:
        sys.stdout = open(os.devnull, "w", encoding="utf-8")  # noqa: SIM115
    if isinstance(sys.stdout, io.TextIOWrapper):
        sys.stdout.reconfigure(errors="replace")


def usage() -> str:
    """The help of the command as a whole."""
    width = max(map(len, COMMANDS))
    lines = [f"  {name:<{width}}  {summary}" for name, summary in COMMANDS.items()]
    return "\n".join(
        [
            "usage: mlx-rev COMMAND [options]",
            "",
            "Llamas that write stories backwards, from their ending.",
            "",
            *lines,
            "",
            "mlx-rev COMMAND --help lists the options of a command.",
            "",
        ]
    )


if __name__ == "__main__":
    sys.exit(main())
