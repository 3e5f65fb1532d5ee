"""`mlx-rev convert` and tools/convert.py: a model of any format to any other."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import tyro

from mlx_rev import files, hub
from mlx_rev.cli.flags import parse
from mlx_rev.config import Dtype, ReversalMode
from mlx_rev.data.sources.story_files import read_stories
from mlx_rev.errors import ConfigError
from mlx_rev.formats import overwrite, registry
from mlx_rev.formats.convert import convert, folder_to_push
from mlx_rev.formats.detect import open_model
from mlx_rev.formats.smaller import keep_layers, keep_vocabulary, layers_in
from mlx_rev.formats.tokenizers import tokenizer_bin
from mlx_rev.formats.tokenizers.detect import is_tokenizer, read_tokenizer
from mlx_rev.formats.tokenizers.limits import check_bin
from mlx_rev.text.order import order_named
from mlx_rev.ui import conversion
from mlx_rev.ui.console import make_console

if TYPE_CHECKING:
    FormatName = str
else:
    FormatName = tyro.extras.literal_type_from_choices(registry.names())


@dataclass(frozen=True, kw_only=True)
class ConvertCommand:
    """Convert a model from any format listed under --to into any other. The source's format is
    detected from its content; the target's is chosen by its name, or by --to."""

    source: Annotated[str, tyro.conf.Positional, tyro.conf.arg(metavar="SOURCE")]
    """A run, checkpoint, model folder, .bin, .gguf, hf:owner/repo[/file][@revision], the name of a
    built-in model, or a tokenizer."""
    target: Annotated[Path, tyro.conf.Positional, tyro.conf.arg(metavar="TARGET")]
    """What to write: NAME.bin, NAME.gguf or a folder; for a tokenizer, NAME.bin, or as it is
    NAME.model or NAME.json."""
    to: Annotated[FormatName | None, tyro.conf.arg(help=f"{registry.summaries()}.")] = None
    dtype: Dtype | None = None
    """How matrices are stored; by default float32, if the format has it."""
    tokenizer: Path | None = None
    """A SentencePiece .model, tokenizer.bin or tokenizer.json, if the source comes without one."""
    reversal: ReversalMode | None = None
    """How the model's text is reversed, if the source does not say."""
    keep_layers: str | None = None
    """Leave out all layers but these, counted from 0: 0-9,28,29, for instance."""
    keep_vocabulary: str | None = None
    """Leave out all pieces of a byte-level vocabulary that the stories in this file or folder, as
    the model reads them, do not need."""
    force: bool = False
    """Replace an existing target."""
    push: str | None = None
    """Upload the result to this Hugging Face repository, owner/repo."""
    plain: bool = False
    """No colours, no progress bar."""


def main(arguments: Sequence[str], program: str) -> int:
    """Convert as the flags say and print what was written. Raises RevError."""
    command = parse(ConvertCommand, arguments, program)
    console = make_console(plain=command.plain)
    if not hub.is_reference(command.source) and is_tokenizer(Path(command.source)):
        only_models = ("to", "dtype", "tokenizer", "reversal", "keep_layers", "keep_vocabulary")
        _refuse(command, "a tokenizer", (*only_models, "push"))
        _convert_tokenizer(Path(command.source), command.target, force=command.force)
        console.print(f"{command.target}: {command.target.stat().st_size:,} bytes", soft_wrap=True)
        return 0
    given = [option for option in ("force", "dtype", "push") if getattr(command, option)]
    registry.check_options(command.to, given)
    model = open_model(
        command.source,
        tokenizer=command.tokenizer,
        order=order_named(command.reversal) if command.reversal else None,
    )
    if command.keep_layers is not None:
        model = keep_layers(model, layers_in(command.keep_layers))
    if command.keep_vocabulary is not None:
        model = keep_vocabulary(
            model, read_stories(command.keep_vocabulary, tokenizer=model.tokenizer)
        )
    with conversion.bar(console) as progress:
        done = convert(
            model,
            command.target,
            command.to,
            command.dtype,
            force=command.force,
            progress=progress,
        )
    conversion.show(done, console)
    if command.push:
        with folder_to_push(done) as folder:
            address = hub.push(folder, command.push)
        console.print(f"uploaded to {address}", soft_wrap=True)
    return 0


def _refuse(command: ConvertCommand, what: str, options: Sequence[str]) -> None:
    """Raise ConfigError for an option that was given and means nothing here."""
    for option in options:
        if getattr(command, option):
            raise ConfigError(
                f"--{option.replace('_', '-')} does not apply to {what}; leave it out"
            )


def _convert_tokenizer(source: Path, target: Path, *, force: bool) -> None:
    tokenizer = read_tokenizer(source)
    own = Path(tokenizer.file_name).suffix
    if target.suffix not in (".bin", own):
        raise ConfigError(f"{target}: this tokenizer is written as .bin (llama2.c) or {own}")
    overwrite.check_file(target, force=force)
    content = tokenizer.content
    if target.suffix == ".bin":
        content = tokenizer_bin.to_bytes(check_bin(tokenizer, str(source)))
    files.write_bytes(target, content)
