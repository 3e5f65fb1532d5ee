"""Flags from dataclasses, through tyro; what is wrong with them is a ConfigError of one line."""

import ast
import dataclasses
import functools
import inspect
import itertools
import re
import shutil
import sys
import textwrap
from collections.abc import Callable, Iterator, Sequence
from enum import EnumType
from types import NoneType, UnionType
from typing import Annotated, Any, Literal, TypeVar, Union, get_args, get_origin, get_type_hints

import tyro
from tyro import _errors as refusals
from tyro.constructors import (
    ConstructorRegistry,
    PrimitiveConstructorSpec,
    PrimitiveTypeInfo,
    StructConstructorSpec,
    StructTypeInfo,
)
from tyro.constructors._struct_spec_dataclass import dataclass_rule

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
    registry.primitive_rule(_choice)
    registry.struct_rule(_described)
    return registry


@dataclasses.dataclass(frozen=True, kw_only=True)
class Option:
    """Something that a command takes."""

    names: tuple[str, ...]
    """Its flags, or what stands for it in help."""
    kind: Any
    """Its type, without None."""
    choices: tuple[str, ...]
    """What it may be; nothing for all that its type can be."""
    about: str
    """Its docstring, in a line."""


def options_of(command: type) -> Iterator[Option]:
    """The options of a dataclass and of those inside it."""
    about, hints = _docstrings(command), get_type_hints(command, include_extras=True)
    for field in dataclasses.fields(command):
        kind, marks = _unwrapped(hints[field.name])
        if dataclasses.is_dataclass(kind) and isinstance(kind, type):
            yield from options_of(kind)
            continue
        name = _said(marks, "name", field.name).replace("_", "-")
        names: tuple[str, ...] = (f"--{name}",)
        if tyro.conf.Positional in marks:
            names = (_said(marks, "metavar", name.upper()),)
        elif kind is bool and tyro.conf.FlagCreatePairsOff not in marks:
            names = (f"--{name}", f"--no-{name}")
        choices: tuple[str, ...] = get_args(kind) if get_origin(kind) is Literal else ()
        if isinstance(kind, EnumType):
            choices = tuple(map(str, kind))
        said = _said(marks, "help", about.get(field.name, ""))
        yield Option(names=names, kind=kind, choices=choices, about=said)


def _unwrapped(hint: Any) -> tuple[Any, tuple[Any, ...]]:
    """A type without None, and what it is annotated with."""
    marks: tuple[Any, ...] = ()
    while get_origin(hint) in (Annotated, Union, UnionType):
        marks += getattr(hint, "__metadata__", ())
        hint = next(kind for kind in get_args(hint) if kind is not NoneType)
    return hint, marks


def _said(marks: Sequence[Any], what: str, otherwise: str) -> str:
    """What tyro.conf.arg says of an option, if it does."""
    return next((said for mark in marks if (said := getattr(mark, what, None))), otherwise)


@functools.cache
def _docstrings(command: type) -> dict[str, str]:
    """The docstrings of a dataclass's fields, each in a line."""
    [of_class] = ast.parse(textwrap.dedent(inspect.getsource(command))).body
    found = {}
    for field, below in itertools.pairwise(getattr(of_class, "body", ())):
        match field, below:
            case ast.AnnAssign(target=ast.Name(id=name)), ast.Expr(value=ast.Constant(value=text)):
                found[name] = " ".join(str(text).split())
    return found


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
        known = [name for option in options_of(self.command) for name in option.names]
        meant = {flag: nearest(flag.replace("_", "-"), known, "") for flag in given}
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


def _described(info: StructTypeInfo) -> StructConstructorSpec | None:
    """How tyro reads a dataclass, each docstring in a line: it would keep the line breaks."""
    spec, kind = dataclass_rule(info), info.type
    if spec is None or not isinstance(kind, type):
        return spec
    fields = [
        dataclasses.replace(each, helptext=functools.partial(_docstring, kind, each.name))
        for each in spec.fields
    ]
    return dataclasses.replace(spec, fields=tuple(fields))


def _docstring(kind: type, field: str) -> str | None:
    return _docstrings(kind).get(field)


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


def _choice(info: PrimitiveTypeInfo) -> PrimitiveConstructorSpec[Any] | None:
    """How tyro reads one of several words: as its own way does, but it is seen in help where one
    with a comma ends."""
    words: tuple[str, ...] = get_args(info.type)
    if get_origin(info.type) is not Literal or not any("," in str(word) for word in words):
        return None
    return PrimitiveConstructorSpec(
        nargs=1,
        metavar="|".join(words),
        instance_from_str=lambda given: given[0],
        is_instance=lambda value: value in words,
        str_from_instance=lambda value: [value],
        choices=words,
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
