"""Every name inside a run folder, in one place.

RUN/
    config.toml                      the run's options
    tokenizer.model                  or tokenizer.json, by the tokenizer's kind
    metrics.jsonl, samples.md        what was measured and told
    loss.png
    .lock                            held while a process trains
    checkpoints/
        step-00000250/               a model folder, with optimizer.safetensors and training.json
        latest, best                 links to such folders

A run has begun when it has a checkpoint: `checkpoints` comes with the first one and with the links,
all at once. Before, whatever lies there is replaced by the next start; from then on the run is
resumed.
"""

from pathlib import Path

CONFIG = "config.toml"
METRICS = "metrics.jsonl"
SAMPLES = "samples.md"
LOSS_PICTURE = "loss.png"
LOCK = ".lock"
TOKENIZERS = ("tokenizer.model", "tokenizer.json")

CHECKPOINTS = "checkpoints"
LATEST = "latest"
BEST = "best"
STEPS = "step-*"
"""Matches the folder of every checkpoint; with a dot in front, what an unfinished one left."""
OPTIMIZER = "optimizer.safetensors"
TRAINING = "training.json"


def of_model(model: Path) -> Path:
    """The run folder that a checkpoint is in; any other model's path as it is."""
    place = model.absolute()
    # A person's own folder of runs may be called that, too.
    is_run = (place / CHECKPOINTS).is_dir()
    is_checkpoint = place.parent.name == CHECKPOINTS and place.exists() and not is_run
    return place.parent.parent if is_checkpoint else model


def runs(folder: Path) -> list[Path]:
    """The run folders in a folder, by their name."""
    return sorted(path.parent for path in folder.glob(f"*/{CONFIG}"))


def tokenizer(run: Path) -> Path | None:
    """The run's own tokenizer; None where a run has not begun."""
    found = [path for name in TOKENIZERS if (path := run / name).is_file()]
    return found[0] if found else None


def checkpoints(run: Path) -> list[Path]:
    """The folders of all checkpoints, by their step."""
    found = (run / CHECKPOINTS).glob(STEPS)
    return sorted(found, key=lambda folder: (len(folder.name), folder.name))


def latest(run: Path) -> Path | None:
    """The folder of the latest checkpoint, no link; None where a run has not begun."""
    link = run / CHECKPOINTS / LATEST
    if link.is_dir():
        return link.resolve()
    # An earlier version made the link after the folder, and may have been killed in between.
    whole = [folder for folder in checkpoints(run) if (folder / TRAINING).is_file()]
    return whole[-1] if whole else None


def checkpoint_name(step: int) -> str:
    """The folder of the checkpoint at a step."""
    return f"step-{step:08d}"


def step_of(checkpoint: Path) -> int:
    """The step of a checkpoint, which its folder is called after."""
    return int(checkpoint.name.rpartition("-")[2])
