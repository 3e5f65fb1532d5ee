"""`mlx-rev prepare`: make token shards and report what is in them."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

from rich.box import HEAVY_HEAD
from rich.table import Table

from mlx_rev.cli.flags import parse
from mlx_rev.cli.options import cache_folder, with_standard_input
from mlx_rev.config import DataConfig, ModelConfig, TrainConfig, validate
from mlx_rev.data.row_plan import survey
from mlx_rev.data.shard_set import ShardSet
from mlx_rev.errors import ConfigError
from mlx_rev.presets import preset
from mlx_rev.ui.console import is_interactive, make_console
from mlx_rev.ui.preparation import prepare_shown
from mlx_rev.ui.rows import show_rows


@dataclass(frozen=True, kw_only=True)
class PrepareCommand:
    """Turn a corpus into the token shards that training reads, and report on them."""

    vocab_size: int = field(default_factory=lambda: preset("quick").model.vocab_size)
    """Size of the vocabulary, in tokenizer pieces."""
    context: int = field(default_factory=lambda: preset("quick").model.context)
    """Row length of the report, in tokens."""
    show: int = 0
    """Also show so many rows as training reads them: each story's text, and its tokens in the order
    in which the model gets them."""
    cache: Path = field(default_factory=cache_folder)
    """Where corpora and token shards are kept."""
    plain: bool = False
    """No colours, no progress bars."""
    data: DataConfig = field(default_factory=DataConfig)


def main(arguments: Sequence[str], program: str) -> int:
    """Prepare as the flags say, and print the report. Raises RevError."""
    command = parse(PrepareCommand, arguments, program)
    if command.context < 2:
        raise ConfigError(f"--context {command.context}: expected 2 or more")
    if command.show < 0:
        raise ConfigError(f"--show {command.show}: expected 0 or more")
    validate(command.data, ModelConfig(vocab_size=command.vocab_size))
    console = make_console(plain=command.plain)
    source = with_standard_input(command.data, command.cache)
    data = prepare_shown(source, command.vocab_size, command.cache, console)
    frames = HEAVY_HEAD if is_interactive(console) else None
    title = f"{command.data.data}, {command.data.reversal}"
    table = Table("", "train", "valid", title=title, box=frames)
    columns = [_figures(shards, command.context) for shards in (data.train, data.valid)]
    for name in columns[0]:
        table.add_row(name, *(column[name] for column in columns))
    console.print(table)
    for direction in data.directions:
        show_rows(direction, command.context, command.show, TrainConfig().seed, console)
    return 0


def _figures(shards: ShardSet, context: int) -> dict[str, str]:
    """What `prepare` says of shards, by label."""
    train, text = TrainConfig(), shards.text_size
    rows, report = survey([shards], context=context, seed=train.seed, packing=train.packing)
    return {
        "stories": f"{shards.story_count:,}",
        "bytes of text": f"{text:,}",
        "tokens": f"{shards.token_count:,}",
        "bytes per token": f"{text / shards.token_count:.2f}",
        f"rows of {context}": f"{rows:,}",
        "padding": f"{report.padding:.2%}",
        "targets that see their story's boundary": f"{report.sighted_share:.2%}",
        "stories cut": f"{report.cut / report.stories:.2%}",
        "pieces per cut story": f"{report.pieces_per_cut_story:.1f}",
    }
