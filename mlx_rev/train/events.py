"""What a training run reports, and to whom."""

from dataclasses import dataclass
from pathlib import Path
from typing import Protocol


@dataclass(frozen=True)
class Started:
    """The run begins, or resumes after `first_step` steps."""

    run: Path
    first_step: int
    total_steps: int
    parameters: int
    tokens_per_step: int


@dataclass(frozen=True)
class Stepped:
    """One line of the log: the mean loss of the steps since the last one."""

    step: int
    loss: float
    """Nats per token."""
    learning_rate: float
    gradient_norm: float
    """Global norm before clipping, at this step."""
    tokens_per_second: float
    peak_memory: int
    """Bytes that MLX held at most so far."""


@dataclass(frozen=True)
class Evaluated:
    """Held-out stories were scored."""

    step: int
    loss: float
    """Nats per token."""
    bits_per_byte: float
    best: bool
    """Whether this is the lowest so far; of two directions, their mean."""
    forward_bits_per_byte: float | None = None
    """Of a model that also reads forwards, when it does; the other figures are of backwards."""


@dataclass(frozen=True)
class Doing:
    """What takes a while begins, other than a step."""

    step: int
    what: str
    """In words, such as "saving a checkpoint"."""


@dataclass(frozen=True)
class Sampled:
    """The model wrote a story that ends with `ending`."""

    step: int
    ending: str
    story: str


@dataclass(frozen=True)
class Saved:
    """A checkpoint is complete on disk."""

    step: int
    path: Path


@dataclass(frozen=True)
class Stopped:
    """The run is over, or was asked to stop, after `step` steps; it is saved."""

    step: int
    run: Path
    finished: bool


Event = Started | Stepped | Doing | Evaluated | Sampled | Saved | Stopped


class Reporter(Protocol):
    """Whoever is told: a dashboard, a plain log, a test."""

    def report(self, event: Event) -> None:
        """Take note of `event`; called on the training thread."""
