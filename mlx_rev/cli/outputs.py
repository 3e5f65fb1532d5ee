"""Files that a command writes if it is asked to: JSON, and a picture."""

import sys
from pathlib import Path

from mlx_rev import files
from mlx_rev.errors import ConfigError

_STANDARD_OUTPUT = Path("-")


def check_outputs(json: Path | None, plot: Path | None) -> None:
    """Raise ConfigError for what cannot be written, before anything is computed."""
    for flag, path, suffix in (("--json", json, ".json"), ("--plot", plot, ".png")):
        if path is None or (flag == "--json" and is_standard_output(path)):
            continue
        if path.suffix.lower() != suffix:
            raise ConfigError(f"{flag} {path}: expected a name that ends in {suffix}")
        if path.is_dir():
            raise ConfigError(f"{flag} {path}: is a folder, expected a file")


def is_standard_output(path: Path | None) -> bool:
    """Whether JSON goes to standard output, where nothing else may then go."""
    return path == _STANDARD_OUTPUT


def write_json(path: Path, text: str) -> None:
    """Write it to the file, or to standard output."""
    if is_standard_output(path):
        sys.stdout.write(text)
    else:
        files.write_text(path, text)
