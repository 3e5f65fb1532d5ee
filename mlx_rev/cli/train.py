"""`mlx-rev train` and `python -m mlx_rev.train`: flags to a configuration, then fit."""

import argparse
import errno
import glob
import itertools
import os
import signal
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass, field, replace
from pathlib import Path
from types import FrameType

from mlx_rev import backend, files, run_folder
from mlx_rev.cli.options import RUNS, cache_folder, parse, say_not_reversed
from mlx_rev.cli.preparing import prepare_shown
from mlx_rev.config import (
    FORMER_NAMES,
    DataConfig,
    ModelConfig,
    RunConfig,
    SampleConfig,
    TrainConfig,
    validate_run,
)
from mlx_rev.config_file import read_toml, to_toml
from mlx_rev.data.prepare import Prepared
from mlx_rev.errors import (
    CheckpointError,
    ConfigError,
    FormatError,
    RevError,
    TrainingError,
    in_a_line,
)
from mlx_rev.formats.detect import open_model
from mlx_rev.formats.model_file import ModelFile
from mlx_rev.generate.decode import begin_stories, write_stories
from mlx_rev.model.llama import Llama
from mlx_rev.model.load import read_weights
from mlx_rev.presets import preset
from mlx_rev.run_folder import CONFIG, LOSS_PICTURE, METRICS
from mlx_rev.text.order import ASSUMED
from mlx_rev.text.tokenizer import Tokenizer
from mlx_rev.train import checkpoint
from mlx_rev.train.distributed import Nodes
from mlx_rev.train.events import Event, Saved, Started, Stopped
from mlx_rev.train.loop import StoryWriter, fit
from mlx_rev.train.watchdog import Parent, resuming
from mlx_rev.ui.console import make_console
from mlx_rev.ui.dashboard import reporter_for
from mlx_rev.ui.plots import loss_plot

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
    plain: bool = False
    """Plain lines instead of the dashboard."""
    patience: float = 600.0
    """Seconds without a step after which a run on several machines ends."""
    model: ModelConfig = field(default_factory=ModelConfig)
    data: DataConfig = field(default_factory=DataConfig)
    train: TrainConfig = field(default_factory=TrainConfig)


def main(arguments: Sequence[str], program: str) -> int:
    """Train as the flags say. Raises RevError."""
    command = parse_command(arguments, program)
    config = _config(command)
    if not command.patience > 0:
        raise ConfigError(f"patience is {command.patience}, expected more than 0")
    parent = Parent()
    if "MLX_RANK" in os.environ:
        parent.expect_steps(command.patience)
    nodes = Nodes()
    with ExitStack() as stack:
        # The run is held before the first look into it, so that what is seen there stays so.
        node = command.cache / f"node-{nodes.number}"
        run = _hold(command, stack) if nodes.first else node
        parent.has_run(run)
        if command.resume is not None:
            config = _config(parse_command(arguments, program))
        _train(command, config, run, nodes, parent)
    return 0


def _config(command: TrainCommand) -> RunConfig:
    """The run's configuration, checked."""
    config = RunConfig(model=command.model, data=command.data, train=command.train)
    validate_run(config)
    return replace(config, train=backend.choose().decided(config.train))


def _train(
    command: TrainCommand, config: RunConfig, run: Path, nodes: Nodes, parent: Parent
) -> None:
    console = make_console(plain=command.plain, quiet=not nodes.first)
    if command.resume is not None and nodes.first:
        _check_unfinished(run, config.train)
    initial, source = None, config.data
    if command.init_from is not None:
        given = _given_model(command.init_from, config.data)
        if given.order is None and config.data.reversal == ASSUMED.name:
            say_not_reversed(command.init_from)
        initial = read_weights(given)
        kept = _kept_tokenizer(given, command.cache)
        source = replace(source, tokenizer=str(kept))
        own = run / f"tokenizer{kept.suffix}"
        config = replace(config, data=replace(source, tokenizer=str(own)))
    data = prepare_shown(source, config.model.vocab_size, command.cache, console)
    with ExitStack() as stack:
        stack.enter_context(_saying_what_is_kept(run))
        reporter = stack.enter_context(
            reporter_for(console, ending=config.train.ending, plain=command.plain)
        )
        asked = stack.enter_context(_stop_on_signal())

        def should_stop() -> bool:
            parent.step_done()
            return asked()

        fit(
            run,
            config,
            data,
            _RunFolder(run, config, data.codec.tokenizer, reporter.report),
            resume=command.resume is not None,
            initial=initial,
            write_story=_story_writer(data, config.train.ending),
            should_stop=should_stop,
            nodes=nodes,
        )


def parse_command(arguments: Sequence[str], program: str) -> TrainCommand:
    """The command, its defaults taken from the preset, the TOML file or the run to resume."""
    first = argparse.ArgumentParser(add_help=False, allow_abbrev=False, exit_on_error=False)
    first.add_argument("--preset", default=None)
    first.add_argument("--config", type=Path)
    first.add_argument("--resume", type=Path)
    first.add_argument("--init-from")
    first.add_argument("--tokenizer")
    try:
        early, _ = first.parse_known_args(list(arguments))
    except argparse.ArgumentError as error:
        raise ConfigError(str(error)) from error
    base = preset(early.preset or "quick")
    if early.resume is not None:
        if early.preset or early.config:
            raise ConfigError(
                "--resume takes the run's own options; leave out --preset and --config"
            )
        base = read_toml(early.resume / CONFIG)
    elif early.config is not None:
        base = read_toml(early.config, base)
    if early.init_from is not None:
        if early.resume is not None:
            raise ConfigError("--resume takes the run's own weights; leave out --init-from")
        given = _given_model(early.init_from, replace(base.data, tokenizer=early.tokenizer))
        reversal, model = (given.order or ASSUMED).name, given.config
        if given.order is None:
            model = replace(model, context=min(model.context, _LONGEST_STORIES))
        base = replace(base, model=model, data=replace(base.data, reversal=reversal))
    default = TrainCommand(
        preset=early.preset or "quick",
        config=early.config,
        resume=early.resume,
        init_from=early.init_from,
        model=base.model,
        data=base.data,
        train=base.train,
    )
    return parse(TrainCommand, _renamed(arguments), program, default)


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


def _given_model(reference: str, data: DataConfig) -> ModelFile:
    """The model to begin with; --tokenizer helps one that has none."""
    return open_model(reference, tokenizer=Path(data.tokenizer) if data.tokenizer else None)


def _kept_tokenizer(given: ModelFile, cache: Path) -> Path:
    """A file of the model's own tokenizer, whatever it came in."""
    if given.tokenizer is None:
        raise FormatError(f"{given.source}: has no tokenizer; give it with --tokenizer")
    path = cache / "tokenizers" / f"{given.tokenizer.fingerprint[:32]}"
    path = path.with_suffix(Path(given.tokenizer.file_name).suffix)
    given.tokenizer.save(path)
    return path


def _hold(command: TrainCommand, stack: ExitStack) -> Path:
    """The run folder, held until the end of `stack`. Raises CheckpointError, or RevError where
    another process trains there."""
    if command.resume is not None:
        if command.out is not None:
            raise ConfigError("--resume names the run folder; leave out --out")
        stack.enter_context(files.lock(command.resume))
        return command.resume
    if command.out is not None:
        stack.enter_context(files.claim(command.out))
        checkpoint.check_new(command.out)
        return command.out
    name = f"{_name_of(command.data.data)}-{command.preset}"
    number = 1
    while True:
        run = RUNS / (name if number == 1 else f"{name}-{number}")
        with suppress(files.LockedError), ExitStack() as held:
            held.enter_context(files.claim(run))
            if run_folder.latest(run) is None:
                stack.push(held.pop_all())
                return run
        number += 1


def _name_of(data: str) -> str:
    """What a run on `data` is called: by the file or folder, or that which a glob looks in."""
    path = Path(data)
    if not path.exists() and glob.has_magic(data):
        plain = itertools.takewhile(lambda part: not glob.has_magic(part), path.parts)
        path = Path(*plain)
    return path.stem or path.resolve().stem or "stories"


def _check_unfinished(run: Path, config: TrainConfig) -> None:
    """Raise CheckpointError where there is nothing to train; then what a kill at the very end left
    undone is done first."""
    try:
        checkpoint.check_unfinished(run, config.steps)
    except CheckpointError:
        with suppress(RevError, OSError):
            checkpoint.remove_old(run, config.keep)
            loss_plot(run / METRICS, run / LOSS_PICTURE)
        raise


@contextmanager
def _saying_what_is_kept(run: Path) -> Iterator[None]:
    """To what the system refuses in the run folder, such as room on the disk, add how to resume."""
    try:
        yield
    except OSError as error:
        if error.filename is None:  # standard output's
            raise
        full = error.errno in (errno.ENOSPC, errno.EDQUOT)
        advice = f"make room, and then {resuming(run)}" if full else resuming(run)
        raise TrainingError(f"{in_a_line(error)}; {advice}") from error


def _story_writer(data: Prepared, ending: str) -> StoryWriter:
    def write(model: Llama, step: int) -> str:
        settings = SampleConfig(seed=step)
        stories = begin_stories(model, data.codec, [ending], settings)
        for _ in write_stories(model, data.codec, stories, settings):
            pass
        return stories[0].text

    return write


class _RunFolder:
    """Passes events on, and keeps in the run's folder what is no checkpoint and no record: its
    options and tokenizer from the moment it starts, not from one that is refused, and loss.png,
    drawn anew with every checkpoint."""

    def __init__(
        self,
        run: Path,
        config: RunConfig,
        tokenizer: Tokenizer,
        pass_on: Callable[[Event], None],
    ) -> None:
        self._run, self._config, self._tokenizer = run, config, tokenizer
        self._pass_on = pass_on

    def report(self, event: Event) -> None:
        """Write what `event` is the time for, and pass it on."""
        if isinstance(event, Started):
            self._tokenizer.save(self._run / self._tokenizer.file_name)
            files.write_text(self._run / CONFIG, to_toml(self._config))
        if isinstance(event, Saved | Stopped):
            loss_plot(self._run / METRICS, self._run / LOSS_PICTURE)
        self._pass_on(event)


@contextmanager
def _stop_on_signal() -> Iterator[Callable[[], bool]]:
    """Ctrl-C, SIGTERM and a closed terminal ask for a stop after the step; a second Ctrl-C
    interrupts at once."""
    asked = False
    terminals = [stream for stream in (1, 2) if os.isatty(stream)]

    def ask(number: int, frame: FrameType | None) -> None:
        nonlocal asked
        if asked and number == signal.SIGINT:
            raise KeyboardInterrupt
        asked = True
        if number == signal.SIGHUP:
            for stream in terminals:  # What is written to a closed one fails.
                os.dup2(os.open(os.devnull, os.O_WRONLY), stream)

    numbers = [signal.SIGINT, signal.SIGTERM]
    if signal.getsignal(signal.SIGHUP) is not signal.SIG_IGN:  # as nohup has it
        numbers.append(signal.SIGHUP)
    before = {number: signal.signal(number, ask) for number in numbers}
    try:
        yield lambda: asked
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
