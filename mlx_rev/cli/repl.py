"""`mlx-rev repl` and `python -m mlx_rev.repl`: type an ending, watch the story grow."""

import json
import signal
import sys
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import platformdirs

from mlx_rev.cli.options import ModelChoice, parse
from mlx_rev.config import SampleConfig, validate
from mlx_rev.errors import ConfigError, RevError, in_a_line
from mlx_rev.generate.story import Story
from mlx_rev.generate.teller import Teller
from mlx_rev.repl.replies import Grows, Leaves, Reply, Says, Tells
from mlx_rev.repl.session import Session
from mlx_rev.repl.view import View
from mlx_rev.ui.console import is_interactive, make_console
from mlx_rev.ui.visible import one_line, write_story

HISTORY = "repl-history"


@dataclass(frozen=True, kw_only=True)
class ReplCommand:
    """Type an ending, watch the story grow leftwards from it.

    Ctrl-C stops a story, Ctrl-D leaves, /help lists the commands. If standard input is not a
    terminal, each of its lines is an ending, whose story is printed, with an empty line between
    stories.
    """

    choice: ModelChoice = field(default_factory=ModelChoice)
    plain: bool = False
    """Print each story when it is complete, without colours: for screen readers."""
    json: bool = False
    """For pipes: one JSON object per line, with ending, story and figures."""
    sample: SampleConfig = field(default_factory=SampleConfig)


def main(arguments: Sequence[str], program: str) -> int:
    """Hold the conversation until there is no more input. Raises RevError."""
    command = parse(ReplCommand, arguments, program)
    validate(command.sample)
    console = make_console(plain=command.plain)
    view = View(console)
    session = Session(
        Teller(command.choice.load()), command.choice.reference, command.sample, view.progress
    )
    if not (sys.stdin and sys.stdin.isatty()):  # None where it is closed
        return _answer_lines(session, as_json=command.json)
    if command.json:
        raise ConfigError("--json is for pipes, but standard input is a terminal; pipe endings in")
    _converse(session, view, live=is_interactive(console) and not command.plain)
    return 0


def _converse(session: Session, view: View, *, live: bool) -> None:
    from mlx_rev.repl.line import typed_lines

    view.console.print(session.greeting() + " /help lists the commands.", style="label")
    history = Path(platformdirs.user_state_dir("mlx-rev")) / HISTORY

    def prompt() -> str:
        session.teller.warm_up()
        return session.prompt

    for line in typed_lines(history, prompt):
        try:
            replies = session.respond(line)
            for reply in _watched(session, replies) if live else _stoppable(session, replies):
                if isinstance(reply, Leaves):
                    return
                view.show(reply)
        except BrokenPipeError:
            raise
        except (RevError, OSError) as error:
            view.error(in_a_line(error))
        except KeyboardInterrupt:
            view.error("stopped")


def _stoppable(session: Session, replies: Iterator[Reply]) -> Iterator[Reply]:
    """The replies other than Grows: during those Ctrl-C ends the story, otherwise the command."""
    before = signal.getsignal(signal.SIGINT)
    try:
        for reply in replies:
            grows = isinstance(reply, Grows)
            signal.signal(signal.SIGINT, (lambda *_: session.stop()) if grows else before)
            if not grows:
                yield reply
    finally:
        signal.signal(signal.SIGINT, before)


def _watched(session: Session, replies: Iterator[Reply]) -> Iterator[Reply]:
    """The replies other than Grows, whose stories are shown until another reply comes."""
    for reply in replies:
        last: Reply | None = reply
        if isinstance(reply, Grows):
            from mlx_rev.repl.growing import grow

            last = grow(reply, replies, session.stop, session.teller.model.config.context)
        if last is not None:
            yield last


def _answer_lines(session: Session, *, as_json: bool) -> int:
    """A story for each line of standard input; exit code 2 if a line gave none."""
    code, separator = 0, ""
    for number, line in enumerate(sys.stdin.buffer if sys.stdin else (), 1):
        try:
            story = _story(session, _text(line), number)
        except (RevError, OSError) as error:
            _note(number, in_a_line(error))
            code = 2
            continue
        if as_json:
            write_story(sys.stdout, json.dumps(_as_object(story), ensure_ascii=False) + "\n")
        else:
            write_story(sys.stdout, separator + story.text + "\n")
            separator = "\n"
        sys.stdout.flush()
    return code


def _note(number: int, message: str) -> None:
    sys.stderr.write(f"mlx-rev repl: line {number}: {one_line(message)}\n")


def _text(line: bytes) -> str:
    try:
        return line.decode("utf-8-sig").removesuffix("\n").removesuffix("\r")
    except UnicodeDecodeError as error:
        raise ConfigError(f"byte {error.start} is not UTF-8") from error


def _story(session: Session, ending: str, number: int) -> Story:
    """The story that a line asks for; remarks on the line go to standard error."""
    stories = []
    for reply in session.tell(ending):
        if isinstance(reply, Says):
            _note(number, reply.text)
        elif isinstance(reply, Tells):
            stories.append(reply.story)
    return stories[0]


def _as_object(story: Story) -> dict[str, object]:
    return {
        "ending": story.prompt,
        "story": story.text,
        "tokens": len(story.tokens),
        "seconds": round(story.seconds, 4),
        "seed": story.seed,
        "model": story.model,
        "finished": story.finished,
    }
