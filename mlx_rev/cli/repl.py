"""`mlx-rev repl` and `python -m mlx_rev.repl`: type an ending, watch the story grow."""

import json
import signal
import sys
from collections.abc import Iterator, Sequence
from contextlib import nullcontext
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Annotated

import platformdirs
import tyro
from rich.text import Text

from mlx_rev.cli.flags import parse
from mlx_rev.cli.options import MODEL, SAMPLING, ModelChoice, sample_settings
from mlx_rev.cli.telling import check_pace, watched
from mlx_rev.config import SampleConfig, validate
from mlx_rev.errors import ConfigError, RevError, in_a_line
from mlx_rev.generate.story import Story
from mlx_rev.generate.teller import Teller
from mlx_rev.repl.replies import Grows, Leaves, Reply, Says, Tells
from mlx_rev.repl.saving import as_object
from mlx_rev.repl.session import Session
from mlx_rev.repl.transcript import Kept, Transcript, sessions
from mlx_rev.repl.view import View
from mlx_rev.text.order import order_named
from mlx_rev.ui.console import is_interactive, make_console
from mlx_rev.ui.visible import one_line, write_story

HISTORY, SESSIONS = "repl-history", "sessions"
"""In the user's state folder."""


@dataclass(frozen=True, kw_only=True)
class ReplCommand:
    """Type an ending, and watch the story grow leftwards from it.

    Ctrl-C stops a story, Ctrl-D leaves, /help lists the commands. If standard input is not a
    terminal, each of its lines is an ending: the stories are printed with an empty line between
    them, and empty lines are skipped.
    """

    choice: Annotated[ModelChoice, MODEL] = field(default_factory=ModelChoice)
    plain: bool = False
    """Print each story when it is complete, without colours: for screen readers."""
    json: bool = False
    """For pipes: one JSON object per line, with ending, story, figures and settings."""
    pace: float = 12.0
    """Words a second at which stories grow in a terminal, at most; 0 is as fast as can be."""
    resume: Annotated[bool, tyro.conf.arg(name="continue")] = False
    """Go on with the last session: its stories, its model and its settings."""
    transcript: bool = True
    """Keep the session on this machine, readable by you alone, for --continue and /sessions."""
    sample: Annotated[SampleConfig, SAMPLING] = field(default_factory=SampleConfig)


def main(arguments: Sequence[str], program: str) -> int:
    """Hold the conversation until there is no more input. Raises RevError."""
    command = parse(ReplCommand, arguments, program)
    validate(command.sample)
    check_pace(command.pace)
    console = make_console(plain=command.plain)
    view = View(console)
    if not (sys.stdin and sys.stdin.isatty()):  # None where it is closed
        if command.resume:
            raise ConfigError("--continue is for a terminal, but standard input is not one")
        return _answer_lines(_session(command, arguments, program, view), as_json=command.json)
    if command.json:
        raise ConfigError("--json is for pipes, but standard input is a terminal; pipe endings in")
    folder = Path(platformdirs.user_state_dir("mlx-rev"))
    last = _last_session(folder / SESSIONS) if command.resume else None
    session = _session(command, arguments, program, view, last)
    if command.transcript:
        session.transcript = Transcript(folder / SESSIONS, last.path if last else None)
    live = is_interactive(console) and not command.plain
    _converse(session, view, folder / HISTORY, live=live, pace=command.pace)
    return 0


def _last_session(folder: Path) -> Kept:
    for kept in sessions(folder):
        if kept.stories():
            return kept
    raise ConfigError(f"--continue: no session is kept in {folder}; start one without it")


def _session(
    command: ReplCommand,
    arguments: Sequence[str],
    program: str,
    view: View,
    last: Kept | None = None,
) -> Session:
    """A new session, or the last one; what the command line says of model and settings holds."""
    choice, stories = command.choice, last.stories() if last else []
    if stories and choice.model is None:
        choice = _with_what_is_not_said(choice, stories[-1])
    loaded = choice.load()
    own = loaded.settings
    if stories and stories[-1].settings is not None:
        own = replace(stories[-1].settings, seed=stories[-1].seed + 1)
    settings = sample_settings(command, arguments, program, own)
    session = Session(
        Teller(loaded),
        choice.reference,
        settings,
        view.progress,
        reversal=choice.reversal or "",
        tokenizer=str(choice.tokenizer or ""),
    )
    session.told += stories
    if stories:
        session.stand(stories[-1])
    return session


def _with_what_is_not_said(choice: ModelChoice, story: Story) -> ModelChoice:
    """Who told a story; what is chosen of it already holds."""
    return ModelChoice(
        model=story.model,
        tokenizer=choice.tokenizer or (Path(story.tokenizer) if story.tokenizer else None),
        reversal=choice.reversal or (order_named(story.reversal).name if story.reversal else None),
    )


def _converse(
    session: Session, view: View, history: Path, *, live: bool, pace: float = 0.0
) -> None:
    from mlx_rev.repl.line import Asked, typed_lines
    from mlx_rev.train.terminal import without_echo

    view.console.print(
        Text(session.greeting() + "\n/help lists the commands, ? explains the figures."),
        style="label",
    )

    def ask() -> Asked:
        return Asked(session.prompt, session.draft, "" if session.told else session.example)

    for line in typed_lines(history, ask):
        try:
            replies = session.respond(line)
            shown = watched(session, replies, pace) if live else _stoppable(session, replies)
            # Where stories grow, what is typed meanwhile is for the next prompt, which shows it.
            with without_echo() if live else nullcontext():
                for reply in shown:
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


def _answer_lines(session: Session, *, as_json: bool) -> int:
    """A story for each line of standard input; exit code 2 if a line gave none."""
    code, separator = 0, ""
    for number, line in enumerate(sys.stdin.buffer if sys.stdin else (), 1):
        try:
            ending = _text(line)
            if not ending.strip():
                continue
            story = _story(session, ending, number)
        except (RevError, OSError) as error:
            _note(number, in_a_line(error))
            code = 2
            continue
        if as_json:
            write_story(sys.stdout, json.dumps(as_object(story), ensure_ascii=False) + "\n")
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
