"""Checkpoints: folders that mlx-lm can load, with what is needed to go on to the bit.

    RUN/checkpoints/step-00000250/   config.json, model.safetensors, tokenizer files,
                                     optimizer.safetensors, training.json
    RUN/checkpoints/latest, best     links to such folders

Batch order and dropout are functions of seed and step, so the step number is all the loader
state there is.
"""

import dataclasses
import json
import os
import shutil
from dataclasses import dataclass
from pathlib import Path
from typing import cast

import mlx.core as mx
import numpy as np

from mlx_rev import files
from mlx_rev.config import ModelConfig
from mlx_rev.errors import CheckpointError
from mlx_rev.formats.detect import CHECKPOINTS
from mlx_rev.formats.huggingface import WEIGHTS_FILE, read_folder, write_folder
from mlx_rev.formats.model_file import from_arrays
from mlx_rev.model.load import read_weights
from mlx_rev.text.codec import StoryCodec
from mlx_rev.train.optimizer import Arrays, Moments

_OPTIMIZER_FILE = "optimizer.safetensors"
_TRAINING_FILE = "training.json"


@dataclass(frozen=True)
class Progress:
    """Where a run stands, besides its arrays."""

    step: int = 0
    """Steps done."""
    losses: tuple[float, ...] = ()
    """Losses of the steps since the last log line."""
    best: float | None = None
    """Lowest validation bits per byte so far."""


@dataclass(frozen=True)
class TrainingState:
    """All that training changes."""

    weights: Arrays
    moments: Moments
    progress: Progress


def save(
    run: Path,
    config: ModelConfig,
    codec: StoryCodec,
    state: TrainingState,
    *,
    corpus_fingerprint: str,
    best: bool,
) -> Path:
    """Write the checkpoint of `state`, whole or not at all, and point `latest` at it.

    With `best`, `best` points at it too.
    """
    arrays = {name: np.array(weight, copy=False) for name, weight in state.weights.items()}
    model = from_arrays(str(run), config, arrays, codec.tokenizer, codec.reversal)
    folder = run / CHECKPOINTS / f"step-{state.progress.step:08d}"
    moments = {
        f"{kind}.{name}": array
        for kind, arrays in state.moments._asdict().items()
        for name, array in arrays.items()
    }
    with files.atomic_folder(folder) as temporary:
        write_folder(temporary, model, corpus_fingerprint=corpus_fingerprint)
        mx.save_safetensors(str(temporary / _OPTIMIZER_FILE), moments)
        checksums = {
            name: files.sha256_file(temporary / name) for name in (WEIGHTS_FILE, _OPTIMIZER_FILE)
        }
        described = {
            "progress": dataclasses.asdict(state.progress),
            "corpus_sha256": corpus_fingerprint,
            "sha256": checksums,
        }
        (temporary / _TRAINING_FILE).write_text(json.dumps(described, indent=1) + "\n")
    for link in ("latest", *(["best"] if best else [])):
        _point(run / CHECKPOINTS / link, folder)
    return folder


def load(run: Path, config: ModelConfig, *, corpus_fingerprint: str) -> TrainingState:
    """Read the run's latest checkpoint, its checksums verified.

    Raises CheckpointError where there is none, it is damaged, or its corpus or shape is another.
    """
    folder = run / CHECKPOINTS / "latest"
    if not folder.is_dir():
        raise CheckpointError(f"{run}: no checkpoint to go on from; train without --resume")
    folder = folder.resolve()
    try:
        described = json.loads(files.read_bytes(folder / _TRAINING_FILE))
        progress = Progress(
            step=described["progress"]["step"],
            losses=tuple(described["progress"]["losses"]),
            best=described["progress"]["best"],
        )
        for name, expected in described["sha256"].items():
            if files.sha256_file(folder / name) != expected:
                raise CheckpointError(_damaged(folder, f"{name} is not as it was written"))
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise CheckpointError(_damaged(folder, f"{_TRAINING_FILE} or a file it names")) from error
    if described["corpus_sha256"] not in ("", corpus_fingerprint):
        raise CheckpointError(
            f"{folder}: trained on a corpus with sha256 {described['corpus_sha256'][:12]}…, "
            f"the data now has {corpus_fingerprint[:12]}…; use the same --data, --valid and "
            "--reversal, or start a new run"
        )
    model = read_folder(folder)
    _check_shape(model.config, config, folder)
    weights = read_weights(model)
    arrays = cast(Arrays, mx.load(str(folder / _OPTIMIZER_FILE)))
    mean, square = (
        {name: arrays[f"{kind}.{name}"] for name in weights} for kind in Moments._fields
    )
    moments = Moments(mean, square)
    mx.eval(moments)
    return TrainingState(weights, moments, progress)


def remove_old(run: Path, keep: int) -> None:
    """Remove all but the `keep` newest checkpoints, the best, and unfinished leftovers."""
    root = run / CHECKPOINTS
    kept = {(root / link).resolve() for link in ("latest", "best")}
    folders = sorted(root.glob("step-*"))
    for folder in folders[: max(0, len(folders) - keep)]:
        if folder.resolve() not in kept:
            shutil.rmtree(folder)
    for leftover in root.glob(".step-*"):
        shutil.rmtree(leftover, ignore_errors=True)


def _check_shape(found: ModelConfig, wanted: ModelConfig, folder: Path) -> None:
    """Dropout alone may change while a model is trained."""
    before = dataclasses.asdict(dataclasses.replace(found, dropout=wanted.dropout))
    changed = [
        f"{name} {before[name]}, not {value}"
        for name, value in dataclasses.asdict(wanted).items()
        if value != before[name]
    ]
    if changed:
        raise CheckpointError(
            f"{folder}: its model has {', '.join(changed)}; leave that out, or start a new run"
        )


def _point(link: Path, folder: Path) -> None:
    temporary = link.with_name(f".{link.name}-new")
    temporary.unlink(missing_ok=True)
    temporary.symlink_to(folder.name)
    os.replace(temporary, link)
    files.sync_folder(link.parent)


def _damaged(folder: Path, what: str) -> str:
    return (
        f"{folder}: damaged ({what}); remove it and point {folder.parent / 'latest'} at an older "
        "checkpoint, or start a new run"
    )
