"""Write any model that can be opened in any format that there is, whole or not at all."""

import shutil
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from enum import StrEnum
from pathlib import Path

import numpy as np

from mlx_rev import files
from mlx_rev.errors import FormatError
from mlx_rev.formats import gguf, huggingface, llama2c, sidecar, tokenizer_bin
from mlx_rev.formats.lazy import LazyModel
from mlx_rev.formats.mlx_quantised import group_size_of
from mlx_rev.formats.model_card import model_card
from mlx_rev.text.reversal import Reversal

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

    format: Format
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
    model: LazyModel,
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
    watched = _watched(model, progress)
    if to is Format.MLX:
        errors, written = _write_folder(watched, target, dtype, force)
    elif to is Format.GGUF:
        _check_free(target, force)
        with files.atomic_path(target) as temporary:
            errors = gguf.write(temporary, watched, _GGUF_TYPES[dtype])
        written = [target]
    else:
        errors, written = _write_bin(watched, target, _VERSIONS[to], force)
    matrices = [name for name, shape in model.shapes.items() if len(shape) == 2]
    return Conversion(
        format=to,
        dtype=dtype,
        target=target,
        files=tuple((path, path.stat().st_size, files.sha256_file(path)) for path in written),
        tensors=len(model.shapes),
        parameters=model.parameters,
        errors=errors,
        kept_whole=tuple(_not_quantised(model, matrices, to)) if dtype is Dtype.Q8 else (),
        notes=tuple(_notes(model, to)),
        run=_how_to_run(target, to, model),
    )


def _write_bin(
    model: LazyModel, target: Path, version: int, force: bool
) -> tuple[dict[str, float], list[Path]]:
    """The .bin, its sidecar, and beside them the tokenizer in llama2.c's form and in its own."""
    beside: dict[Path, bytes] = {}
    if model.tokenizer is not None:
        beside[target.with_name("tokenizer.bin")] = tokenizer_bin.to_bytes(model.tokenizer)
        beside[target.with_name("tokenizer.model")] = model.tokenizer.model
    _check_free(target, force)
    for path, content in beside.items():
        if path.exists() and path.read_bytes() != content:
            _check_free(path, force)
    with files.atomic_path(target) as temporary:
        errors = llama2c.write(temporary, model, version)
        checksum = files.sha256_file(temporary)
        sidecar.path_of(target).unlink(missing_ok=True)
    for path, content in beside.items():
        files.write_bytes(path, content)
    sidecar.write(target, checksum, model)
    return errors, [target, sidecar.path_of(target), *beside]


def _write_folder(
    model: LazyModel, target: Path, dtype: Dtype, force: bool
) -> tuple[dict[str, float], list[Path]]:
    if target.is_dir() and any(target.iterdir()):
        if force and not huggingface.recognises(target):
            raise FormatError(
                f"{target}: holds other things than a model, so --force does not replace it; "
                "choose another folder"
            )
        _check_free(target, force)
    elif target.is_file():
        raise FormatError(f"{target}: a file; the mlx format is a folder")
    with files.atomic_folder(target) as temporary:
        errors = huggingface.write_folder(temporary, model, dtype=dtype)
        (temporary / "README.md").write_text(model_card(model, target.name), encoding="utf-8")
    return errors, sorted(path for path in target.iterdir() if path.is_file())


def _check_free(target: Path, force: bool) -> None:
    if target.exists() and not force:
        raise FormatError(f"{target}: exists; choose another name, or replace it with --force")


def _watched(model: LazyModel, progress: Progress) -> LazyModel:
    """The model, telling `progress` of each weight that is read."""
    done = iter(range(1, len(model.shapes) + 1))

    def read(name: str) -> np.ndarray:
        progress(name, next(done, len(model.shapes)) / len(model.shapes))
        return model.read(name)

    return replace(model, read=read)


def _not_quantised(model: LazyModel, matrices: list[str], to: Format) -> Iterator[str]:
    if to is Format.LLAMA2C_V2:
        return
    group = 32 if to is Format.GGUF else group_size_of(model)
    for name in matrices:
        if model.shapes[name][1] % group:
            yield name


def _notes(model: LazyModel, to: Format) -> Iterator[str]:
    if model.reversal is Reversal.TOKEN and to in _VERSIONS:
        yield (
            "this model reads tokens in reverse, so run.c cannot prompt it (it encodes forwards); "
            "mlx-rev tell can"
        )
    if model.reversal is None:
        yield (
            "nothing says how this model's text is reversed; it is taken not to be. "
            "--reversal word or token says otherwise"
        )
    if model.tokenizer is None:
        yield "no tokenizer was found, so none was written; --tokenizer names one"


def _how_to_run(target: Path, to: Format, model: LazyModel) -> str:
    if to is Format.MLX:
        return f'mlx_lm.generate --model {target} --prompt "…"'
    if to is Format.GGUF:
        return f'llama-cli -m {target} -p "…"'
    command = f"./{'runq' if to is Format.LLAMA2C_V2 else 'run'} {target} "
    command += f"-z {target.with_name('tokenizer.bin')}"
    if model.reversal is Reversal.WORD:
        wtac = "python tools/wtac.py"
        return f"{command} -i \"$(echo 'They were happy.' | {wtac})\" | {wtac}"
    return f'{command} -i "…"'


@contextmanager
def folder_to_push(target: Path) -> Iterator[Path]:
    """A folder with what was written at `target`: itself, or one made for a file and what is
    beside it."""
    if target.is_dir():
        yield target
        return
    names = (target.name, sidecar.path_of(target).name, "tokenizer.bin", "tokenizer.model")
    with tempfile.TemporaryDirectory() as temporary:
        for name in names:
            if (path := target.with_name(name)).is_file():
                shutil.copy(path, temporary)
        yield Path(temporary)
