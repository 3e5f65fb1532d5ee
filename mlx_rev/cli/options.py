"""Options that several commands have, and where files go by default."""

import os
import sys
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import platformdirs
import tyro

from mlx_rev import backend, run_folder
from mlx_rev.cli.flags import parse
from mlx_rev.config import DataConfig, ReversalMode, SampleConfig
from mlx_rev.data.sources.standard_input import spooled
from mlx_rev.files import naming_cache
from mlx_rev.formats.detect import BUILT_IN, built_in_model
from mlx_rev.model.load import Loaded, load_model
from mlx_rev.text.order import BACKWARD_NAMES, order_named
from mlx_rev.ui.visible import one_line

MODEL, SAMPLING = (tyro.conf.arg(name=name) for name in ("model", "sampling"))
"""Titles in help, for options that stand together."""
RUNS = Path("runs")
"""Where training runs go, in the working directory."""


def cache_folder() -> Path:
    """Where corpora and token shards are kept: MLX_REV_CACHE, or the user's cache."""
    return Path(os.environ.get("MLX_REV_CACHE") or platformdirs.user_cache_dir("mlx-rev"))


def with_standard_input(data: DataConfig, cache: Path) -> DataConfig:
    """`data`, with a file in the cache in place of `--data -`. Raises RevError."""
    with naming_cache(cache):
        stream = sys.stdin.buffer if sys.stdin else None
        return replace(data, data=spooled(data.data, stream, cache))


def options_of_run(model: Path) -> Path | None:
    """The file with the options of the run that a model is, or is a checkpoint of."""
    run = run_folder.of_model(model)
    is_run = (run / run_folder.CONFIG).is_file() and (run / run_folder.CHECKPOINTS).is_dir()
    return run / run_folder.CONFIG if is_run else None


@dataclass(frozen=True, kw_only=True)
class ModelChoice:
    """Which model, and what its file does not say."""

    model: str | None = None
    """Run, checkpoint, model folder, .bin, .gguf or hf:owner/repo[/file]; by default stories9m."""
    tokenizer: Path | None = None
    """A SentencePiece .model, tokenizer.bin or tokenizer.json, if the model comes without one."""
    reversal: ReversalMode | None = None
    """How the model's text is reversed, if its file does not say; overrides what it says."""

    @property
    def reference(self) -> str:
        """The model as a person would name it: as given, or the built-in one's name."""
        return self.model or BUILT_IN.name

    def load(self) -> Loaded:
        """Load it. Says on standard error if the reversal had to be assumed. Raises RevError."""
        loaded = load_model(
            self.model or built_in_model(),
            tokenizer=self.tokenizer,
            order=order_named(self.reversal) if self.reversal else None,
            ops=backend.choose().ops,
        )
        if not loaded.says_reversal:
            say_not_reversed(self.reference)
        return loaded


def sample_settings(
    command: Any, arguments: Sequence[str], program: str, own: SampleConfig
) -> SampleConfig:
    """The settings of a command that was parsed from `arguments`, which has them as `sample`: those
    that were given and, of the others, a model's `own`."""
    if own != SampleConfig():
        command = parse(type(command), arguments, program, replace(command, sample=own))
    settings: SampleConfig = command.sample
    return settings


def say_not_reversed(reference: str) -> None:
    """Say on standard error that the reversal of a model had to be assumed."""
    sys.stderr.write(
        f"mlx-rev: {one_line(reference)} does not say how its text is reversed; assuming "
        f"that it is not (if it is, give --reversal {BACKWARD_NAMES})\n"
    )
