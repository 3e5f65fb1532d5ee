"""`mlx-rev completion`: a script that completes commands, options and file names in a shell."""

import importlib
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Annotated, Any, Literal, Union

import tyro

from mlx_rev.cli.flags import CONFIG, parse, readers
from mlx_rev.cli.help import COMMANDS


@dataclass(frozen=True, kw_only=True)
class CompletionCommand:
    """Print a script that completes commands, options and file names. Put it where your shell
    looks for one, as below; what it knows is this version's."""

    shell: Annotated[
        Literal["bash", "zsh", "fish"], tyro.conf.Positional, tyro.conf.arg(metavar="SHELL")
    ]
    """bash, zsh or fish."""


def main(arguments: Sequence[str], program: str) -> int:
    """Print the script for the shell asked for. Raises ConfigError."""
    command = parse(CompletionCommand, arguments, program)
    with readers():
        tyro.cli(
            _all_commands(),
            prog="mlx-rev",
            args=["--tyro-print-completion", command.shell],
            config=CONFIG,
        )
    return 0


def _all_commands() -> Any:
    """All commands as one type, of which tyro makes subcommands."""
    kinds = []
    for name, command in COMMANDS.items():
        options = getattr(importlib.import_module(f"mlx_rev.cli.{name}"), f"{name.title()}Command")
        named = tyro.conf.subcommand(name, description=command.summary)
        kinds.append(Annotated[options, named])
    return Union[tuple(kinds)]  # noqa: UP007
