"""A model in memory from a folder on disk."""

from dataclasses import dataclass
from pathlib import Path

import mlx.core as mx

from mlx_rev.errors import FormatError
from mlx_rev.formats.huggingface import CONFIG_FILE, read_folder
from mlx_rev.model.llama import Llama, Weights, get_weights, set_weights
from mlx_rev.text.codec import StoryCodec

CHECKPOINTS = "checkpoints"
"""The folder of a run's checkpoints; `best` and `latest` in it are links."""


@dataclass(frozen=True)
class Loaded:
    """A model and the codec it was trained with."""

    model: Llama
    codec: StoryCodec


def load_model(path: Path) -> Loaded:
    """Load a training run (its best checkpoint), a checkpoint or a model folder.

    Raises FormatError where there is none, or its weights do not fit its config.
    """
    folder = model_folder(path)
    content = read_folder(folder)
    model = Llama(content.config)
    check_weights(model, content.weights, folder)
    set_weights(model, content.weights)
    mx.eval(model.parameters())
    model.eval()
    return Loaded(model, content.codec)


def model_folder(path: Path) -> Path:
    """The folder with config.json that `path` stands for."""
    candidates = [path, *(path / CHECKPOINTS / name for name in ("best", "latest"))]
    for candidate in candidates:
        if (candidate / CONFIG_FILE).is_file():
            return candidate
    if not path.exists():
        raise FormatError(f"{path}: no such model; expected a training run or a model folder")
    raise FormatError(f"{path}: no model in it; expected config.json or {CHECKPOINTS}/best")


def check_weights(model: Llama, weights: Weights, source: Path) -> None:
    """Raise FormatError where names or shapes are not those that the model has."""
    expected = {name: array.shape for name, array in get_weights(model).items()}
    for name, shape in expected.items():
        if name not in weights:
            raise FormatError(f"{source}: {name} is missing")
        if weights[name].shape != shape:
            raise FormatError(f"{source}: {name} has shape {weights[name].shape}, expected {shape}")
    if extra := sorted(set(weights) - set(expected)):
        raise FormatError(f"{source}: holds {extra[0]}, which this model has not")
