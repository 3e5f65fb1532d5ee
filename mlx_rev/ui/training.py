"""What is known of a training from what it reported, and what is said when it ends."""

import shlex
import time
from dataclasses import dataclass, field
from pathlib import Path
from typing import Protocol

from mlx_rev.program import program
from mlx_rev.run_folder import METRICS
from mlx_rev.train.events import (
    Doing,
    Evaluated,
    Event,
    Reporter,
    Sampled,
    Started,
    Stepped,
    Stopped,
)
from mlx_rev.train.runlog import read_metrics
from mlx_rev.ui.durations import spoken
from mlx_rev.ui.outlook import Outlook

FIRST_STEP = "first step, which takes longest"
TRAINING = "training"
_COMPUTED_AT = 3
"""Beginnings of steps until the first step is known to be computed: one is looked at while the next
is worked on."""


class View(Reporter, Protocol):
    """Who shows a training."""

    def step_begins(self) -> None:
        """Another step begins; called on the training thread."""

    def stopping(self, how: str) -> None:
        """Say that the training was asked to stop; called on any thread."""


@dataclass
class Seen:
    """What was reported so far; of a run that is resumed, what its record says of it too."""

    started: Started | None = None
    step: int = 0
    doing: str = "starting"
    since: float = field(default_factory=time.monotonic)
    """When that began, by time.monotonic."""
    last: Stepped | None = None
    losses: list[tuple[int, float]] = field(default_factory=list)
    """(step, nats per token)."""
    validations: list[tuple[int, float]] = field(default_factory=list)
    """(step, bits per byte)."""
    forward: float | None = None
    """Bits per byte of a model's other direction."""
    sample: Sampled | None = None
    begun: float = field(default_factory=time.monotonic)
    _intervals: list[tuple[int, float]] = field(default_factory=list)
    """(tokens, seconds) between two lines of the log."""
    _beginnings: int = 0

    def record(self, event: Event) -> None:
        """Take note of an event."""
        match event:
            case Started():
                self.started, self.step, self.begun = event, event.first_step, time.monotonic()
                self.turn_to(FIRST_STEP)
                if event.first_step:
                    self._remember(event.run)
            case Stepped():
                steps = event.step - (self.last.step if self.last else self._first_step)
                tokens = steps * (self.started.tokens_per_step if self.started else 0)
                self._intervals.append((tokens, tokens / event.tokens_per_second))
                self.last, self.step = event, event.step
                self.losses.append((event.step, event.loss))
            case Evaluated():
                self.validations.append((event.step, event.bits_per_byte))
                self.forward = event.forward_bits_per_byte
            case Sampled():
                self.sample = event
            case Doing():
                self.turn_to(event.what)
            case _:
                self.step = max(self.step, event.step)

    def step_begins(self) -> None:
        """Take note that another step begins, after one is done."""
        self._beginnings += 1
        if self._beginnings > 1:
            self.step = self._first_step + self._beginnings - 1
        if self.doing == FIRST_STEP and self._beginnings < _COMPUTED_AT:
            return
        if self.doing != TRAINING:
            self.turn_to(TRAINING)

    def turn_to(self, doing: str) -> None:
        """Take note of what is being done from now on."""
        self.doing, self.since = doing, time.monotonic()

    @property
    def best(self) -> tuple[int, float] | None:
        """The step with the fewest bits per byte, and these."""
        return min(self.validations, key=lambda found: found[1], default=None)

    @property
    def tokens_per_second(self) -> float | None:
        """The mean while it trained, without evaluating, telling, saving and, where there is more
        to go by, the first interval, in which the step is compiled."""
        counted = self._intervals[1:] or self._intervals
        seconds = sum(seconds for _, seconds in counted)
        return sum(tokens for tokens, _ in counted) / seconds if seconds else None

    @property
    def _first_step(self) -> int:
        return self.started.first_step if self.started else 0

    def _remember(self, run: Path) -> None:
        """Read what the run recorded before it was resumed."""
        for entry in read_metrics(run / METRICS):
            if entry["kind"] == "step":
                self.losses.append((entry["step"], entry["loss"]))
            elif entry["kind"] == "eval":
                self.validations.append((entry["step"], entry["bits_per_byte"]))


def closing(seen: Seen, stopped: Stopped, ending: str, outlook: Outlook | None) -> list[str]:
    """What to say when a training ends: how it went, and what to type next."""
    done = "1 step" if stopped.step == 1 else f"{stopped.step:,} steps"
    went = [f"trained {done}" if stopped.finished else f"stopped after {done}"]
    went.append(f"{spoken(time.monotonic() - seen.begun)} this time")
    if (speed := seen.tokens_per_second) is not None:
        went.append(f"{speed:,.0f} tokens/s{outlook.share_of_peak(speed) if outlook else ''}")
    if seen.best is not None:
        step, bits = seen.best
        went.append(f"best {bits:.4f} bits per byte, at step {step:,}")
    return [", ".join(went), *hints(stopped.run, ending, finished=stopped.finished)]


def hints(run: Path, ending: str, *, finished: bool) -> list[str]:
    """What to do next: talk to the model, and resume a run that was stopped."""
    place, command = shlex.quote(str(run)), program()
    lines = [] if finished else [f"resume the run:      {command} train --resume {place}"]
    # The text is a corpus's: pasted into a shell, it must not be run.
    quoted = shlex.quote(ending) if set(ending) & set('"$`\\!') else f'"{ending}"'
    return [*lines, f"talk to the model:   {command} tell {quoted} --model {place}"]
