"""A command of the REPL as one object: its names, its help, an example, and what it does."""

import shlex
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING

from mlx_rev.errors import ConfigError
from mlx_rev.repl.replies import Reply

if TYPE_CHECKING:
    from mlx_rev.repl.session import Session


@dataclass(frozen=True)
class Option:
    """Something with two dashes that a command takes."""

    name: str
    value: str = ""
    """What stands for its value in the help; nothing for a flag."""
    possible: Sequence[str] | None = None
    """Its values; None for any, such as a file."""

    def __str__(self) -> str:
        return f"[{self.name} {self.value}]" if self.value else f"[{self.name}]"


FORCE = Option("--force")


@dataclass(frozen=True, kw_only=True)
class Command:
    """A command: help, completion and docs/repl.md are made from it."""

    name: str
    summary: str
    """A line in the list of commands."""
    explanation: str
    """What it does, in whole sentences."""
    example: str
    run: "Callable[[Session, Given], Iterator[Reply]]"
    argument: str = ""
    """What stands for its argument in the help, in brackets where it may be left out."""
    aliases: tuple[str, ...] = ()
    options: tuple[Option, ...] = ()
    takes_path: bool = False
    """Whether its argument is a path, for completion."""
    takes_text: bool = False
    """Whether its argument is a text, up to the end of the line: options stand before it."""

    @property
    def usage(self) -> str:
        """How it is typed."""
        parts = [self.argument, *map(str, self.options)]
        if self.takes_text:
            parts = parts[1:] + parts[:1]
        return " ".join([f"/{self.name}", *filter(None, parts)])

    @property
    def short_usage(self) -> str:
        """The same without its options."""
        return f"/{self.name} {self.argument}".rstrip()

    @property
    def needs_argument(self) -> bool:
        """Whether it makes no sense without an argument."""
        return bool(self.argument) and not self.argument.startswith("[")


@dataclass(frozen=True)
class Given:
    """A command with the text after its name, as a person typed it."""

    command: Command
    rest: str = ""

    @property
    def name(self) -> str:
        """The command's."""
        return self.command.name

    @cached_property
    def _words(self) -> tuple[str | None, dict[str, str]]:
        options: dict[str, str] = {}
        known = {option.name: option for option in self.command.options}
        argument, rest = None, iter(self._split())
        for word in rest:
            if word in known:
                options[word] = self._value(known[word], rest)
            elif argument is None and not word.startswith("--"):
                argument = word
            else:
                expected = self.command.usage.partition(" ")[2] or "nothing"
                raise ConfigError(f"/{self.name}: unexpected {word}; it takes {expected}")
        return argument, options

    @property
    def argument(self) -> str:
        """Its one argument, quoted as in a shell. Raises ConfigError where there is none, and for
        what the command does not take."""
        argument = self._words[0]
        if argument is None:
            raise ConfigError(f"/{self.name}: needs {self.command.usage.partition(' ')[2]}")
        return argument

    @property
    def options(self) -> dict[str, str]:
        """The options given, with their values; a flag has ""."""
        return self._words[1]

    def check_no_argument(self) -> None:
        """Raise ConfigError for anything but options."""
        if self._words[0] is not None:
            raise ConfigError(f"/{self.name} takes no argument, found {self._words[0]!r}")

    def number(self, default: int, least: int, most: int) -> int:
        """The whole number that the rest is, or `default` where there is none. Raises ConfigError
        outside of `least` to `most`."""
        if not self.rest:
            return default
        if not (self.rest.isascii() and self.rest.isdecimal()):
            raise ConfigError(
                f"/{self.name} {self.rest}: expected a number, as in {self.command.example}"
            )
        # A number of thousands of digits would take long to read.
        number = int(self.rest) if len(self.rest) < 20 else most + 1
        if not least <= number <= most:
            raise ConfigError(f"/{self.name} {self.rest}: expected {least} to {most}")
        return number

    def _split(self) -> list[str]:
        if "\0" in self.rest:
            raise ConfigError(f"/{self.name}: no file has a NUL character in its name")
        try:
            return shlex.split(self.rest)
        except ValueError as error:
            raise ConfigError(
                f"/{self.name}: a quotation mark is not closed in {self.rest!r}"
            ) from error

    def _value(self, option: Option, rest: Iterator[str]) -> str:
        if not option.value:
            return ""
        value = next(rest, "")
        if option.possible is not None and value not in option.possible:
            expected = ", ".join(option.possible)
            raise ConfigError(f"/{self.name} {option.name}: expected {expected}")
        if not value:
            raise ConfigError(f"/{self.name} {option.name}: needs {option.value}")
        return value


def path_of(text: str) -> Path:
    """The path that was typed, `~` being a person's folder. Raises ConfigError for no such
    person."""
    try:
        return Path(text).expanduser()
    except RuntimeError as error:
        raise ConfigError(f"{text}: no such user") from error
