"""Flags from dataclasses, through tyro, and where files go by default."""

import os
from collections.abc import Sequence
from pathlib import Path
from typing import TypeVar

import platformdirs
import tyro

from mlx_rev.errors import ConfigError
from mlx_rev.formats.opening import CHECKPOINTS

Command = TypeVar("Command")

RUNS = Path("runs")
"""Where training runs go, in the folder one works in."""


def parse(
    command: type[Command],
    arguments: Sequence[str],
    program: str,
    default: Command | None = None,
) -> Command:
    """The dataclass `command` from flags; field docstrings are the help. Exits 2 on misuse."""
    options: Command = tyro.cli(
        command,
        args=list(arguments),
        prog=program,
        default=tyro.MISSING_NONPROP if default is None else default,
        config=(tyro.conf.OmitArgPrefixes, tyro.conf.OmitSubcommandPrefixes),
    )
    return options


def cache_folder() -> Path:
    """Where corpora and token shards are kept: MLX_REV_CACHE, or the user's cache."""
    return Path(os.environ.get("MLX_REV_CACHE") or platformdirs.user_cache_dir("mlx-rev"))


def chosen_model(named: Path | None) -> Path:
    """The model that was named, or the newest run in `runs`."""
    if named is not None:
        return named
    newest = sorted(RUNS.glob(f"*/{CHECKPOINTS}/latest"), key=lambda link: link.stat().st_mtime)
    if not newest:
        raise ConfigError("no --model given and no run in runs/; train one with: mlx-rev train")
    return newest[-1].parents[1]
