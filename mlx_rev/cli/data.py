"""`mlx-rev data`: what is in the token shards that a run is trained on."""

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Annotated

import tyro

from mlx_rev import run_folder
from mlx_rev.cli.flags import parse
from mlx_rev.cli.options import cache_folder
from mlx_rev.cli.outputs import check_outputs, is_standard_output, write_json
from mlx_rev.config import LARGEST_SIZE, ModelConfig, Packing, TrainConfig
from mlx_rev.config_file import EARLIER, read_toml
from mlx_rev.data.inspection import PARTS, examples, find_shards, find_tokenizer, inspect
from mlx_rev.data.row_plan import survey
from mlx_rev.data.shard_set import ShardSet
from mlx_rev.errors import ConfigError
from mlx_rev.text.codec import StoryCodec
from mlx_rev.text.load import load_tokenizer
from mlx_rev.text.order import order_named
from mlx_rev.ui import inspection
from mlx_rev.ui.console import make_console
from mlx_rev.ui.preparation import prepare_shown

_NO_TOKENIZER = (
    "note: the shards' tokenizer is not in the cache; give it with --tokenizer to see words and "
    "stories"
)


@dataclass(frozen=True, kw_only=True)
class DataCommand:
    """Show what is in token shards, and verify their checksums: how many stories and tokens, how
    long the stories are, how well they fill the rows that training reads, and some of them as they
    are read and as the model gets them."""

    source: Annotated[Path, tyro.conf.Positional, tyro.conf.arg(metavar="RUN_OR_SHARDS")]
    """A training run, a file of token shards or a folder of them."""
    context: int | None = None
    """Row length, in tokens; by default the run's, or 256."""
    examples: int = 2
    """Stories to show."""
    tokenizer: Path | None = None
    """What the shards were made with, if it is not in the cache."""
    json: Path | None = None
    """Write everything to this .json file; - is standard output."""
    plot: Path | None = None
    """Draw how long the stories are into this .png file."""
    cache: Path = field(default_factory=cache_folder)
    """Where corpora and token shards are kept."""
    plain: bool = False
    """No colours, no progress bar."""


@dataclass(frozen=True)
class _Source:
    """Shards by name, and how training packs them."""

    shards: dict[str, tuple[ShardSet, StoryCodec | None]]
    context: int
    seed: int
    packing: Packing


def main(arguments: Sequence[str], program: str) -> int:
    """Print the tables, or JSON, and write the files asked for. Raises RevError."""
    command = parse(DataCommand, arguments, program)
    _check(command)
    notes = make_console(stderr=True, plain=command.plain)
    if (command.source / run_folder.CONFIG).is_file():
        source = _of_run(command)
    else:
        source = _of_shards(command)
    contents = {}
    with inspection.bar(notes) as progress:
        for name, (shards, codec) in source.shards.items():
            contents[name] = inspect(shards, codec, progress)
    found = inspection.Found(
        title=str(command.source),
        contents=contents,
        examples={
            name: examples(shards, codec, command.examples)
            for name, (shards, codec) in source.shards.items()
            if codec is not None and _is_trained_on(name)
        },
        rows=_rows(source),
    )
    if not any(codec for _, codec in source.shards.values()):
        notes.print(_NO_TOKENIZER, soft_wrap=True)
    if command.json is not None:
        write_json(command.json, inspection.as_json(found))
    if command.plot is not None:
        inspection.picture(found, command.plot)
    if not is_standard_output(command.json):
        inspection.show(found, make_console(plain=command.plain))
    return 0


def _check(command: DataCommand) -> None:
    """Raise ConfigError for what cannot be, before anything is read."""
    if command.context is not None and not 2 <= command.context <= LARGEST_SIZE:
        raise ConfigError(f"--context {command.context}: expected 2 to {LARGEST_SIZE}")
    if command.examples < 0:
        raise ConfigError(f"--examples {command.examples}: expected 0 or more")
    check_outputs(command.json, command.plot)


def _of_run(command: DataCommand) -> _Source:
    """The shards that a run is trained on, made anew where the cache has them no more."""
    run = command.source
    if command.tokenizer is not None:
        raise ConfigError("--tokenizer: a run has its own; leave it out")
    config = read_toml(run / run_folder.CONFIG, EARLIER)
    own = run_folder.tokenizer(run)
    data = replace(config.data, tokenizer=str(own)) if own else config.data
    console = make_console(stderr=True, plain=command.plain)
    prepared = prepare_shown(data, config.model.vocab_size, command.cache, console)
    shards: dict[str, tuple[ShardSet, StoryCodec | None]] = {}
    for part in prepared.directions:
        forward = ", forwards" if part.codec.is_opposite else ""
        for name, own_shards in zip(PARTS, (part.train, part.valid), strict=True):
            shards[name + forward] = (own_shards, part.codec)
    train = config.train
    return _Source(shards, command.context or config.model.context, train.seed, train.packing)


def _of_shards(command: DataCommand) -> _Source:
    shards = find_shards(command.source)
    train, tokenizers = TrainConfig(), command.cache / "tokenizers"
    given = load_tokenizer(command.tokenizer) if command.tokenizer else None
    found: dict[str, tuple[ShardSet, StoryCodec | None]] = {}
    for name, own in shards.items():
        tokenizer = given or find_tokenizer(own, tokenizers)
        if given is not None and given.fingerprint != own.tokenizer_fingerprint:
            raise ConfigError(
                f"--tokenizer {command.tokenizer}: is {given.fingerprint[:12]}, the shards were "
                f"made with {own.tokenizer_fingerprint[:12]}"
            )
        codec = StoryCodec(tokenizer, order_named(own.order)) if tokenizer else None
        found[name] = (own, codec)
    return _Source(found, command.context or ModelConfig().context, train.seed, train.packing)


def _is_trained_on(name: str) -> bool:
    return not name.startswith(PARTS[1])


def _rows(source: _Source) -> inspection.RowsFound | None:
    """How the stories that are trained on, of all directions, are packed."""
    trained = {name: shards for name, (shards, _) in source.shards.items() if _is_trained_on(name)}
    if not trained:
        return None
    count, report = survey(
        [*trained.values()], context=source.context, seed=source.seed, packing=source.packing
    )
    backward = all(order_named(own.order).grows_leftwards for own in trained.values())
    return inspection.RowsFound(source.context, count, backward, report)
