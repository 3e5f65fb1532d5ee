"""A run that stands at step 0 with the weights of a model that came from elsewhere."""

import shlex
from pathlib import Path

from mlx_rev import files
from mlx_rev.config import DataConfig, RunConfig, TrainConfig
from mlx_rev.config_file import to_toml
from mlx_rev.errors import FormatError
from mlx_rev.formats.convert import Conversion, Dtype, describe
from mlx_rev.formats.huggingface import TOKENIZER_FILE
from mlx_rev.formats.model_file import ModelFile
from mlx_rev.model.load import read_weights
from mlx_rev.text.codec import StoryCodec
from mlx_rev.text.order import ASSUMED
from mlx_rev.train import checkpoint
from mlx_rev.train.checkpoint import Progress, TrainingState
from mlx_rev.train.optimizer import initial_moments

CONFIG_FILE = "config.toml"
"""A run's options, in its folder."""


def write_run(model: ModelFile, run: Path) -> Conversion:
    """Make the run folder, whole or not at all, to be gone on with by `train --resume`.

    Raises FormatError where it exists, or the model has no tokenizer.
    """
    if model.tokenizer is None:
        raise FormatError(f"{model.source}: has no tokenizer, which training needs; --tokenizer")
    if run.exists() or run.is_symlink():
        raise FormatError(f"{run}: exists, and a run is not replaced; choose another name")
    order = model.order or ASSUMED
    weights = read_weights(model)
    state = TrainingState(weights, initial_moments(weights), Progress())
    codec = StoryCodec(model.tokenizer, order)
    data = DataConfig(reversal=order.name, tokenizer=str(run / TOKENIZER_FILE))
    config = RunConfig(model=model.config, data=data, train=TrainConfig())
    with files.atomic_folder(run) as made:
        saved = checkpoint.save(made, model.config, codec, state, corpus_fingerprint="", best=False)
        model.tokenizer.save(made / TOKENIZER_FILE)
        files.write_text(made / CONFIG_FILE, to_toml(config))
        written = [made / CONFIG_FILE, made / TOKENIZER_FILE, *sorted(saved.iterdir())]
    moved = [run / path.relative_to(made) for path in written]
    going_on = f"mlx-rev train --resume {shlex.quote(str(run))} --data … --steps …"
    return describe(model, run, moved, "run", Dtype.FLOAT32, going_on)
