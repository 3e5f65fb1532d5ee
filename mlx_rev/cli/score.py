"""`mlx-rev score`: how well a model predicts stories."""

import dataclasses
import sys
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import islice
from typing import Annotated

import numpy as np
import tyro
from rich.progress import Progress

from mlx_rev.cli.options import ModelChoice, parse
from mlx_rev.config import SampleConfig, validate
from mlx_rev.data import bundled
from mlx_rev.data.story_files import notices, read_stories
from mlx_rev.errors import ConfigError
from mlx_rev.generate.consistency import consistency
from mlx_rev.generate.teller import Teller
from mlx_rev.model.load import Loaded
from mlx_rev.model.score import Score, token_nats
from mlx_rev.ui.console import is_interactive, make_console
from mlx_rev.ui.visible import write_story

BUNDLED = "bundled"
_PARTS_AT_ONCE = 256
"""Stories, or parts of long ones, between updates of the progress bar."""
_WINDOWS_OF_A_PART = 16
_LONG = 200_000
"""Without a progress bar, a line announces the scoring of more tokens than this."""


@dataclass(frozen=True, kw_only=True)
class ScoreCommand:
    """Score stories: bits per byte (lower is better), comparable between any two models.

    For the held-out bundled stories, the model is also given 100 of their endings, and the stories
    it tells are judged: do who, what and where agree from the ending to the beginning?
    """

    stories: Annotated[str, tyro.conf.Positional, tyro.conf.arg(metavar="[STORIES]")] = BUNDLED
    """bundled, or a .txt, .json or .jsonl file of stories, a folder of them, or a glob."""
    choice: ModelChoice = dataclasses.field(default_factory=ModelChoice)
    count: int = 0
    """Score only this many stories, the first ones; 0 scores all."""
    endings: int = 100
    """How many bundled endings to tell stories from."""
    field: str | None = None
    """Key of the text in a JSON object; by default "story" or "text"."""
    sample: SampleConfig = dataclasses.field(default_factory=SampleConfig)


def main(arguments: Sequence[str], program: str) -> int:
    """Print nats per token and bits per byte, and for bundled the consistency. Raises RevError."""
    command = parse(ScoreCommand, arguments, program)
    validate(command.sample)
    if command.count < 0 or command.endings < 1:
        raise ConfigError("--count must be 0 or more, and --endings 1 or more")
    loaded = command.choice.load()
    stories = list(islice(_source(command.stories, command.field), command.count or None))
    score = _scored(loaded, stories)
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


def _scored(loaded: Loaded, stories: list[str]) -> Score:
    """The score of all `stories`; if that takes a while, standard error shows the progress."""
    sequences = [np.array(ids) for ids in loaded.codec.enclosed(stories)]
    tokens = sum(len(sequence) - 1 for sequence in sequences)
    console = make_console(stderr=True)
    live = is_interactive(console)
    if not live and tokens > _LONG:
        console.print(f"scoring {tokens:,} tokens", soft_wrap=True)
    nats, parts = 0.0, _parts(sequences, loaded.model.config.context)
    with Progress(console=console, transient=True, disable=not live) as shown:
        task = shown.add_task("scoring", total=tokens)
        while part := list(islice(parts, _PARTS_AT_ONCE)):
            rows = token_nats(loaded.model, [sequence for sequence, _ in part])
            new = [row[counted:] for row, (_, counted) in zip(rows, part, strict=True)]
            nats += sum(float(row.sum()) for row in new)
            shown.advance(task, sum(map(len, new)))
    return Score(nats, tokens, sum(len(story.encode()) for story in stories))


def _parts(sequences: list[np.ndarray], context: int) -> Iterator[tuple[np.ndarray, int]]:
    """Each story, a long one in parts, and how many of a part's targets the one before has.

    Parts begin where `token_nats` begins a window, so that it reads the same windows of the
    parts as of the whole.
    """
    overlap = context // 2
    most = context + _WINDOWS_OF_A_PART * (context - overlap)
    for sequence in sequences:
        start, done = 0, 0
        while done < len(sequence) - 1:
            part = sequence[start : start + most + 1]
            yield part, done - start
            done = start + len(part) - 1
            start = done - overlap


def _source(stories: str, field: str | None) -> Iterator[str]:
    if stories == BUNDLED:
        return (story.text for story in bundled.stories("valid"))
    for notice in notices(stories):
        sys.stderr.write(f"mlx-rev score: {notice}\n")
    return read_stories(stories, field)
