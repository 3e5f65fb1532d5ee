"""`mlx-rev tell`: write stories that end as asked."""

import sys
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Annotated

import tyro

from mlx_rev.cli.options import ModelChoice, parse, sample_settings
from mlx_rev.config import SampleConfig, validate
from mlx_rev.errors import ConfigError
from mlx_rev.estimate import check_telling_fits
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
    sample: SampleConfig = field(default_factory=SampleConfig)


def main(arguments: Sequence[str], program: str) -> int:
    """Print each story in reading order, a blank line between two. Raises RevError."""
    command = parse(TellCommand, arguments, program)
    validate(command.sample)
    if not command.endings:
        raise ConfigError('no ending given; try: mlx-rev tell "They all lived happily ever after."')
    if command.count < 1:
        raise ConfigError(f"--count {command.count}: expected 1 or more")
    loaded = command.choice.load()
    settings = sample_settings(command, arguments, program, loaded.settings)
    check_telling_fits(loaded.model.config, command.count * len(command.endings))
    session = Session(Teller(loaded), command.choice.reference, settings)
    endings = [ending for ending in command.endings for _ in range(command.count)]
    for reply in session.stories(endings):
        if isinstance(reply, Says):
            sys.stderr.write(f"mlx-rev tell: {one_line(reply.text)}\n")
        elif isinstance(reply, Offers):
            write_story(sys.stdout, "\n\n".join(story.text for story in reply.stories) + "\n")
    return 0
