"""`mlx-rev completion`: a script that completes commands, options, models and files in a shell."""

import importlib
import re
import sys
from argparse import Action, ArgumentParser
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any, Literal

import tyro

from mlx_rev.cli.flags import Option, options_of, parse
from mlx_rev.cli.help import COMMANDS
from mlx_rev.data.sources.names import BUNDLED, STANDARD_INPUT, TINYSTORIES, TINYSTORIES_V2
from mlx_rev.formats.detect import BUILT_IN
from mlx_rev.presets import presets


@dataclass(frozen=True, kw_only=True)
class CompletionCommand:
    """Print a script that completes commands, options, models and files. Put it where your shell
    looks for such scripts, as below, and make it anew after an upgrade."""

    shell: Annotated[
        Literal["bash", "zsh", "fish"], tyro.conf.Positional, tyro.conf.arg(metavar="SHELL")
    ]
    """bash, zsh or fish."""


_FILES: tuple[str, ...] = ()
_CORPORA = (BUNDLED, TINYSTORIES, TINYSTORIES_V2, STANDARD_INPUT)
_NAMED = {
    "--preset": (*presets(),),
    "--model": (BUILT_IN.name,),
    "--judge": (BUILT_IN.name,),
    "--chooser": (BUILT_IN.name,),
    "--init-from": (BUILT_IN.name,),
    "SOURCE": (BUILT_IN.name,),
    "[MODEL]": (BUILT_IN.name,),
    "--data": _CORPORA,
    "TEXT|FILE": (BUNDLED,),
    "[RUN]": _FILES,
    "--tokenizer": _FILES,
    "--valid": _FILES,
    "--keep-vocabulary": _FILES,
    "--train-text": _FILES,
}
"""What options that take any text may be, besides a file."""
_NO_FILES = ("--preset",)


def main(arguments: Sequence[str], program: str) -> int:
    """Print the script for the shell asked for. Raises ConfigError."""
    import shtab

    command = parse(CompletionCommand, arguments, program)
    parser = ArgumentParser("mlx-rev", description="Llamas that write stories backwards.")
    commands = parser.add_subparsers()
    for name, about in COMMANDS.items():
        below = commands.add_parser(name, help=about.summary, description=about.summary)
        for option in options_of(command_of(name)):
            _add(below, option)
    of_help = commands.add_parser("help", help="explain a command", description="explain a command")
    of_help.add_argument("command", choices=[*COMMANDS], help="which")
    sys.stdout.write(shtab.complete(parser, command.shell) + "\n")
    return 0


def command_of(name: str) -> type:
    """The dataclass of a command's options."""
    module = importlib.import_module(f"mlx_rev.cli.{name}")
    kind: type = getattr(module, f"{name.title()}Command")
    return kind


def _add(parser: ArgumentParser, option: Option) -> None:
    name, about = option.names[0], option.about.partition(". ")[0].replace("%", "%%")
    words = _NAMED.get(name)
    files = option.kind is Path or (words is not None and name not in _NO_FILES)
    if option.kind is bool:
        parser.add_argument(*option.names, action="store_true", help=about)
    elif name.startswith("-") or option.choices or files:
        # Of an argument that can be any text, zsh would make no completion that it inserts.
        action = parser.add_argument(*option.names, help=about)
        action.choices = option.choices or (words if name in _NO_FILES else None)
        if files:
            _complete_files(action, words or ())


def _complete_files(action: Action, words: Sequence[str]) -> None:
    """Have an argument completed to a path or one of these words."""
    listed = " ".join(words)
    # Where "_file" is in a function's name, shtab has bash escape the spaces in what it inserts.
    function = "_".join(["_mlx_rev_file", *(re.sub(r"\W", "_", word) for word in words)])
    # What is typed has backslashes before its spaces, and shtab's own function splits it at them.
    in_bash = (
        f'local typed="${{1//\\\\/}}"; compgen -W "{listed}" -- "$typed"; compgen -f -- "$typed"'
    )
    in_zsh = f"_alternative 'names:name:({listed})' 'files:file:_files'" if words else "_files"
    in_fish = "__fish_complete_path (commandline -ct)"
    completed: Any = action
    completed.complete = {
        "bash": function,
        "zsh": function,
        "fish": f"(printf '%s\\n' {listed}; {in_fish})" if words else f"({in_fish})",
        "preamble": {
            "bash": f"{function}() {{ {in_bash}; }}",
            "zsh": f"{function}() {{ {in_zsh} }}",
        },
    }
