"""`mlx-rev tell`: write stories that end as asked."""

import sys
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated

import tyro

from mlx_rev.cli import telling
from mlx_rev.cli.flags import parse
from mlx_rev.cli.options import MODEL, SAMPLING, ModelChoice, sample_settings, say_not_reversed
from mlx_rev.config import SampleConfig, validate
from mlx_rev.errors import ConfigError
from mlx_rev.estimate import check_telling_fits
from mlx_rev.generate.judge import Judge, load_judge
from mlx_rev.generate.narrowing import Narrowing
from mlx_rev.generate.rerank import check_towards, ranked
from mlx_rev.generate.story import Story
from mlx_rev.generate.teller import Teller, load
from mlx_rev.program import runnable
from mlx_rev.repl.meeting import forwards, met
from mlx_rev.repl.replies import Grows, Met, Offers, Reply, Says
from mlx_rev.repl.session import Session
from mlx_rev.ui.console import is_interactive, make_console
from mlx_rev.ui.visible import one_line, write_story

_INTERRUPTED = 130


@dataclass(frozen=True, kw_only=True)
class TellCommand:
    """Write stories with the endings given or, with a forward model, the openings."""

    endings: Annotated[
        tuple[str, ...],
        tyro.conf.Positional,
        tyro.conf.arg(metavar="ENDING...", help_behavior_hint=""),
    ] = ()
    """How the stories end; put each in quotes. Without any, each line of standard input is one."""
    choice: Annotated[ModelChoice, MODEL] = field(default_factory=ModelChoice)
    count: int = 1
    """Stories for each ending, with consecutive seeds."""
    best_of: int = 1
    """Write so many for each story, all at once, and print the one that is judged best: by how it
    leads to its ending, whether it repeats itself, and whether it has a beginning."""
    begin: str | None = None
    """How the stories begin: they are written from both sides until they meet."""
    judge: str | None = None
    """A model that reads forwards: it chooses the best of several, or goes on from the beginning.
    A model of both directions needs none; any other chooses by its own figures."""
    judge_tokenizer: Path | None = None
    """The judge's tokenizer, if it comes without one."""
    pace: float = 8.0
    """How many words a second a story grows by in a terminal; 0 is as fast as can be."""
    plain: bool = False
    """Print stories when they are complete, without colours: for screen readers."""
    sample: Annotated[SampleConfig, SAMPLING] = field(default_factory=SampleConfig)


def main(arguments: Sequence[str], program: str) -> int:
    """Print each story in reading order, a blank line between two. Raises RevError."""
    command = parse(TellCommand, arguments, program)
    _check(command)
    given = command.endings or telling.piped_endings()
    if not given:
        example = runnable('mlx-rev tell "They all lived happily ever after."')
        raise ConfigError(f"no ending given; try: {example}")
    loaded = command.choice.load()
    teller = Teller(loaded)
    endings = [ending for ending in given for _ in range(command.count)]
    if command.best_of > 1:
        check_telling_fits(loaded.model.config, command.best_of, "--best-of")
    elif command.begin is None:
        check_telling_fits(loaded.model.config, len(endings), "--count, or fewer endings")
    settings = sample_settings(command, arguments, program, loaded.settings)
    console = make_console(plain=command.plain)
    live = is_interactive(console) and not command.plain
    session = Session(teller, command.choice.reference, settings)
    pace = command.pace if live else None
    stories: list[Story] = []
    if command.begin is not None:
        forward = _forward(command, teller)
        for ending in endings:
            stories += _told(session, met(session, forward, command.begin, ending), pace)
            if session.stopped:
                break
    elif command.best_of == 1:
        stories += _told(session, session.stories(endings), pace)
    else:
        judge = _judge(command, teller)
        for ending in endings:
            narrowing = Narrowing(teller.codec, judge)
            replies = session.stories([ending] * command.best_of)
            left = narrowing(_told(session, replies, pace, narrowing))
            stories.append(ranked(teller.model, teller.codec, left, judge)[0].story)
            if session.stopped:
                break
    if pace is not None:
        telling.show(stories, console)
    elif stories:
        write_story(sys.stdout, "\n\n".join(story.text for story in stories) + "\n")
    return _INTERRUPTED if session.stopped else 0


def _check(command: TellCommand) -> None:
    """Raise ConfigError for what cannot be, before anything is loaded."""
    validate(command.sample)
    for flag, count in (("--count", command.count), ("--best-of", command.best_of)):
        if count < 1:
            raise ConfigError(f"{flag} {count}: expected 1 or more")
    telling.check_pace(command.pace)
    if command.begin is not None and command.best_of > 1:
        raise ConfigError("--begin and --best-of: give one of them")
    if command.judge is not None and command.best_of == 1 and command.begin is None:
        raise ConfigError(
            f"--judge {command.judge}: chooses among stories; give --best-of 16, or --begin"
        )


def _judge(command: TellCommand, teller: Teller) -> Judge | None:
    if command.judge is None:
        return teller.judge()
    judge = load_judge(command.judge, command.judge_tokenizer)
    if not judge.says_reversal:
        say_not_reversed(command.judge)
    check_towards(judge, teller.codec)
    return judge


def _forward(command: TellCommand, teller: Teller) -> Teller:
    """Who goes on from the beginning. Raises ConfigError where nobody reads forwards."""
    if command.judge is not None:
        teller = load(command.judge, tokenizer=command.judge_tokenizer)
        if not teller.says_reversal:
            say_not_reversed(command.judge)
    forward = forwards(teller)
    if forward is None:
        raise ConfigError(
            f"--begin: {command.judge or command.choice.reference} does not read forwards; name a "
            "model that does with --judge"
        )
    return forward


def _told(
    session: Session,
    replies: Iterator[Reply],
    pace: float | None,
    grown: Callable[[Sequence[Story]], object] = len,
) -> Sequence[Story]:
    """The stories that the replies end with, with a pace after they grew before one's eyes; what
    there is to say goes to standard error. Where nobody watches, `grown` is called with the stories
    whenever they have grown."""
    stories: Sequence[Story] = ()
    for reply in replies if pace is None else telling.watched(session, replies, pace):
        match reply:
            case Says(text):
                _say(text)
            case Offers():
                stories = reply.stories
            case Grows():
                grown(reply.stories)
            case Met():
                stories = [reply.story]
                if not reply.good:
                    _say("the two sides of this story do not fit together well; try another --seed")
    return stories


def _say(text: str) -> None:
    sys.stderr.write(f"mlx-rev tell: {one_line(text)}\n")
