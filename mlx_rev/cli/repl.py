"""`mlx-rev repl` and `python -m mlx_rev.repl`: type an ending, watch the story grow."""

import sys
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field

from rich.console import Console
from rich.live import Live

from mlx_rev.cli.options import ModelChoice, parse
from mlx_rev.config import SampleConfig, validate
from mlx_rev.errors import RevError
from mlx_rev.generate.teller import Teller
from mlx_rev.repl.session import Session
from mlx_rev.ui.console import is_interactive, make_console, story_text


@dataclass(frozen=True, kw_only=True)
class ReplCommand:
    """Type an ending, watch the story grow leftwards from it.

    Ctrl-C stops a story, Ctrl-D leaves. Where standard input is no terminal, each line is an
    ending, and a story is printed for each.
    """

    choice: ModelChoice = field(default_factory=ModelChoice)
    plain: bool = False
    """Print each story when it is done, without colours."""
    sample: SampleConfig = field(default_factory=SampleConfig)


def main(arguments: Sequence[str], program: str) -> int:
    """Read endings until there are no more. Raises RevError."""
    command = parse(ReplCommand, arguments, program)
    validate(command.sample)
    session = Session(Teller(command.choice.load()), command.sample)
    console = make_console(plain=command.plain)
    live = is_interactive(console) and not command.plain
    for ending in _typed(session.prompt) if sys.stdin.isatty() else _piped(sys.stdin):
        try:
            if live:
                _show_growing(console, session, ending)
            else:
                sys.stdout.write(_whole(session, ending) + "\n")
                sys.stdout.flush()
        except RevError as error:
            sys.stderr.write(f"{error}\n")
    return 0


def _typed(prompt: str) -> Iterator[str]:
    """Lines typed at a terminal; Ctrl-C clears the line."""
    import readline  # noqa: F401  line editing for input()

    while True:
        try:
            line = input(prompt)
        except KeyboardInterrupt:
            sys.stdout.write("\n")
            continue
        except EOFError:
            sys.stdout.write("\n")
            return
        if line.strip():
            yield line


def _piped(lines: Iterable[str]) -> Iterator[str]:
    for line in lines:
        yield line.removesuffix("\n")


def _whole(session: Session, ending: str) -> str:
    story = ending
    for event in session.story(ending):
        story = event.story
    return story


def _show_growing(console: Console, session: Session, ending: str) -> None:
    """Show the story while it grows; Ctrl-C keeps what there is."""
    with Live(story_text(ending, ending), console=console, refresh_per_second=15) as live:
        try:
            for event in session.story(ending):
                live.update(story_text(event.story, ending))
        except KeyboardInterrupt:
            live.console.print("stopped", style="dim")
