"""`mlx-rev tell`: write stories that end as asked."""

import sys
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated

import tyro

from mlx_rev.cli.options import ModelChoice, parse, say_not_reversed
from mlx_rev.config import SampleConfig, validate
from mlx_rev.errors import ConfigError
from mlx_rev.estimate import check_telling_fits
from mlx_rev.generate.judge import Judge, load_judge
from mlx_rev.generate.rerank import ranked
from mlx_rev.generate.story import Story
from mlx_rev.generate.teller import Teller
from mlx_rev.repl.replies import Offers, Says
from mlx_rev.repl.session import Session
from mlx_rev.ui.visible import one_line, write_story


@dataclass(frozen=True, kw_only=True)
class TellCommand:
    """Write stories with the endings given or, with a forward model, the openings."""

    endings: Annotated[
        tuple[str, ...],
        tyro.conf.Positional,
        tyro.conf.arg(metavar="ENDING...", help_behavior_hint="(required)"),
    ] = ()
    """How the stories end; put each in quotes."""
    choice: ModelChoice = field(default_factory=ModelChoice)
    count: int = 1
    """Stories for each ending, with consecutive seeds."""
    best_of: int = 1
    """Write so many for each story, all at once, and print the best: one that leads to its ending,
    goes round in no circles and has a beginning."""
    judge: str | None = None
    """A model that reads forwards, to choose with; without one, the model's own figures choose."""
    judge_tokenizer: Path | None = None
    """The judge's tokenizer, if it comes without one."""
    sample: SampleConfig = field(default_factory=SampleConfig)


def main(arguments: Sequence[str], program: str) -> int:
    """Print each story in reading order, a blank line between two. Raises RevError."""
    command = parse(TellCommand, arguments, program)
    _check(command)
    loaded = command.choice.load()
    teller = Teller(loaded)
    endings = [ending for ending in command.endings for _ in range(command.count)]
    check_telling_fits(loaded.model.config, max(len(endings), command.best_of))
    session = Session(teller, command.choice.reference, command.sample)
    if command.best_of == 1:
        texts = [story.text for story in _told(session, endings)]
    else:
        judge = _judge(command, teller)
        texts = [
            ranked(teller.model, teller.codec, _told(session, [ending] * command.best_of), judge)[
                0
            ].story.text
            for ending in endings
        ]
    write_story(sys.stdout, "\n\n".join(texts) + "\n")
    return 0


def _check(command: TellCommand) -> None:
    """Raise ConfigError for what cannot be, before anything is loaded."""
    validate(command.sample)
    if not command.endings:
        raise ConfigError('no ending given; try: mlx-rev tell "They all lived happily ever after."')
    for flag, count in (("--count", command.count), ("--best-of", command.best_of)):
        if count < 1:
            raise ConfigError(f"{flag} {count}: expected 1 or more")
    if command.judge is not None and command.best_of == 1:
        raise ConfigError(f"--judge {command.judge}: chooses among stories; give --best-of 16 too")


def _judge(command: TellCommand, teller: Teller) -> Judge | None:
    if command.judge is None:
        return teller.judge()
    judge = load_judge(command.judge, command.judge_tokenizer)
    if not judge.says_reversal:
        say_not_reversed(command.judge)
    return judge


def _told(session: Session, endings: Sequence[str]) -> Sequence[Story]:
    """A story for each ending, written together; what there is to say goes to standard error."""
    stories: Sequence[Story] = ()
    for reply in session.stories(endings):
        if isinstance(reply, Says):
            sys.stderr.write(f"mlx-rev tell: {one_line(reply.text)}\n")
        elif isinstance(reply, Offers):
            stories = reply.stories
    return stories
