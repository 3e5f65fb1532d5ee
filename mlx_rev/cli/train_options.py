"""The options of `mlx-rev train`, whose defaults come from a preset, a TOML file or a run."""

import argparse
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Annotated

import tyro

from mlx_rev import backend, run_folder
from mlx_rev.cli.flags import parse
from mlx_rev.cli.options import RUNS, cache_folder
from mlx_rev.config import DataConfig, ModelConfig, TrainConfig
from mlx_rev.config_file import EARLIER, FORMER_NAMES, read_toml
from mlx_rev.errors import ConfigError, RevError
from mlx_rev.formats.detect import open_model
from mlx_rev.formats.model_file import ModelFile
from mlx_rev.presets import preset
from mlx_rev.text.order import ASSUMED

_LONGEST_STORIES = 512
"""The context that is trained of a model by others, which may have a hundred thousand positions."""


@dataclass(frozen=True, kw_only=True)
class TrainCommand:
    """Train a model on reversed stories, or resume a run.

    Options come from --preset, then --config, then the other flags.
    """

    preset: str = "quick"
    """quick, 260k, 15m, 42m or 110m: a size with its recipe."""
    config: Path | None = None
    """TOML with tables [model], [data] and [train]."""
    out: Path | None = None
    """Run folder; by default a new one in runs/."""
    resume: Path | None = None
    """Run folder to resume."""
    init_from: str | None = None
    """Begin with the weights of a model, of any format; its shape, tokenizer and reversal too
    (by others: 512 tokens of its context)."""
    cache: Path = field(default_factory=cache_folder)
    """Where corpora and token shards are kept."""
    check: bool = False
    """Say what the training will take, and stop before the first step."""
    plain: bool = False
    """Plain lines instead of the dashboard."""
    patience: float = 600.0
    """Seconds without a step, or without progress before the first one, after which a run on
    several machines ends."""
    model: ModelConfig = field(default_factory=ModelConfig)
    data: DataConfig = field(default_factory=DataConfig)
    train: Annotated[TrainConfig, tyro.conf.arg(name="training")] = field(
        default_factory=TrainConfig
    )


def parse_command(arguments: Sequence[str], program: str) -> TrainCommand:
    """The command, its defaults taken from the preset, the TOML file or the run to resume. Raises
    ConfigError, which names flags that make no sense as well as what the defaults lack."""
    problems, default = [], TrainCommand()
    try:
        default = _default(arguments)
    except RevError as error:
        problems.append(str(error))
    try:
        command = parse(TrainCommand, _renamed(arguments), program, default)
    except ConfigError as error:
        problems.append(str(error))
    if problems:
        raise ConfigError("; ".join(problems))
    return command


def _default(arguments: Sequence[str]) -> TrainCommand:
    """What options are that are not given. Raises RevError."""
    first = argparse.ArgumentParser(add_help=False, allow_abbrev=False, exit_on_error=False)
    first.add_argument("--preset")
    first.add_argument("--config", type=Path)
    first.add_argument("--resume", type=Path)
    first.add_argument("--init-from")
    first.add_argument("--tokenizer")
    try:
        early, _ = first.parse_known_args(list(arguments))
    except argparse.ArgumentError:  # a value is missing, as will be said of all flags
        return TrainCommand()
    base = preset(early.preset or "quick")
    if early.resume is not None:
        if early.preset or early.config:
            raise ConfigError(
                "--resume takes the run's own options; leave out --preset and --config"
            )
        check_run(early.resume, f"--resume {early.resume}")
        base = read_toml(early.resume / run_folder.CONFIG, EARLIER)
        base = replace(base, train=backend.choose().carried_on(base.train))
    elif early.config is not None:
        base = read_toml(early.config, base)
    if early.init_from is not None:
        if early.resume is not None:
            raise ConfigError("--resume takes the run's own weights; leave out --init-from")
        given = given_model(early.init_from, replace(base.data, tokenizer=early.tokenizer))
        reversal, model = (given.order or ASSUMED).name, given.config
        if given.order is None:
            model = replace(model, context=min(model.context, _LONGEST_STORIES))
        base = replace(base, model=model, data=replace(base.data, reversal=reversal))
    return TrainCommand(
        preset=early.preset or "quick",
        config=early.config,
        resume=early.resume,
        init_from=early.init_from,
        model=base.model,
        data=base.data,
        train=base.train,
    )


def check_run(run: Path, named: str) -> None:
    """Raise ConfigError, which says what runs there are, where `run` is none; it was `named`."""
    if (run / run_folder.CONFIG).exists():
        return
    known = run_folder.runs(RUNS)
    there = f"there are {', '.join(map(str, known))}" if known else f"nor is there one in {RUNS}"
    raise ConfigError(f"{named}: no training run (it has no {run_folder.CONFIG}); {there}")


def _renamed(arguments: Sequence[str]) -> list[str]:
    """The arguments, with the names that options have now."""
    flags = {_flag(old): _flag(new) for old, new in FORMER_NAMES.items()}
    found = []
    for argument in arguments:
        flag, equals, value = argument.partition("=")
        found.append(flags.get(flag, flag) + equals + value)
    return found


def _flag(name: str) -> str:
    return "--" + name.replace("_", "-")


def given_model(reference: str, data: DataConfig) -> ModelFile:
    """The model to begin with; --tokenizer helps one that has none."""
    return open_model(reference, tokenizer=Path(data.tokenizer) if data.tokenizer else None)
