"""`mlx-rev tell`: write stories that end as asked."""

import sys
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Annotated

import tyro

from mlx_rev.cli.options import ModelChoice, parse
from mlx_rev.config import SampleConfig, validate
from mlx_rev.errors import ConfigError
from mlx_rev.generate.teller import Teller


@dataclass(frozen=True, kw_only=True)
class TellCommand:
    """Write stories that end with the words given (or, with a forward model, begin with them)."""

    endings: Annotated[tuple[str, ...], tyro.conf.Positional]
    """How the stories end; quote each."""
    choice: ModelChoice = field(default_factory=ModelChoice)
    count: int = 1
    """Stories for each ending, with one seed after another."""
    sample: SampleConfig = field(default_factory=SampleConfig)


def main(arguments: Sequence[str], program: str) -> int:
    """Print each story in reading order, a blank line between two. Raises RevError."""
    command = parse(TellCommand, arguments, program)
    validate(command.sample)
    if not command.endings:
        raise ConfigError('no ending given; try: mlx-rev tell "They all lived happily ever after."')
    if command.count < 1:
        raise ConfigError(f"--count {command.count}: expected 1 or more")
    teller = Teller(command.choice.load())
    endings = [ending for ending in command.endings for _ in range(command.count)]
    for ending in command.endings:
        warn_if_long(teller, ending)
    stories = teller.tell_all(endings, **vars(command.sample))
    sys.stdout.write("\n\n".join(story.text for story in stories) + "\n")
    return 0


def warn_if_long(teller: Teller, ending: str) -> None:
    """Say on standard error what part of a long ending the model reads."""
    if left_out := teller.tokens_left_out(ending):
        part = "first" if teller.grows_leftwards else "last"
        sys.stderr.write(
            f"mlx-rev tell: the text is longer than the model can read; it sees the {part} "
            f"{teller.model.config.context // 2 - 1} tokens of it, not the other {left_out}\n"
        )
