"""Checkpoints: folders that mlx-lm can load, with what is needed to resume to the bit.

    RUN/checkpoints/step-00000250/   config.json, model.safetensors, tokenizer files,
                                     optimizer.safetensors, training.json
    RUN/checkpoints/latest, best     links to such folders

Batch order and dropout are functions of seed and step, so the step number is all the loader
state there is.
"""

import dataclasses
import shlex
import shutil
from dataclasses import dataclass
from pathlib import Path
from typing import cast

import mlx.core as mx
import numpy as np

from mlx_rev import files, run_folder
from mlx_rev.config import ModelConfig, RunConfig
from mlx_rev.config_checks import LARGEST_COUNT
from mlx_rev.errors import CheckpointError, FormatError
from mlx_rev.fields import Fields, read_json
from mlx_rev.formats.huggingface import WEIGHTS_FILE, read_folder
from mlx_rev.formats.model_file import from_arrays
from mlx_rev.formats.run import write_checkpoint
from mlx_rev.model.load import read_weights
from mlx_rev.run_folder import BEST, CHECKPOINTS, LATEST, OPTIMIZER, STEPS, TRAINING
from mlx_rev.text.codec import StoryCodec
from mlx_rev.train.optimizer import Arrays, Moments, initial_moments


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

    def let_go(self) -> None:
        """Forget the arrays, so that a step that has them can use their memory, whoever else holds
        this or its dictionaries."""
        for arrays in (self.weights, *self.moments):
            arrays.clear()


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
    model = from_arrays(str(run), config, arrays, codec.tokenizer, codec.order)
    moments = (  # in an order of their own: a resumed run holds them in another
        (f"{kind}.{name}", np.array(arrays[name], copy=False))
        for kind, arrays in state.moments._asdict().items()
        for name in model.shapes
        if name in arrays
    )
    return write_checkpoint(
        run,
        model,
        moments,
        dataclasses.asdict(state.progress),
        corpus_fingerprint=corpus_fingerprint,
        best=best,
    )


def load(run: Path, config: RunConfig, *, corpus_fingerprint: str) -> TrainingState:
    """Read the run's latest checkpoint, its checksums verified.

    Raises CheckpointError where there is none, it is damaged, its corpus or shape is another, or
    it lacks moments of the optimiser.
    """
    folder = _latest(run)
    described = _described(folder)
    for name in (WEIGHTS_FILE, OPTIMIZER):
        try:
            found = files.sha256_file(folder / name)
        except OSError as error:
            raise CheckpointError(_damaged(folder, f"{name}: {error.strerror}")) from error
        if found != described.sha256[name]:
            raise CheckpointError(_damaged(folder, f"{name} is not as it was written"))
    if described.corpus_sha256 not in ("", corpus_fingerprint):
        raise CheckpointError(
            f"{folder}: trained on a corpus with sha256 {described.corpus_sha256[:12]}…, "
            f"the data now has {corpus_fingerprint[:12]}…; use the same --data, --valid and "
            "--reversal, or start a new run"
        )
    model = read_folder(folder)
    _check_shape(model.config, config.model, folder)
    weights = read_weights(model)
    arrays = cast(Arrays, mx.load(str(folder / OPTIMIZER)))
    moments = _moments(arrays, initial_moments(weights, config.train), folder)
    mx.eval(moments)
    return TrainingState(weights, moments, described.progress)


def _moments(arrays: Arrays, wanted: Moments, folder: Path) -> Moments:
    """The moments of a checkpoint that a run wants; others are left."""
    try:
        mean, square = (
            {name: arrays[f"{kind}.{name}"] for name in moment}
            for kind, moment in wanted._asdict().items()
        )
    except KeyError:
        raise CheckpointError(
            f"{folder}: was trained by Muon, without the mean squares that AdamW needs; leave out "
            "--optimizer, or start a new run from its weights with --init-from"
        ) from None
    return Moments(mean, square)


def check_new(run: Path) -> None:
    """Raise CheckpointError where the run has begun already."""
    if run_folder.latest(run) is not None:
        raise CheckpointError(
            f"{run}: has a run already; resume it with --resume {shlex.quote(str(run))}, or choose "
            "another --out"
        )


def check_unfinished(run: Path, steps: int) -> None:
    """Raise CheckpointError where the run's latest checkpoint has `steps` steps or more."""
    done = _described(_latest(run)).progress.step
    if done >= steps:
        raise CheckpointError(
            f"{run}: already finished, at step {done} of {steps}; to train further, give --steps "
            f"over {done}"
        )


@dataclass(frozen=True)
class _Described:
    """What training.json says."""

    progress: Progress
    corpus_sha256: str
    sha256: dict[str, str]
    """By file name."""


def _latest(run: Path) -> Path:
    folder = run_folder.latest(run)
    if folder is None:
        raise CheckpointError(
            f"{run}: no checkpoint to resume from; start it again with the command that began it"
        )
    return folder


def _described(folder: Path) -> _Described:
    """The training.json of a checkpoint. Raises CheckpointError where any of it is wrong."""
    try:
        described = read_json(folder / TRAINING)
        progress = described.object("progress")
        sums = described.object("sha256")
        step = progress.integer("step")
        if not 0 <= step < LARGEST_COUNT:
            raise progress.error("step", "0 or more, and under 2^53")
        listed = enumerate(progress.list("losses"))
        losses = Fields({str(place): loss for place, loss in listed}, f"{progress.source}: losses")
        return _Described(
            Progress(
                step=step,
                losses=tuple(losses.number(place) for place in losses.values),
                best=progress.number("best") if progress.has("best") else None,
            ),
            described.text("corpus_sha256"),
            {name: sums.text(name) for name in (WEIGHTS_FILE, OPTIMIZER)},
        )
    except FormatError as error:
        raise CheckpointError(_damaged(folder, str(error))) from error


def remove_old(run: Path, keep: int) -> None:
    """Remove all but the `keep` newest checkpoints, the best, and what dead processes left; the
    run must be held."""
    root = run / CHECKPOINTS
    kept = {(root / link).resolve() for link in (LATEST, BEST)}
    folders = run_folder.checkpoints(run)
    for folder in folders[: max(0, len(folders) - keep)]:
        if folder.resolve() not in kept:
            files.remove_folder(folder)
    for leftover in root.glob(f".{STEPS}"):  # from an earlier version
        shutil.rmtree(leftover, ignore_errors=True)
    for place in (run, root):
        files.remove_leftovers(place)


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


def _damaged(folder: Path, what: str) -> str:
    return (
        f"{folder}: damaged ({what}); remove it and point {folder.parent / LATEST} at an older "
        "checkpoint, or start a new run"
    )
