"""Flags from dataclasses, through tyro; what is wrong with them is a ConfigError of one line."""

import dataclasses
import inspect
import re
import shutil
import sys
import textwrap
from collections.abc import Callable, Iterator, Sequence
from types import NoneType, UnionType
from typing import Any, TypeVar, Union, get_args, get_type_hints

import tyro
from tyro import _errors as refusals
from tyro.constructors import ConstructorRegistry, PrimitiveConstructorSpec, PrimitiveTypeInfo

from mlx_rev.cli.help import examples
from mlx_rev.errors import ConfigError, nearest

Command = TypeVar("Command")

CONFIG = (
    tyro.conf.OmitArgPrefixes,
    tyro.conf.OmitSubcommandPrefixes,
    tyro.conf.EnumChoicesFromValues,
)
_LONGEST_SHOWN = 60
_INDENT = "  "


def parse(
    command: type[Command],
    arguments: Sequence[str],
    program: str,
    default: Command | None = None,
) -> Command:
    """The dataclass `command` from flags; field docstrings are the help, which ends with the
    command's examples. Raises ConfigError for flags that make no sense."""
    with readers(), refusals.on_parse_error(_Refusal(command, program)):
        try:
            return tyro.cli(
                command,
                args=list(arguments),
                prog=program,
                description=_description(command),
                default=tyro.MISSING_NONPROP if default is None else default,
                config=CONFIG,
            )
        except SystemExit as stop:
            if not stop.code:
                name = command.__name__.removesuffix("Command").lower()
                sys.stdout.write("\n" + examples(name, program))
            raise


def readers() -> ConstructorRegistry:
    """How values are read where tyro's own way does not suit."""
    registry = ConstructorRegistry()
    registry.primitive_rule(_number)
    registry.primitive_rule(_optional)
    return registry


def flags_of(command: type) -> Iterator[str]:
    """The flags of a dataclass and of those inside it."""
    hints = get_type_hints(command)
    for field in dataclasses.fields(command):
        kind, name = hints[field.name], field.name.replace("_", "-")
        if dataclasses.is_dataclass(kind) and isinstance(kind, type):
            yield from flags_of(kind)
        else:
            yield from (f"--{name}", f"--no-{name}") if kind is bool else (f"--{name}",)


@dataclasses.dataclass(frozen=True)
class _Refusal:
    """Called by tyro with what it refuses, before it would print a box and exit."""

    command: type
    program: str

    def __call__(self, event: refusals.ParseErrorEvent) -> None:
        match event:
            case refusals.UnrecognizedArgs(tokens=tokens):
                raise ConfigError(self._unknown(tokens))
            case refusals.MissingArgs(missing_arguments=missing):
                names = " and ".join(_name(each.arg) for each in missing)
                raise ConfigError(f"{names} missing; {self._help}")
            case refusals.InvalidChoice(argument=argument, value=value, choices=choices):
                expected = f"expected one of {' | '.join(choices)}, found {_shown(value)}"
                raise ConfigError(f"{_name(argument)}: {expected}")
            case refusals.BadValue(argument=argument):
                raise ConfigError(f"{_name(argument)}: no value given; {self._help}")
            case refusals.InstantiationFailure(argument=argument, message=message):
                raise ConfigError(f"{_name(argument)}: {message}" if argument else message)

    @property
    def _help(self) -> str:
        return f"see {self.program} --help"

    def _unknown(self, tokens: Sequence[str]) -> str:
        """What to say of arguments that nobody knows; the value of an unknown flag is one too."""
        given = [token.partition("=")[0] for token in tokens if token.startswith("-")]
        if not given:
            return f"unexpected {_shown(tokens[0])}; put several words in quotes, or {self._help}"
        known = list(flags_of(self.command))
        meant = {flag: nearest(flag.replace("_", "-"), known) for flag in given}
        said = [f"{flag} ({found})" if found else flag for flag, found in meant.items()]
        return f"unknown option{'s' * (len(said) > 1)} {', '.join(said)}; {self._help}"


def _name(argument: Any) -> str:
    """An argument as help shows it."""
    return str(argument.lowered.metavar if argument.is_positional() else argument.display_name())


def _description(command: type) -> str:
    """What a command does, wrapped at words: tyro joins lines that are not indented."""
    width = min(shutil.get_terminal_size().columns, 80)
    paragraphs = re.split(r"\n\s*\n", inspect.getdoc(command) or "")
    return "\n".join(
        textwrap.fill(each, width, initial_indent=_INDENT, subsequent_indent=_INDENT)
        for each in paragraphs
    )


def _optional(info: PrimitiveTypeInfo) -> PrimitiveConstructorSpec[Any] | None:
    """How tyro reads `T | None`: as a T. Its own way shows {None}|T, and takes the word None."""
    kinds = [kind for kind in get_args(info.type) if kind is not NoneType]
    if info.type_origin not in (Union, UnionType) or len(kinds) != 1:
        return None
    kind = ConstructorRegistry.get_primitive_spec(PrimitiveTypeInfo.make(kinds[0], info.markers))
    if not isinstance(kind, PrimitiveConstructorSpec):
        return None
    return dataclasses.replace(
        kind,
        is_instance=lambda value: value is None or kind.is_instance(value),
        str_from_instance=lambda value: (
            ["unset"] if value is None else kind.str_from_instance(value)
        ),
    )


def _number(info: PrimitiveTypeInfo) -> PrimitiveConstructorSpec[Any] | None:
    """How tyro reads numbers: as its own way does, but what is no number is said in words."""
    if info.type is int:
        return _number_spec(int, "INT", "a whole number")
    return _number_spec(float, "FLOAT", "a number") if info.type is float else None


def _number_spec(
    kind: Callable[[str], float], metavar: str, expected: str
) -> PrimitiveConstructorSpec[Any]:
    def read(given: list[str]) -> float:
        try:
            return kind(given[0])
        except ValueError as error:
            raise ValueError(f"expected {expected}, found {_shown(given[0])}") from error

    return PrimitiveConstructorSpec(
        nargs=1,
        metavar=metavar,
        instance_from_str=read,
        is_instance=lambda value: isinstance(value, int | float),
        str_from_instance=lambda value: [str(value)],
    )


def _shown(value: str) -> str:
    return repr(value if len(value) <= _LONGEST_SHOWN else value[:_LONGEST_SHOWN] + "…")
