"""A training run: read by its best checkpoint, and written at step 0 with a model's weights."""

import json
import shlex
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

import numpy as np

from mlx_rev import files, run_folder
from mlx_rev.config import DataConfig, Dtype, RunConfig, TrainConfig
from mlx_rev.config_file import to_toml
from mlx_rev.errors import FormatError
from mlx_rev.formats import huggingface, safetensors
from mlx_rev.formats.format import Format, Source, Written
from mlx_rev.formats.model_file import ModelFile
from mlx_rev.formats.rows import row_parts
from mlx_rev.text.order import ASSUMED
from mlx_rev.text.tokenizer import Tokenizer

_KINDS = ("mean", "square")
"""The optimiser's running means, of which a run that begins has zeros."""


def write_checkpoint(
    run: Path,
    model: ModelFile,
    moments: Iterable[tuple[str, np.ndarray]],
    progress: Mapping[str, Any],
    *,
    corpus_fingerprint: str,
    best: bool,
) -> Path:
    """Write a checkpoint, whole or not at all, and point `latest` at it; with `best`, that too.

    The first one comes with `checkpoints` and the links, all at once. `moments` are the optimiser's
    arrays by name, float32; `progress` is where the run stands, of which `step` names the folder.
    """
    root = (run / run_folder.CHECKPOINTS).resolve()
    name = run_folder.checkpoint_name(progress["step"])
    # `latest` comes last: where it is not reached, the run is resumed from before and does this
    # step again, with the same result.
    links = [run_folder.BEST, run_folder.LATEST] if best else [run_folder.LATEST]
    if run_folder.latest(run) is None:
        with files.atomic_folder(root) as temporary:
            (temporary / name).mkdir()
            _write_files(temporary / name, model, moments, progress, corpus_fingerprint)
            for link in links:
                (temporary / link).symlink_to(name)
    else:
        with files.atomic_folder(root / name) as temporary:
            _write_files(temporary, model, moments, progress, corpus_fingerprint)
        for link in links:
            files.atomic_link(root / link, name)
    return run / run_folder.CHECKPOINTS / name


def _write_files(
    folder: Path,
    model: ModelFile,
    moments: Iterable[tuple[str, np.ndarray]],
    progress: Mapping[str, Any],
    corpus_fingerprint: str,
) -> None:
    huggingface.write_folder(folder, model, corpus_fingerprint=corpus_fingerprint)
    _write_moments(folder / run_folder.OPTIMIZER, moments)
    checked = huggingface.WEIGHTS_FILE, run_folder.OPTIMIZER
    described = {
        "progress": progress,
        "corpus_sha256": corpus_fingerprint,
        "sha256": {name: files.sha256_file(folder / name) for name in checked},
    }
    text = json.dumps(described, indent=1) + "\n"
    (folder / run_folder.TRAINING).write_text(text, encoding="utf-8")


def _write_moments(path: Path, moments: Iterable[tuple[str, np.ndarray]]) -> None:
    arrays = dict(moments)
    plan = {name: safetensors.Planned("F32", array.shape) for name, array in arrays.items()}
    contents = (
        (name, (part.astype("<f4", copy=False).tobytes() for part in row_parts(array)))
        for name, array in arrays.items()
    )
    safetensors.write(path, plan, contents, {"format": "mlx"})


def _write(model: ModelFile, run: Path, dtype: Dtype, force: bool) -> Written:
    """Make the run folder, to be resumed by `train --resume`.

    Raises FormatError where it exists, with `force` too, or the model has no tokenizer.
    """
    if model.tokenizer is None:
        raise FormatError(
            f"{model.source}: has no tokenizer, which training needs; give --tokenizer"
        )
    if run.exists() or run.is_symlink():
        raise FormatError(f"{run}: exists, and a run is not replaced; choose another name")
    if str(run) != str(run).encode(errors="replace").decode():
        raise FormatError(
            f"{run}: its name is not UTF-8, which {run_folder.CONFIG} is; choose another"
        )
    order = model.order or ASSUMED
    data = DataConfig(reversal=order.name, tokenizer=str(run / model.tokenizer.file_name))
    config = RunConfig(model=model.config, data=data, train=TrainConfig())
    zeros = (
        (f"{kind}.{name}", np.broadcast_to(np.float32(0), shape))
        for kind in _KINDS
        for name, shape in model.shapes.items()
    )
    progress = {"step": 0, "losses": [], "best": None}
    with files.atomic_folder(run) as made:
        saved = write_checkpoint(made, model, zeros, progress, corpus_fingerprint="", best=False)
        model.tokenizer.save(made / model.tokenizer.file_name)
        files.write_text(made / run_folder.CONFIG, to_toml(config))
        own = made / run_folder.CONFIG, made / model.tokenizer.file_name
        written = [*own, *sorted(saved.iterdir())]
    return Written([run / path.relative_to(made) for path in written])


def _checkpoint(path: Path) -> Path | None:
    """The best checkpoint of a run, or else its latest; the link, which a reader follows once."""
    links = [path / run_folder.CHECKPOINTS / name for name in (run_folder.BEST, run_folder.LATEST)]
    found = [*filter(huggingface.recognises, links), run_folder.latest(path)]
    return found[0]


def _read(path: Path, tokenizer: Tokenizer | None) -> ModelFile:
    folder = _checkpoint(path)
    if folder is None:
        raise FormatError(f"{path}: no checkpoint in it; expected {run_folder.CHECKPOINTS}/best")
    return huggingface.read_folder(folder, tokenizer=tokenizer)


def _how_to_run(target: Path, model: ModelFile) -> str:
    return f"mlx-rev train --resume {shlex.quote(str(target))} --data … --steps …"


def _recognises(source: Source) -> bool:
    return _checkpoint(source.path) is not None


FORMAT = Format(
    name="run",
    summary="a training run, to train further",
    suffix="",
    dtypes=(Dtype.FLOAT32,),
    recognises=_recognises,
    read=_read,
    write=_write,
    how_to_run=_how_to_run,
    refuses=("force", "dtype", "push"),
)
