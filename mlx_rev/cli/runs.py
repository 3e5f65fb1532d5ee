"""`mlx-rev runs`: which training runs there are, or one of them with its curves."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

import tyro

from mlx_rev import run_folder
from mlx_rev.cli.flags import parse
from mlx_rev.cli.options import RUNS
from mlx_rev.cli.train_options import check_run
from mlx_rev.errors import ConfigError
from mlx_rev.ui.console import make_console
from mlx_rev.ui.runs import read_run, show_run, show_runs


@dataclass(frozen=True, kw_only=True)
class RunsCommand:
    """List the training runs in a folder: their models, steps, best bits per byte, size, and how
    long ago they changed. Or show one of them, with its curves."""

    run: Annotated[Path | None, tyro.conf.Positional, tyro.conf.arg(metavar="[RUN]")] = None
    """A run folder to show."""
    folder: Path = RUNS
    """The folder whose runs are listed."""
    plain: bool = False
    """No colours."""


def main(arguments: Sequence[str], program: str) -> int:
    """Print the list, or one run. Raises RevError."""
    command = parse(RunsCommand, arguments, program)
    console = make_console(plain=command.plain)
    if command.run is not None:
        check_run(command.run, str(command.run))
        show_run(read_run(command.run), console)
    elif paths := run_folder.runs(command.folder):
        show_runs(paths, console)
    else:
        raise ConfigError(f"{command.folder}: no training run in it; mlx-rev train begins one")
    return 0
