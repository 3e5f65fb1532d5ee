"""Training as plain lines: for logs, pipes and screen readers."""

from threading import Lock

from rich.console import Console

from mlx_rev.train.events import (
    Doing,
    Evaluated,
    Event,
    Sampled,
    Saved,
    Started,
    Stepped,
    Stopped,
)
from mlx_rev.ui.durations import spoken
from mlx_rev.ui.outlook import Outlook
from mlx_rev.ui.training import Seen, closing


class PlainLog:
    """A view that writes a plain line for each event; the last step's story is the last thing said,
    so that it is what a reader finds."""

    def __init__(self, console: Console, ending: str, outlook: Outlook | None = None) -> None:
        self._console, self._ending, self._outlook = console, ending, outlook
        self._seen = Seen()
        self._stopped = False
        self._writing = Lock()

    def report(self, event: Event) -> None:
        """Write what happened."""
        self._seen.record(event)
        with self._writing:
            self._stopped |= isinstance(event, Stopped)
            for line in self._lines(event):
                self._console.print(line, soft_wrap=True)

    def step_begins(self) -> None:
        """Nothing is written for each step."""

    def stopping(self, how: str) -> None:
        """Write that the training stops, from whatever thread, unless it already has."""
        with self._writing:
            if not self._stopped:
                self._console.print(how, soft_wrap=True)

    def _lines(self, event: Event) -> list[str]:
        started = self._seen.started
        match event:
            case Started():
                return [
                    f"{event.run}: {event.parameters:,} parameters, steps {event.first_step} to "
                    f"{event.total_steps}, {event.tokens_per_step:,} tokens per step"
                ]
            case Stepped():
                total = started.total_steps if started else 0
                return [
                    f"step {event.step}/{total}  loss {event.loss:.4f}  "
                    f"rate {event.learning_rate:.2e}  norm {event.gradient_norm:.2f}  "
                    f"{event.tokens_per_second:,.0f} tok/s  {event.peak_memory / 1e6:,.0f} MB"
                    f"{self._left(event)}"
                ]
            case Doing():
                return []
            case Evaluated():
                best = "  best" if event.best else ""
                forward = event.forward_bits_per_byte
                also = "" if forward is None else f", {forward:.4f} forwards"
                return [
                    f"step {event.step}  validation {event.loss:.4f} nats per token  "
                    f"{event.bits_per_byte:.4f} bits per byte{also}{best}"
                ]
            case Sampled():
                last = started is not None and event.step == started.total_steps
                return [] if last else _told(event)
            case Saved():
                return [f"step {event.step}  saved {event.path}"]
            case Stopped():
                lines = closing(self._seen, event, self._ending, self._outlook)
                sample = self._seen.sample
                last = event.finished and sample is not None and sample.step == event.step
                return [*lines, *_told(sample)] if sample is not None and last else lines

    def _left(self, event: Stepped) -> str:
        """How long the steps that are left will take, as far as one can tell."""
        started, speed = self._seen.started, self._seen.tokens_per_second
        if started is None or not speed or event.step >= started.total_steps:
            return ""
        steps = started.total_steps - event.step
        return f"  {spoken(steps * started.tokens_per_step / speed)} left"


def _told(sample: Sampled) -> list[str]:
    return [f"step {sample.step}  story:", *(f"    {line}" for line in sample.story.splitlines())]
