"""What to type to run this program, and what its environment switches off."""

import os
import re
import shlex
import shutil
import sys
from pathlib import Path

from mlx_rev.errors import ConfigError


def program() -> str:
    """Its name if the shell finds it, otherwise its path or, without one, python -m mlx_rev."""
    beside, found = Path(sys.executable).with_name("mlx-rev"), shutil.which("mlx-rev")
    if not beside.is_file():
        return "mlx-rev" if found else f"{_named(Path(sys.executable))} -m mlx_rev"
    if found and Path(found).samefile(beside):
        return "mlx-rev"
    return _named(beside)


def runnable(command: str) -> str:
    """A shell command with what has to be typed here instead of mlx-rev."""
    ours = r"(?<![^\s(])mlx-rev(?= (convert|tell|train|wtac)\b)"
    return re.sub(ours, lambda _: program(), command)


def switched_off(variable: str) -> bool:
    """Whether a variable of the environment is "off"; empty, it counts as not set. Raises
    ConfigError for anything else."""
    value = os.environ.get(variable, "")
    if value not in ("", "off"):
        raise ConfigError(f"{variable} is {value!r}, expected off; or unset it")
    return value == "off"


def _named(path: Path) -> str:
    here = Path.cwd()
    return shlex.quote(str(path.relative_to(here) if path.is_relative_to(here) else path))
