"""Runs in TOML, one table for each part."""

import dataclasses
import reprlib
import tomllib
from collections.abc import Mapping
from pathlib import Path
from typing import Any, get_args, get_type_hints

import tomli_w

from mlx_rev.config import RunConfig, TrainConfig
from mlx_rev.errors import ConfigError
from mlx_rev.files import read_bytes
from mlx_rev.presets import preset

FORMER_NAMES = {
    "ranks": "workers",
    "initial_deviation": "init_std",
    "embedding_deviation": "embedding_init_std",
}
"""Options of earlier versions, still found in old runs' config.toml and in people's scripts."""
LARGEST_NUMBER = 1 << 64
"""No option is a whole number beyond this, either side of 0."""
EARLIER = RunConfig(train=TrainConfig(packing="once"))
"""How a run does what its config.toml does not say, as an earlier version that wrote it did."""


def to_toml(config: RunConfig) -> str:
    """A run as TOML, one table for each part; fields that are None are left out."""
    tables = dataclasses.asdict(config)
    return tomli_w.dumps(
        {
            part: {name: value for name, value in table.items() if value is not None}
            for part, table in tables.items()
        }
    )


def read_toml(path: Path, base: RunConfig | None = None) -> RunConfig:
    """Read a run from TOML over `base`; a top-level `preset` names another base.

    Raises ConfigError for a missing or malformed file, and, all at once, for unknown keys and
    values of the wrong type or out of range.
    """
    tables = _tables(path)
    name = tables.pop("preset", None)
    config, problems = base or RunConfig(), []
    if name is not None:
        try:
            config = preset(str(name))
        except ConfigError as error:
            problems.append(str(error))
    parts: dict[str, Any] = {}
    for part in dataclasses.fields(RunConfig):
        table = tables.pop(part.name, {})
        parts[part.name], found = _overlay(getattr(config, part.name), table, part.name)
        problems += found
    problems += [f"unknown table or key {key!r}" for key in tables]
    config = RunConfig(**parts)
    problems += config.model.problems() + config.data.problems() + config.train.problems()
    if problems:
        raise ConfigError(f"{path}: " + "; ".join(problems))
    return config


def _tables(path: Path) -> dict[str, Any]:
    """The tables of a TOML file, which may begin with a byte-order mark."""
    try:
        return tomllib.loads(read_bytes(path).decode("utf-8-sig"))
    except OSError as error:
        raise ConfigError(f"{path}: cannot be read ({error.strerror})") from error
    except RecursionError as error:
        raise ConfigError(f"{path}: nested too deeply; expected three tables") from error
    except ValueError as error:  # also a whole number of more than 4300 digits
        raise ConfigError(f"{path}: not TOML ({error})") from error


def _overlay(base: Any, values: object, label: str) -> tuple[Any, list[str]]:
    """The dataclass `base` with `values` laid over it, and the problems found, in words."""
    if not isinstance(values, Mapping):
        return base, [f"[{label}] must be a table"]
    types = get_type_hints(type(base))
    problems, accepted = [], {}
    for given, value in values.items():
        key = now if (now := FORMER_NAMES.get(str(given))) in types else str(given)
        if key not in types:
            problems.append(f"unknown key {label}.{key if key.isprintable() else repr(key)}")
        elif key != given and key in values:
            problems.append(f"{label}.{given} and {label}.{key} are one option; give the second")
        elif (fitted := _fit(value, types[key])) is None:
            expected = _type_name(types[key])
            problems.append(f"{label}.{key} is {_shown(value)}, expected {expected}")
        else:
            accepted[key] = fitted
    return dataclasses.replace(base, **accepted), problems


def _fit(value: object, kind: Any) -> object | None:
    """`value` as a `kind`, or None if it is not one."""
    choices = get_args(kind)
    if kind is float and isinstance(value, int) and not isinstance(value, bool):
        return float(value) if abs(value) < LARGEST_NUMBER else None
    if kind is int and type(value) is int and abs(value) > LARGEST_NUMBER:
        return None
    if kind in (int, float, bool, str):
        return value if type(value) is kind else None
    if str in choices:
        return value if isinstance(value, str) else None
    return next((choice for choice in choices if choice == value), None)


def _type_name(kind: Any) -> str:
    if isinstance(kind, type):
        return kind.__name__
    return " or ".join(str(getattr(choice, "__name__", choice)) for choice in get_args(kind))


def _shown(value: object) -> str:
    """A value in a message, shortened where it is long or deep."""
    if isinstance(value, int) and abs(value) > LARGEST_NUMBER:
        return f"a number of {value.bit_length()} bits"
    return reprlib.repr(value)
