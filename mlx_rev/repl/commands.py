"""A typed line is an ending or a command: this tells which."""

import difflib
import shlex
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from mlx_rev.config import Dtype
from mlx_rev.errors import ConfigError
from mlx_rev.formats import registry
from mlx_rev.text.order import ORDER_NAMES


@dataclass(frozen=True)
class Spec:
    """What a command takes and does, in words."""

    arguments: str
    summary: str
    takes_path: bool = False
    """Whether its first argument is a path, for completion."""
    options: Mapping[str, Sequence[str] | None] = field(default_factory=dict)
    """Each with its values: None for any file, empty for a flag."""


_FORCE: Mapping[str, Sequence[str] | None] = {"--force": ()}
_MODEL: Mapping[str, Sequence[str] | None] = {"--reversal": ORDER_NAMES, "--tokenizer": None}

COMMANDS = {
    "again": Spec("", "another story with the same ending"),
    "candidates": Spec("N", "N stories with the same ending at once; pick one by its number"),
    "surprise": Spec("", "colour the words of the last story by how surprising they were"),
    "raw": Spec("", "the last story in the order in which the model wrote it"),
    "save": Spec(
        "FILE [--force]",
        "the last story as .md, .txt, .html or .svg",
        takes_path=True,
        options=_FORCE,
    ),
    "history": Spec("", "the stories told so far"),
    "score": Spec("TEXT", "how well the model predicts a text"),
    "tokens": Spec("TEXT", "the pieces of a text with their ids, in model order"),
    "compare": Spec(
        "MODEL",
        "tell the last ending with this model and with another",
        takes_path=True,
        options=_MODEL,
    ),
    "model": Spec(
        "MODEL [--reversal ORDER] [--tokenizer FILE]",
        "talk to another model: a run, folder, .bin, .gguf, hf:…",
        takes_path=True,
        options=_MODEL,
    ),
    "export": Spec(
        "TARGET [--to FORMAT] [--dtype DTYPE] [--force]",
        "convert this model: NAME.bin, NAME.gguf, a folder, a run",
        takes_path=True,
        options={"--to": registry.names(), "--dtype": [*Dtype], **_FORCE},
    ),
    "settings": Spec("", "how the next token is chosen"),
    "set": Spec("NAME VALUE", "change a setting"),
    "help": Spec("", "this list"),
    "quit": Spec("", "leave; so does Ctrl-D"),
}


_WIDEST = 30
"""Columns of the commands in the help; longer ones stick out."""


@dataclass(frozen=True)
class Command:
    """A command with the text after its name."""

    name: str
    rest: str


def read(line: str) -> Command | None:
    """The command that a line is, or None for an ending: only a `/` at its very start makes one.

    Raises ConfigError for an unknown command, with the nearest known one.
    """
    if not line.startswith("/"):
        return None
    name, _, rest = line[1:].strip().partition(" ")
    if name not in COMMANDS:
        raise ConfigError(f"unknown command /{name}; {nearest(name, COMMANDS, '/')}")
    command = Command(name, rest.strip())
    takes = COMMANDS[name].arguments
    if takes and not command.rest:
        raise ConfigError(f"/{name} needs {takes}: {COMMANDS[name].summary}")
    if command.rest and not takes:
        raise ConfigError(f"/{name} takes no argument, found {command.rest!r}")
    return command


def arguments(command: Command) -> tuple[str, dict[str, str]]:
    """The one argument of a command, quoted as in a shell, and its options; a flag has "".

    Raises ConfigError for what the command does not take.
    """
    spec, argument, options = COMMANDS[command.name], None, {}
    rest = iter(_words(command))
    for word in rest:
        if word in spec.options:
            possible = spec.options[word]
            options[word] = "" if possible == () else next(rest, "")
            if possible != () and (
                not options[word] or (possible is not None and options[word] not in possible)
            ):
                expected = "a file" if possible is None else ", ".join(possible)
                raise ConfigError(f"/{command.name} {word}: expected {expected}")
        elif argument is None and not word.startswith("--"):
            argument = word
        else:
            raise ConfigError(f"/{command.name}: unexpected {word}; it takes {spec.arguments}")
    if argument is None:
        raise ConfigError(f"/{command.name}: needs {spec.arguments}")
    return argument, options


def _words(command: Command) -> list[str]:
    if "\0" in command.rest:
        raise ConfigError(f"/{command.name}: no file has a NUL character in its name")
    try:
        return shlex.split(command.rest)
    except ValueError as error:
        raise ConfigError(
            f"/{command.name}: a quotation mark is not closed in {command.rest!r}"
        ) from error


def nearest(given: str, known: dict[str, Spec] | list[str], mark: str = "") -> str:
    """What was probably meant by `given`: the nearest name, or the list of names."""
    close = difflib.get_close_matches(given, known, n=1, cutoff=0.5)
    if close:
        return f"did you mean {mark}{close[0]}?"
    return "expected one of " + ", ".join(mark + name for name in known)


def help_text() -> str:
    """One line for each command."""
    left = {name: f"/{name} {spec.arguments}".rstrip() for name, spec in COMMANDS.items()}
    width = max(len(text) for text in left.values() if len(text) < _WIDEST)
    lines = [f"{left[name]:<{width}}  {spec.summary}" for name, spec in COMMANDS.items()]
    return "\n".join(
        [
            *lines,
            "",
            "Any other line is an ending; put a space in front of one that starts with /.",
            "Alt-Enter starts a new line, Ctrl-R searches the history, Ctrl-C stops a story.",
        ]
    )
