"""`mlx-rev convert` and tools/convert.py: a model of any format to any other."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Literal

import tyro

from mlx_rev import files, hub
from mlx_rev.cli.options import parse
from mlx_rev.config import ReversalMode
from mlx_rev.errors import ConfigError
from mlx_rev.formats import overwrite
from mlx_rev.formats.convert import Dtype, Format, convert, folder_to_push, format_for
from mlx_rev.formats.detect import is_tokenizer, open_model, read_tokenizer
from mlx_rev.formats.tokenizers import tokenizer_bin
from mlx_rev.formats.tokenizers.limits import check_exportable
from mlx_rev.text.order import order_named
from mlx_rev.train.beginning import write_run
from mlx_rev.ui import conversion
from mlx_rev.ui.console import make_console


@dataclass(frozen=True, kw_only=True)
class ConvertCommand:
    """Convert a model: llama2.c .bin (v0, v1, v2), mlx-lm or transformers folder, GGUF, training
    run. What the source is, its content tells; what to write, the target's name or --to."""

    source: Annotated[str, tyro.conf.Positional]
    """A run, checkpoint, model folder, .bin, .gguf, hf:owner/repo[/file][@revision], tokenizer."""
    target: Annotated[Path, tyro.conf.Positional]
    """What to write: NAME.bin, NAME.gguf, or a folder; tokenizer.bin or .model of a tokenizer."""
    to: Literal["llama2c", "llama2c-v1", "llama2c-v2", "mlx", "gguf", "run"] | None = None
    """llama2c is version 0; llama2c-v2 has 8 bits; mlx is a folder; run is for more training."""
    dtype: Literal["float32", "float16", "bfloat16", "q8"] | None = None
    """How matrices are kept; by default float32, where the format has it."""
    tokenizer: Path | None = None
    """A SentencePiece .model, or a tokenizer.bin or .json, where the source has none beside it."""
    reversal: ReversalMode | None = None
    """How the model's text is reversed, where the source does not say."""
    force: bool = False
    """Replace what stands at the target."""
    push: str | None = None
    """Upload the result to this repository of the hub, owner/repo."""
    plain: bool = False
    """No colours, no progress bar."""


def main(arguments: Sequence[str], program: str) -> int:
    """Convert as the flags say and print what was written. Raises RevError."""
    command = parse(ConvertCommand, arguments, program)
    console = make_console(plain=command.plain)
    if not hub.is_reference(command.source) and is_tokenizer(Path(command.source)):
        _refuse(command, "a tokenizer", ("to", "dtype", "tokenizer", "reversal", "push"))
        _convert_tokenizer(Path(command.source), command.target, force=command.force)
        console.print(f"{command.target}: {command.target.stat().st_size:,} bytes", soft_wrap=True)
        return 0
    if command.to == "run":
        _refuse(command, "--to run", ("force", "dtype", "push"))
    model = open_model(
        command.source,
        tokenizer=command.tokenizer,
        order=order_named(command.reversal) if command.reversal else None,
    )
    if command.to == "run":
        conversion.show(write_run(model, command.target), console)
        return 0
    dtype = Dtype(command.dtype) if command.dtype else None
    to, kept = format_for(command.target, Format(command.to) if command.to else None, dtype)
    with conversion.bar(console) as progress:
        done = convert(model, command.target, to, kept, force=command.force, progress=progress)
    conversion.show(done, console)
    if command.push:
        with folder_to_push(command.target) as folder:
            address = hub.push(folder, command.push)
        console.print(f"uploaded to {address}", soft_wrap=True)
    return 0


def _refuse(command: ConvertCommand, what: str, options: Sequence[str]) -> None:
    """Raise ConfigError for an option that was given and means nothing here."""
    for option in options:
        if getattr(command, option):
            raise ConfigError(f"--{option} does not apply to {what}; leave it out")


def _convert_tokenizer(source: Path, target: Path, *, force: bool) -> None:
    if target.suffix not in (".bin", ".model"):
        raise ConfigError(f"{target}: a tokenizer is written as .bin (llama2.c) or .model")
    tokenizer = read_tokenizer(source)
    overwrite.check_file(target, force=force)
    if target.suffix == ".bin":
        check_exportable(tokenizer, str(source))
    content = tokenizer_bin.to_bytes(tokenizer) if target.suffix == ".bin" else tokenizer.model
    files.write_bytes(target, content)
