"""Write any model that can be opened in any of the formats, whole or not at all."""

import shutil
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path

import numpy as np

from mlx_rev import files
from mlx_rev.config import Dtype
from mlx_rev.formats import advice, registry
from mlx_rev.formats.model_file import ModelFile

Progress = Callable[[str, float], None]
"""Called with the weight that is being converted and the share that is done."""


@dataclass(frozen=True)
class Conversion:
    """What was written."""

    format: str
    """Its name in the registry."""
    dtype: Dtype
    target: Path
    files: tuple[tuple[Path, int, str], ...]
    """Each file with its bytes and sha256."""
    tensors: int
    parameters: int
    errors: dict[str, float] = field(repr=False)
    """Largest error of each weight that is not stored exactly."""
    kept_whole: tuple[str, ...]
    """Matrices whose rows the group size does not divide, stored as float16."""
    notes: tuple[str, ...]
    """What the person should know."""
    run: str
    """How to use the result."""


def convert(
    model: ModelFile,
    target: Path,
    to: str | None = None,
    dtype: Dtype | None = None,
    *,
    force: bool = False,
    progress: Progress = lambda name, share: None,
) -> Conversion:
    """Write `model` at `target`; the model is only read.

    `to` is a name in the registry; it and `dtype` are by default chosen by the target's suffix.
    Raises FormatError for what the format cannot hold, and for an existing target unless `force`
    is given.
    """
    chosen, dtype = registry.choose(target, to, dtype)
    written = chosen.write(_watched(model, progress), target, dtype, force)
    return Conversion(
        format=chosen.name,
        dtype=dtype,
        target=target,
        files=tuple((path, path.stat().st_size, files.sha256_file(path)) for path in written.files),
        tensors=len(model.shapes),
        parameters=model.parameters,
        errors=written.errors,
        kept_whole=written.kept_whole,
        notes=tuple(advice.notes(model, chosen)),
        run=chosen.how_to_run(target, model),
    )


def _watched(model: ModelFile, progress: Progress) -> ModelFile:
    """The model, which calls `progress` for each weight that is read."""
    done = iter(range(1, len(model.shapes) + 1))

    def read(name: str) -> np.ndarray:
        progress(name, next(done, len(model.shapes)) / len(model.shapes))
        return model.read(name)

    return replace(model, read=read)


@contextmanager
def folder_to_push(done: Conversion) -> Iterator[Path]:
    """A folder with what a conversion wrote, and nothing else: for a file a temporary one."""
    if done.target.is_dir():
        yield done.target
        return
    with tempfile.TemporaryDirectory() as temporary:
        for path, _, _ in done.files:
            shutil.copy(path, temporary)
        yield Path(temporary)
