"""Every name inside a run folder, in one place.

RUN/
    config.toml                      the run's options
    tokenizer.model
    metrics.jsonl, samples.md        what was measured and told
    loss.png
    .lock                            held while a process trains
    checkpoints/
        step-00000250/               a model folder, with optimizer.safetensors and training.json
        latest, best                 links to such folders
"""

CONFIG = "config.toml"
TOKENIZER = "tokenizer.model"
METRICS = "metrics.jsonl"
SAMPLES = "samples.md"
LOSS_PICTURE = "loss.png"
LOCK = ".lock"

CHECKPOINTS = "checkpoints"
LATEST = "latest"
BEST = "best"
STEPS = "step-*"
"""Matches the folder of every checkpoint; with a dot in front, what an unfinished one left."""
OPTIMIZER = "optimizer.safetensors"
TRAINING = "training.json"


def checkpoint_name(step: int) -> str:
    """The folder of the checkpoint at a step."""
    return f"step-{step:08d}"
