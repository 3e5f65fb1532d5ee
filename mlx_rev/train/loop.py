"""Fit a model to prepared stories. Prints nothing: it reports events."""

import time
from collections.abc import Callable
from contextlib import closing
from dataclasses import dataclass, replace
from pathlib import Path

import mlx.core as mx
import numpy as np

from mlx_rev.backend import Backend, choose
from mlx_rev.config import RunConfig, validate_run
from mlx_rev.data.batches import Batches
from mlx_rev.data.prepare import Prepared
from mlx_rev.data.rows import More
from mlx_rev.data.shard_set import ShardSet
from mlx_rev.errors import DataError, RevError, TrainingError
from mlx_rev.model.llama import Llama, Weights, check_weights, get_weights, initialise, set_weights
from mlx_rev.model.score import Score, score_stories
from mlx_rev.train import checkpoint, optimizer
from mlx_rev.train.checkpoint import Progress, TrainingState
from mlx_rev.train.distributed import Nodes
from mlx_rev.train.events import (
    Doing,
    Evaluated,
    Event,
    Reporter,
    Sampled,
    Saved,
    Started,
    Stepped,
    Stopped,
)
from mlx_rev.train.optimizer import Moments
from mlx_rev.train.runlog import LARGEST, RunLog
from mlx_rev.train.step import TrainingStep

_MOMENT = 0.1
"""Seconds between two looks whether there are more stories."""

StoryWriter = Callable[[Llama, int], str]
"""Writes a sample story with a model; the number is the step, for a seed."""


@dataclass
class _Interval:
    """What happened since the last log line."""

    losses: list[float]
    seconds: float = 0.0
    steps: int = 0
    """Steps timed; fewer than the losses after a resume."""


def fit(
    run: Path,
    config: RunConfig,
    data: Prepared,
    reporter: Reporter,
    *,
    resume: bool = False,
    initial: Weights | None = None,
    write_story: StoryWriter | None = None,
    should_stop: Callable[[], bool] = lambda: False,
    nodes: Nodes | None = None,
    backend: Backend | None = None,
    more: More | None = None,
    step_begins: Callable[[], None] = lambda: None,
) -> Stopped:
    """Train until `config.train.steps`, or until `should_stop` after some step.

    `run` gets metrics.jsonl, samples.md and checkpoints. With `resume` it is gone on with from its
    latest checkpoint, to the bit as if it had never stopped; with `initial` a new one begins with
    these weights, which it takes out of the dictionary, in place of what lies there from one that
    came to no checkpoint. Of several `nodes`, the first alone reports and writes; its process must
    hold `run` (files.lock). Raises ConfigError, CheckpointError, and TrainingError when a loss,
    weight or moment is not finite or a node is lost; the last checkpoint is then still good. `more`
    gives the shards after those of `data`, if these are not all; DataError, after a checkpoint,
    where they will not come.
    """
    nodes, backend = nodes or Nodes(), backend or choose()
    validate_run(config, nodes.count)
    config = replace(config, train=backend.decided(config.train, nodes.count))
    backend.prepare(config.train.workers)
    check_same(config, data, nodes)
    log = RunLog(run) if nodes.first else None
    reporters = [] if log is None else [log, reporter]
    state = _state(run, config, data, log, nodes, resume=resume, initial=initial)
    training = _Training(run, config, data, state, reporters, nodes, backend, more)
    if resume:
        training.saved_step = state.progress.step
    state.let_go()
    with closing(training):
        training.start()
        try:
            while training.step < config.train.steps and not nodes.any(should_stop()):
                if not training.waits():
                    step_begins()
                    training.advance()
                    training.after_step(write_story)
        except RuntimeError as error:
            if nodes.count == 1:
                raise
            raise TrainingError(
                f"another node was lost in step {training.step}; start all of them again with "
                "--resume, from the last checkpoint"
            ) from error
        return training.stop()


def check_same(config: RunConfig, data: Prepared, nodes: Nodes) -> None:
    """Raise ConfigError, on all nodes, where they would not train the same in the same way."""
    options = replace(config.train, workers=0)
    nodes.check_same(
        "options, corpora or tokenizers",
        f"{config.model} {options} {data.corpus_fingerprint} {data.codec.tokenizer.fingerprint}",
    )
    nodes.check_same(
        "numbers of workers (by default, one per core)",
        str(config.train.workers),
        "the same --workers",
    )


def _state(
    run: Path,
    config: RunConfig,
    data: Prepared,
    log: RunLog | None,
    nodes: Nodes,
    *,
    resume: bool,
    initial: Weights | None,
) -> TrainingState:
    """What training goes on from, on every node; the first one's `log` begins there."""
    if resume and log is not None:
        state = checkpoint.load(run, config, corpus_fingerprint=data.corpus_fingerprint)
        log.rewind(state.progress.step)
    else:
        if log is not None:
            checkpoint.check_new(run)
            log.begin()
        state = beginning(config, initial)
    return _shared(state, nodes)


def beginning(config: RunConfig, initial: Weights | None = None) -> TrainingState:
    """What a run begins with: drawn weights, or the initial ones."""
    train, model = config.train, Llama(config.model)
    initialise(model, train.seed, train.init_std, train.embedding_init_std)
    if initial is not None:
        check_weights(model, initial)
    weights = initial if initial is not None else get_weights(model)
    return TrainingState(weights, optimizer.initial_moments(weights, train), Progress())


def _shared(state: TrainingState, nodes: Nodes) -> TrainingState:
    """The first node's state, on every node."""
    moments = Moments(*(nodes.share(moment) for moment in state.moments))
    step = nodes.share({"step": mx.array(state.progress.step)})["step"]
    progress = replace(state.progress, step=int(step))
    return TrainingState(nodes.share(state.weights), moments, progress)


class _Training:
    """A run in progress: the state, and what is done with it at which step."""

    def __init__(
        self,
        run: Path,
        config: RunConfig,
        data: Prepared,
        state: TrainingState,
        reporters: list[Reporter],
        nodes: Nodes,
        backend: Backend,
        more: More | None,
    ) -> None:
        self._run, self._config, self._data = run, config, data
        self._progress, self._reporters, self._nodes = state.progress, reporters, nodes
        self._backend = backend
        train = config.train
        self._batches = Batches(
            [part.train for part in data.directions],
            context=config.model.context,
            batch_size=train.batch_size,
            accumulation=train.accumulation,
            seed=train.seed,
            packing=train.packing,
            more=more,
        )
        self._waiting = False
        self._do_step = TrainingStep(
            config.model, train, state.weights, state.moments, nodes, backend
        )
        self._interval = _Interval(list(state.progress.losses))
        self._unsettled: list[tuple[int, mx.array]] = []
        self._norm = mx.array(0.0)
        self._sound_step: int | None = None
        """The last step whose state was found to be sound."""
        self.saved_step: int | None = None
        """Of the last checkpoint, if there is one."""

    @property
    def step(self) -> int:
        """Steps done."""
        return self._progress.step

    def start(self) -> None:
        """Report what is about to happen."""
        train = self._config.train
        self._report(
            Started(
                run=self._run,
                first_step=self.step,
                total_steps=train.steps,
                parameters=sum(weight.size for weight in self._do_step.weights.values()),
                tokens_per_step=train.batch_size * train.accumulation * self._config.model.context,
            )
        )

    def waits(self) -> bool:
        """Whether the stories of the next step are still being made, after a moment if they are.
        Raises DataError where they will not come."""
        try:
            waiting = not self._batches.has(self.step)
        except RevError as error:
            if self.saved_step != self.step:
                self._save(best=False)
            raise DataError(
                f"{error}; step {self.step} is saved: put that right, and go on with --resume"
            ) from error
        if waiting:
            if not self._waiting:
                self._report(Doing(self.step, "waiting for more stories"))
            time.sleep(_MOMENT)
        self._waiting = waiting
        return waiting

    def advance(self) -> None:
        """Do one step; while the device works on it, the loss of the one before is looked at."""
        begin = time.perf_counter()
        batch = self._batches.batch_at(self.step)
        loss, self._norm = self._do_step(self.step, batch)
        mx.async_eval(self._do_step.weights, self._do_step.moments, loss, self._norm)
        self._settle()
        self._unsettled.append((self.step + 1, loss))
        self._progress = replace(self._progress, step=self.step + 1)
        if self._due(self._config.train.log_every):
            self._settle()
        self._interval.seconds += time.perf_counter() - begin
        self._interval.steps += 1

    def after_step(self, write_story: StoryWriter | None) -> None:
        """Log, evaluate, sample and save where this step is one for it."""
        train = self._config.train
        last = self.step == train.steps
        if self._due(train.log_every):
            self._log()
        if not self._nodes.first:
            return
        best = False
        if last or self._due(train.eval_every):
            best = self._evaluate()
        if write_story and (last or self._due(train.sample_every)):
            self._report(Doing(self.step, "telling a story"))
            story = write_story(self._model(), self.step)
            self._report(Sampled(self.step, train.ending, story))
        if best or self._due(train.save_every):
            self._save(best=best)

    def stop(self) -> Stopped:
        """Save if that is not done, and report the end."""
        if self._nodes.first and self.saved_step != self.step:
            self._save(best=False)
        stopped = Stopped(self.step, self._run, finished=self.step >= self._config.train.steps)
        self._report(stopped)
        return stopped

    def close(self) -> None:
        """End what runs beside this thread."""
        self._do_step.close()

    def _model(self) -> Llama:
        """The model as it is now. Nobody keeps it, so that a step can use its weights' memory for
        the new ones."""
        self._check_sound()
        return self._unchecked_model()

    def _unchecked_model(self) -> Llama:
        model = Llama(self._config.model, self._backend.ops)
        set_weights(model, self._do_step.weights)
        return model

    def _check_sound(self) -> None:
        """Raise TrainingError where the state is none to save, evaluate or sample: the losses say
        only what the weights were before the last update."""
        self._settle()
        if self._sound_step == self.step:
            return
        arrays = [*self._do_step.weights.values()]
        arrays += [moment for kind in self._do_step.moments for moment in kind.values()]
        if not all(mx.isfinite(array).all().item() for array in arrays):
            raise TrainingError(
                self._unusable(f"step {self.step} left weights or moments that are not finite")
            )
        probe = evaluate(self._unchecked_model(), self._data.valid, 1).nats_per_token
        if not abs(probe) < LARGEST:
            raise TrainingError(self._unusable(f"the loss after step {self.step} is {probe}"))
        self._sound_step = self.step

    def _due(self, every: int) -> bool:
        return self.step % every == 0

    def _settle(self) -> None:
        """Wait for the losses that are still being computed. Raises TrainingError."""
        for step, loss in self._unsettled:
            value = _number(loss)
            if not abs(value) < LARGEST:  # or NaN
                raise TrainingError(self._unusable(f"the loss of step {step} is {value}"))
            self._interval.losses.append(value)
        self._unsettled = []

    def _unusable(self, found: str) -> str:
        if self.saved_step is None:
            return (
                f"{found}, and no checkpoint was saved before; start again with a lower "
                "--learning-rate or --gradient-clip"
            )
        return (
            f"{found}; the checkpoint of step {self.saved_step} is kept. Lower --learning-rate or "
            "--gradient-clip, and resume from there with --resume"
        )

    def _log(self) -> None:
        interval, train = self._interval, self._config.train
        tokens = train.batch_size * train.accumulation * self._config.model.context
        self._report(
            Stepped(
                step=self.step,
                loss=sum(interval.losses) / len(interval.losses),
                learning_rate=optimizer.learning_rate(self.step - 1, train),
                gradient_norm=_number(self._norm),
                tokens_per_second=interval.steps * tokens / interval.seconds,
                peak_memory=mx.get_peak_memory(),
            )
        )
        self._interval = _Interval([])

    def _evaluate(self) -> bool:
        self._report(Doing(self.step, "evaluating on held-out stories"))
        scores = [self._scored(part.valid) for part in self._data.directions]
        score, forward = scores[0], scores[1].bits_per_byte if len(scores) > 1 else None
        mean = sum(part.bits_per_byte for part in scores) / len(scores)
        best = self._progress.best is None or mean < self._progress.best
        if best:
            self._progress = replace(self._progress, best=mean)
        self._report(Evaluated(self.step, score.nats_per_token, score.bits_per_byte, best, forward))
        return best

    def _scored(self, stories: ShardSet) -> Score:
        score = evaluate(self._model(), stories, self._config.train.eval_stories)
        if not abs(score.nats_per_token) < LARGEST:
            loss = f"the validation loss after step {self.step} is {score.nats_per_token}"
            raise TrainingError(self._unusable(loss))
        return score

    def _save(self, *, best: bool) -> None:
        self._report(Doing(self.step, "saving a checkpoint"))
        self._check_sound()
        self._progress = replace(self._progress, losses=tuple(self._interval.losses))
        state = TrainingState(self._do_step.weights, self._do_step.moments, self._progress)
        folder = checkpoint.save(
            self._run,
            self._config.model,
            self._data.codec,
            state,
            corpus_fingerprint=self._data.corpus_fingerprint,
            best=best,
        )
        self.saved_step = self.step
        checkpoint.remove_old(self._run, self._config.train.keep)
        self._report(Saved(self.step, folder))

    def _report(self, event: Event) -> None:
        for reporter in self._reporters:
            reporter.report(event)


def _number(scalar: mx.array) -> float:
    return float(np.array(scalar))


def evaluate(model: Llama, shards: ShardSet, stories: int) -> Score:
    """Score the first `stories` stories (0: all of them)."""
    count = min(stories, shards.story_count) if stories else shards.story_count
    sequences = [shards.story(index) for index in range(count)]
    return score_stories(model, sequences, int(shards.text_bytes[:count].sum()))
