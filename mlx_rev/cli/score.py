"""`mlx-rev score`: how well a model foresees stories."""

import sys
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from itertools import islice
from pathlib import Path
from typing import Annotated

import numpy as np
import tyro

from mlx_rev.cli.options import ModelChoice, parse
from mlx_rev.config import SampleConfig, validate
from mlx_rev.data import bundled
from mlx_rev.data.corpus import read_stories
from mlx_rev.errors import ConfigError, DataError
from mlx_rev.generate.evaluate import consistency
from mlx_rev.generate.teller import Teller
from mlx_rev.model.score import score_stories
from mlx_rev.text.tokenizer import BOUNDARY
from mlx_rev.ui.visible import write_story

BUNDLED = "bundled"


@dataclass(frozen=True, kw_only=True)
class ScoreCommand:
    """Score stories: bits per byte (lower is better), comparable between any two models.

    With the held-out bundled stories, 100 of their endings are also given to the model, and the
    stories it tells are judged: do who, what and where agree from the ending to the beginning?
    """

    stories: Annotated[str, tyro.conf.Positional] = BUNDLED
    """bundled, or a .txt, .json or .jsonl file of stories."""
    choice: ModelChoice = field(default_factory=ModelChoice)
    count: int = 0
    """Score only the first so many stories; 0 takes all."""
    endings: int = 100
    """Bundled endings to tell stories from."""
    sample: SampleConfig = field(default_factory=SampleConfig)


def main(arguments: Sequence[str], program: str) -> int:
    """Print nats per token and bits per byte, and for bundled the consistency. Raises RevError."""
    command = parse(ScoreCommand, arguments, program)
    validate(command.sample)
    if command.count < 0 or command.endings < 1:
        raise ConfigError("--count must be 0 or more, and --endings 1 or more")
    loaded = command.choice.load()
    stories = list(islice(_source(command.stories), command.count or None))
    if not stories:
        raise DataError(f"{command.stories}: holds no story")
    sequences = [np.array([BOUNDARY, *ids, BOUNDARY]) for ids in loaded.codec.encode_batch(stories)]
    score = score_stories(loaded.model, sequences, sum(len(story.encode()) for story in stories))
    sys.stdout.write(
        f"{len(stories)} stories, {score.text_bytes} bytes, {score.tokens} tokens: "
        f"{score.nats_per_token:.4f} nats per token, {score.bits_per_byte:.4f} bits per byte\n"
    )
    if command.stories == BUNDLED:
        judged = consistency(Teller(loaded), command.endings, command.sample)
        sys.stdout.write(
            f"{judged.consistent} of {judged.stories} stories told from held-out endings are "
            f"consistent (temperature {command.sample.temperature})\n"
        )
        for _, fault in judged.faults[:5]:
            write_story(sys.stdout, f"    {fault}\n")
    return 0


def _source(stories: str) -> Iterator[str]:
    if stories == BUNDLED:
        return (story.text for story in bundled.stories("valid"))
    return read_stories(Path(stories))
