"""`mlx-rev convert` and tools/convert.py: a model of any format to any other."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Literal

import tyro

from mlx_rev import files, hub
from mlx_rev.cli.options import parse
from mlx_rev.errors import ConfigError, FormatError
from mlx_rev.formats import tokenizer_bin
from mlx_rev.formats.convert import Dtype, Format, convert, folder_to_push, format_for
from mlx_rev.formats.opening import is_tokenizer, open_model, read_tokenizer
from mlx_rev.text.reversal import Reversal
from mlx_rev.train.beginning import how_to_go_on, write_run
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
    reversal: Literal["word", "token", "none"] | None = None
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
        _convert_tokenizer(Path(command.source), command.target, force=command.force)
        console.print(f"{command.target}: {command.target.stat().st_size:,} bytes", soft_wrap=True)
        return 0
    model = open_model(
        command.source,
        tokenizer=command.tokenizer,
        reversal=Reversal(command.reversal) if command.reversal else None,
    )
    if command.to == "run":
        write_run(model, command.target)
        console.print(how_to_go_on(command.target), soft_wrap=True)
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


def _convert_tokenizer(source: Path, target: Path, *, force: bool) -> None:
    tokenizer = read_tokenizer(source)
    if target.exists() and not force:
        raise FormatError(f"{target}: exists; choose another name, or replace it with --force")
    if target.suffix not in (".bin", ".model"):
        raise ConfigError(f"{target}: a tokenizer is written as .bin (llama2.c) or .model")
    content = tokenizer_bin.to_bytes(tokenizer) if target.suffix == ".bin" else tokenizer.model
    files.write_bytes(target, content)
