"""Write any model that can be opened in any format that there is, whole or not at all."""

import shutil
import tempfile
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from enum import StrEnum
from pathlib import Path

import numpy as np

from mlx_rev import files
from mlx_rev.errors import FormatError
from mlx_rev.formats import (
    advice,
    gguf,
    huggingface,
    llama2c,
    overwrite,
    sidecar,
)
from mlx_rev.formats.mlx_quantised import group_size_of
from mlx_rev.formats.model_card import model_card
from mlx_rev.formats.model_file import ModelFile
from mlx_rev.formats.tokenizers import tokenizer_bin
from mlx_rev.formats.tokenizers.limits import check_exportable

Progress = Callable[[str, float], None]
"""Told the weight that is being converted and the share that is done."""


class Format(StrEnum):
    """What can be written."""

    LLAMA2C = "llama2c"
    LLAMA2C_V1 = "llama2c-v1"
    LLAMA2C_V2 = "llama2c-v2"
    MLX = "mlx"
    GGUF = "gguf"


class Dtype(StrEnum):
    """How matrices are kept."""

    FLOAT32 = "float32"
    FLOAT16 = "float16"
    BFLOAT16 = "bfloat16"
    Q8 = "q8"


_DTYPES = {
    Format.LLAMA2C: (Dtype.FLOAT32,),
    Format.LLAMA2C_V1: (Dtype.FLOAT32,),
    Format.LLAMA2C_V2: (Dtype.Q8,),
    Format.MLX: tuple(Dtype),
    Format.GGUF: (Dtype.FLOAT32, Dtype.FLOAT16, Dtype.Q8),
}
_VERSIONS = {Format.LLAMA2C: 0, Format.LLAMA2C_V1: 1, Format.LLAMA2C_V2: 2}
_GGUF_TYPES = {
    Dtype.FLOAT32: gguf.Type.F32,
    Dtype.FLOAT16: gguf.Type.F16,
    Dtype.Q8: gguf.Type.Q8_0,
}


@dataclass(frozen=True)
class Conversion:
    """What was written."""

    format: str
    """A Format, or run."""
    dtype: Dtype
    target: Path
    files: tuple[tuple[Path, int, str], ...]
    """Each file with its bytes and sha256."""
    tensors: int
    parameters: int
    errors: dict[str, float] = field(repr=False)
    """Largest error of each weight that is not kept in full."""
    kept_whole: tuple[str, ...]
    """Matrices that the format's groups do not divide, kept as float16."""
    notes: tuple[str, ...]
    """What the person should know."""
    run: str
    """How to use the result."""


def format_for(target: Path, asked: Format | None, dtype: Dtype | None) -> tuple[Format, Dtype]:
    """The format and dtype to write, from what was asked and the target's name.

    Raises FormatError where they do not go together.
    """
    if asked is None:
        asked = {".bin": Format.LLAMA2C, ".gguf": Format.GGUF}.get(target.suffix, Format.MLX)
        if asked is Format.LLAMA2C and dtype is Dtype.Q8:
            asked = Format.LLAMA2C_V2
    possible = _DTYPES[asked]
    if dtype is None:
        dtype = possible[0]
    if dtype not in possible:
        raise FormatError(f"{asked} has no {dtype}; expected --dtype {' or '.join(possible)}")
    return asked, dtype


def convert(
    model: ModelFile,
    target: Path,
    to: Format,
    dtype: Dtype,
    *,
    force: bool = False,
    progress: Progress = lambda name, share: None,
) -> Conversion:
    """Write `model` at `target`; the model is only read.

    Raises FormatError for what the format cannot hold, and where something stands at the target
    and `force` is not given.
    """
    if model.tokenizer is not None:
        check_exportable(model.tokenizer, model.source, finds_bytes=to is Format.GGUF)
    watched = _watched(model, progress)
    if to is Format.MLX:
        errors, written = _write_folder(watched, target, dtype, force)
    elif to is Format.GGUF:
        overwrite.check_file(target, force=force)
        with files.atomic_path(target) as temporary:
            errors = gguf.write(temporary, watched, _GGUF_TYPES[dtype])
            overwrite.check_file(target, force=force)  # again: writing takes a while
        written = [target]
    else:
        errors, written = _write_bin(watched, target, _VERSIONS[to], force)
    matrices = [name for name, shape in model.shapes.items() if len(shape) == 2]
    kept_whole = tuple(_not_quantised(model, matrices, to)) if dtype is Dtype.Q8 else ()
    run = advice.how_to_run(target, to, model)
    done = describe(model, target, written, to, dtype, run)
    return replace(done, errors=errors, kept_whole=kept_whole)


def describe(
    model: ModelFile, target: Path, written: Sequence[Path], to: str, dtype: Dtype, run: str
) -> Conversion:
    """What to say of `model`, of which `written` was made, with nothing rounded."""
    return Conversion(
        format=to,
        dtype=dtype,
        target=target,
        files=tuple((path, path.stat().st_size, files.sha256_file(path)) for path in written),
        tensors=len(model.shapes),
        parameters=model.parameters,
        errors={},
        kept_whole=(),
        notes=tuple(advice.notes(model, to)),
        run=run,
    )


def _write_bin(
    model: ModelFile, target: Path, version: int, force: bool
) -> tuple[dict[str, float], list[Path]]:
    """The .bin, its sidecar, and beside them the tokenizer in llama2.c's form and in its own."""
    beside: dict[Path, bytes] = {}
    if model.tokenizer is not None:
        contents = tokenizer_bin.to_bytes(model.tokenizer), model.tokenizer.model
        beside = {
            target.with_name(name): content
            for name, content in zip(tokenizer_bin.NEIGHBOURS, contents, strict=True)
        }
    overwrite.check_bin(target, beside, force=force)
    with files.atomic_path(target) as temporary:
        errors = llama2c.write(temporary, model, version)
        overwrite.check_bin(target, beside, force=force)  # again: writing takes a while
        checksum = files.sha256_file(temporary)
        sidecar.path_of(target).unlink(missing_ok=True)
    for path, content in beside.items():
        files.write_bytes(path, content)
    sidecar.write(target, checksum, model)
    return errors, [target, sidecar.path_of(target), *beside]


def _write_folder(
    model: ModelFile, target: Path, dtype: Dtype, force: bool
) -> tuple[dict[str, float], list[Path]]:
    overwrite.check_folder(target, force=force)
    named = target.resolve()
    with files.atomic_folder(named) as temporary:
        errors = huggingface.write_folder(temporary, model, dtype=dtype)
        card = model_card(model, named.name, quantised=dtype is Dtype.Q8)
        (temporary / "README.md").write_text(card, encoding="utf-8")
        overwrite.check_folder(target, force=force)  # again: writing takes a while
    return errors, sorted(path for path in target.iterdir() if path.is_file())


def _watched(model: ModelFile, progress: Progress) -> ModelFile:
    """The model, telling `progress` of each weight that is read."""
    done = iter(range(1, len(model.shapes) + 1))

    def read(name: str) -> np.ndarray:
        progress(name, next(done, len(model.shapes)) / len(model.shapes))
        return model.read(name)

    return replace(model, read=read)


def _not_quantised(model: ModelFile, matrices: list[str], to: Format) -> Iterator[str]:
    if to is Format.LLAMA2C_V2:
        return
    group = 32 if to is Format.GGUF else group_size_of(model)
    for name in matrices:
        if model.shapes[name][1] % group:
            yield name


@contextmanager
def folder_to_push(target: Path) -> Iterator[Path]:
    """A folder with what was written at `target`: itself, or one made for a file and what is
    beside it."""
    if target.is_dir():
        yield target
        return
    names = (target.name, sidecar.path_of(target).name, *tokenizer_bin.NEIGHBOURS)
    with tempfile.TemporaryDirectory() as temporary:
        for name in names:
            if (path := target.with_name(name)).is_file():
                shutil.copy(path, temporary)
        yield Path(temporary)
