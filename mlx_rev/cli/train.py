"""`mlx-rev train` and `python -m mlx_rev.train`: flags to a configuration, then fit."""

import errno
import os
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager, nullcontext, suppress
from dataclasses import replace
from pathlib import Path

from rich.console import Console

from mlx_rev import backend, estimate, files, run_folder
from mlx_rev.cli.options import RUNS, say_not_reversed, with_standard_input
from mlx_rev.cli.stopping import stop_on_signal
from mlx_rev.cli.train_options import TrainCommand, given_model, parse_command
from mlx_rev.config import (
    DataConfig,
    RunConfig,
    SampleConfig,
    TrainConfig,
    validate_run,
)
from mlx_rev.config_file import EARLIER, read_toml, to_toml
from mlx_rev.data.meanwhile import Meanwhile
from mlx_rev.data.prepare import Prepared
from mlx_rev.data.sources.names import short_name
from mlx_rev.data.sources.standard_input import naming_standard_input, said
from mlx_rev.errors import (
    CheckpointError,
    ConfigError,
    FormatError,
    RevError,
    TrainingError,
    in_a_line,
)
from mlx_rev.formats.model_file import ModelFile
from mlx_rev.generate.decode import begin_stories, write_stories
from mlx_rev.model.llama import Llama, Weights
from mlx_rev.model.load import read_weights
from mlx_rev.run_folder import CONFIG, LOSS_PICTURE, METRICS
from mlx_rev.text.order import ASSUMED
from mlx_rev.text.tokenizer import Tokenizer
from mlx_rev.train import checkpoint
from mlx_rev.train.distributed import Nodes
from mlx_rev.train.events import Doing, Event, Saved, Started, Stopped
from mlx_rev.train.loop import StoryWriter, beginning, fit
from mlx_rev.train.rehearsal import matrix_speed, rehearse
from mlx_rev.train.watchdog import Parent, resuming
from mlx_rev.ui.console import is_interactive, make_console, say
from mlx_rev.ui.dashboard import Dashboard, view_for
from mlx_rev.ui.outlook import Outlook
from mlx_rev.ui.plots import loss_plot
from mlx_rev.ui.preparation import prepare_shown

_LONGEST_PATIENCE = 1e6
"""Seconds; the system cannot wait for as long as one likes."""
_PICTURE_SECONDS = 60.0
"""Least time between two drawings of loss.png while a run goes on."""


def main(arguments: Sequence[str], program: str) -> int:
    """Train as the flags say. Raises RevError."""
    command = parse_command(arguments, program)
    if not 0 < command.patience < _LONGEST_PATIENCE:
        raise ConfigError(
            f"patience is {command.patience}, expected more than 0 and under "
            f"{_LONGEST_PATIENCE:g} seconds"
        )
    parent = Parent()
    if "MLX_RANK" in os.environ:
        parent.expect_steps(command.patience)
    nodes = Nodes()
    parent.preparing()
    config = _config(command, nodes)
    with ExitStack() as stack:
        # The run is held before the first look into it, so that what is seen there stays so.
        node = command.cache / f"node-{nodes.number}"
        run = _hold(command, stack) if nodes.first else node
        parent.has_run(run)
        if command.resume is not None:
            config = _config(parse_command(arguments, program), nodes)
        else:
            config = replace(config, data=with_standard_input(config.data, command.cache))
        _train(command, config, run, nodes, parent)
    return 0


def _config(command: TrainCommand, nodes: Nodes) -> RunConfig:
    """The run's configuration, checked."""
    config = RunConfig(model=command.model, data=command.data, train=command.train)
    validate_run(config, nodes.count)
    return replace(config, train=backend.choose().decided(config.train, nodes.count))


def _train(
    command: TrainCommand, config: RunConfig, run: Path, nodes: Nodes, parent: Parent
) -> None:
    console = make_console(plain=command.plain, quiet=not nodes.first)
    if command.resume is not None and nodes.first:
        _check_unfinished(run, config.train)
    initial, source = None, config.data
    if command.init_from is not None:
        given = given_model(command.init_from, config.data)
        if given.order is None and config.data.reversal == ASSUMED.name:
            say_not_reversed(command.init_from)
        initial, kept = read_weights(given), _kept_tokenizer(given, command.cache)
        source = replace(source, tokenizer=str(kept))
        own = str(run / f"tokenizer{kept.suffix}")
        config = replace(config, data=replace(source, tokenizer=own))
    elif command.resume is not None:
        source = _with_own_tokenizer(source, command.resume)
    vocab_size, cache = config.model.vocab_size, command.cache
    # Nodes wait for one another, so none begins before it has all stories.
    early = config.train.packing == "shards" and nodes.count == 1
    data = prepare_shown(source, vocab_size, cache, console, early, parent.preparing)
    resumed = run if command.resume is not None else None
    outlook = _outlook(config, data, resumed, nodes)
    for line in outlook.lines():
        say(console, line)
    if command.check:
        if nodes.count == 1:
            _say_rehearsed(config, data, resumed, initial, outlook, console)
        return
    with ExitStack() as stack:
        stack.enter_context(_saying_what_is_kept(run))
        stack.enter_context(naming_standard_input(cache))
        rest = None if data.whole else Meanwhile(data, source, vocab_size, cache)
        more = stack.enter_context(rest).more if rest else None
        view = stack.enter_context(
            view_for(console, ending=config.train.ending, plain=command.plain, outlook=outlook)
        )
        if isinstance(view, Dashboard):
            parent.takes_screen()
        asked = stack.enter_context(stop_on_signal(view.stopping))

        def should_stop() -> bool:
            parent.step_done()
            return asked()

        fit(
            run,
            config,
            data,
            _RunFolder(run, config, data.codec.tokenizer, parent, view.report),
            resume=resumed is not None,
            initial=initial,
            write_story=_story_writer(data, config.train.ending),
            should_stop=should_stop,
            nodes=nodes,
            more=more,
            step_begins=view.step_begins,
        )
        left_out = said(rest.left_out, cache) if rest else ""
    if left_out:
        say(console, f"note: of the stories after the first shard, {left_out}")


def _say_rehearsed(
    config: RunConfig,
    data: Prepared,
    resumed: Path | None,
    initial: Weights | None,
    outlook: Outlook,
    console: Console,
) -> None:
    """Time some steps of a run, resumed or begun, and say what that promises."""
    if resumed is None:
        state = beginning(config, initial)
    else:
        corpus = data.corpus_fingerprint
        state = checkpoint.load(resumed, config, corpus_fingerprint=corpus)
    with console.status("timing some steps") if is_interactive(console) else nullcontext():
        rehearsal = rehearse(config, data, state, backend.choose())
    for line in outlook.rehearsed(rehearsal):
        say(console, line)


def _kept_tokenizer(given: ModelFile, cache: Path) -> Path:
    """A file of the model's own tokenizer, whatever it came in."""
    if given.tokenizer is None:
        raise FormatError(f"{given.source}: has no tokenizer; give it with --tokenizer")
    path = cache / "tokenizers" / f"{given.tokenizer.fingerprint[:32]}"
    path = path.with_suffix(Path(given.tokenizer.file_name).suffix)
    given.tokenizer.save(path)
    return path


def _with_own_tokenizer(data: DataConfig, run: Path) -> DataConfig:
    """What a run is trained on, with the tokenizer that it has, unless another one is given now.

    What is learnt from a corpus may be another vocabulary in another version of mlx-rev, and what
    was given when the run began may have changed or gone.
    """
    own = run_folder.tokenizer(run)
    is_given = data.tokenizer != read_toml(run / CONFIG, EARLIER).data.tokenizer
    return data if own is None or is_given else replace(data, tokenizer=str(own))


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
    name = f"{short_name(command.data.data)}-{command.preset}"
    number = 1
    while True:
        run = RUNS / (name if number == 1 else f"{name}-{number}")
        with suppress(files.LockedError), ExitStack() as held:
            held.enter_context(files.claim(run))
            if run_folder.latest(run) is None:
                stack.push(held.pop_all())
                return run
        number += 1


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


def _outlook(config: RunConfig, data: Prepared, resumed: Path | None, nodes: Nodes) -> Outlook:
    """What is known of a training before its first step."""
    model, train = config.model, config.train
    latest = run_folder.latest(resumed) if resumed else None
    return Outlook(
        parameters=estimate.parameters(model),
        corpus_tokens=sum(part.train.token_count for part in data.directions),
        corpus_is_whole=data.whole,
        steps=train.steps,
        first_step=run_folder.step_of(latest) if latest else 0,
        tokens_per_step=train.batch_size * train.accumulation * model.context,
        flops_per_token=estimate.training_flops(model),
        least_memory=estimate.training_bytes(model, train, nodes.count),
        machine_memory=estimate.machine_memory(),
        matrix_speed=matrix_speed(train.dtype),
    )


@contextmanager
def _saying_what_is_kept(run: Path) -> Iterator[None]:
    """Add how to resume to what the system refuses in the run folder, such as room on the disk, and
    to a stop at once."""
    try:
        yield
    except OSError as error:
        if error.filename is None:  # standard output's
            raise
        full = error.errno in (errno.ENOSPC, errno.EDQUOT)
        advice = f"make room, and then {resuming(run)}" if full else resuming(run)
        raise TrainingError(f"{in_a_line(error)}; {advice}") from error
    except KeyboardInterrupt:
        sys.stderr.write(f"stopped; {resuming(run)}\n")
        raise


def _story_writer(data: Prepared, ending: str) -> StoryWriter:
    def write(model: Llama, step: int) -> str:
        settings = SampleConfig(seed=step)
        stories = begin_stories(model, data.codec, [ending], settings)
        reader = backend.choose().reader(model)
        for _ in write_stories(model, data.codec, stories, settings, reader):
            pass
        return stories[0].text

    return write


class _RunFolder:
    """Passes events on, what takes a while to the parent as well, and keeps in the run's folder
    what is no checkpoint and no record: its options and tokenizer from the moment it starts, not
    from one that is refused, and loss.png, drawn anew at the end, and before with a checkpoint a
    minute: it takes as long as many steps of a small model."""

    def __init__(
        self,
        run: Path,
        config: RunConfig,
        tokenizer: Tokenizer,
        parent: Parent,
        pass_on: Callable[[Event], None],
    ) -> None:
        self._run, self._config, self._tokenizer = run, config, tokenizer
        self._parent, self._pass_on = parent, pass_on
        self._drawn = time.monotonic()

    def report(self, event: Event) -> None:
        """Write what `event` is the time for, and pass it on."""
        if isinstance(event, Doing):
            self._parent.doing(event.what)
        if isinstance(event, Started):
            self._tokenizer.save(self._run / self._tokenizer.file_name)
            files.write_text(self._run / CONFIG, to_toml(self._config))
        due = isinstance(event, Saved) and time.monotonic() - self._drawn > _PICTURE_SECONDS
        if due or isinstance(event, Stopped):
            self._drawn = time.monotonic()
            loss_plot(self._run / METRICS, self._run / LOSS_PICTURE)
        self._pass_on(event)
