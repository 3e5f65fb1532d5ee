"""The `mlx-rev` command: imports just the subcommand asked for; an error is one line."""

import importlib
import io
import os
import sys
from collections.abc import Callable, Sequence

from mlx_rev import __version__
from mlx_rev.cli.help import COMMANDS, usage
from mlx_rev.errors import ConfigError, RevError, in_a_line, nearest, warning_in_a_line
from mlx_rev.interrupts import end_at_once, interrupt_python
from mlx_rev.ui.visible import one_line

_USAGE_ERROR = 2


def main(arguments: Sequence[str] | None = None) -> int:
    """Run a subcommand and return the exit code."""
    given = list(sys.argv[1:] if arguments is None else arguments)
    if not given and sys.stdin and sys.stdin.isatty() and sys.stdout and sys.stdout.isatty():
        given = ["repl"]
    if given[:1] == ["help"] and len(given) == 2 and not given[1].startswith("-"):
        given = [given[1], "--help"]
    if not given or given[0] in ("-h", "--help", "help"):
        return _reported("mlx-rev", lambda: _show(usage()))
    if given[0] in ("-V", "--version"):
        return _reported("mlx-rev", lambda: _show(f"mlx-rev {__version__}\n"))
    if given[0] not in COMMANDS:
        return _reported("mlx-rev", lambda: _refuse(given[0]))
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
        module = importlib.import_module(f"mlx_rev.cli.{command}")
        interrupt_python()
        return int(module.main(given, name))

    return _reported(f"mlx-rev {command}", work)


def _show(text: str) -> int:
    sys.stdout.write(text)
    return 0


def _refuse(command: str) -> int:
    """Raise ConfigError for a command that there is not."""
    if any(map(str.isspace, command)):
        raise ConfigError("expected a command; for a story with this ending, mlx-rev tell ENDING")
    if command.startswith("-"):
        raise ConfigError(f"expected a command before {command}, such as mlx-rev repl")
    meant = nearest(command, [*COMMANDS, "help"], "mlx-rev help lists the commands")
    raise ConfigError(f"unknown command {command!r}; {meant}")


def _reported(name: str, work: Callable[[], int]) -> int:
    """The exit code of `work`, its errors and those of standard output being one line."""
    _ready_streams()
    try:
        try:
            with warning_in_a_line():
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
    finally:
        end_at_once()


def _ready_streams() -> None:
    """Treat closed streams as empty; what standard output cannot encode becomes ?."""
    if sys.stdin is None:
        sys.stdin = open(os.devnull, encoding="utf-8")  # noqa: SIM115
    if sys.stdout is None:
        sys.stdout = open(os.devnull, "w", encoding="utf-8")  # noqa: SIM115
    if isinstance(sys.stdout, io.TextIOWrapper):
        sys.stdout.reconfigure(errors="replace")


if __name__ == "__main__":
    sys.exit(main())
