"""What a training will take, said before its first step."""

from dataclasses import dataclass
from typing import TYPE_CHECKING

from mlx_rev.ui.durations import spoken

if TYPE_CHECKING:
    from mlx_rev.train.rehearsal import Rehearsal


@dataclass(frozen=True, kw_only=True)
class Outlook:
    """What is known of a training before it begins."""

    parameters: int
    corpus_tokens: int
    """Of the stories that are trained on, once."""
    corpus_is_whole: bool = True
    """Whether those are all, or those of the first shard only."""
    steps: int
    first_step: int
    tokens_per_step: int
    flops_per_token: float
    """Floating-point operations of the forward and backward pass."""
    least_memory: int
    """Bytes."""
    machine_memory: int
    """Bytes."""
    matrix_speed: float
    """FLOP/s of matrix products alone, on this machine."""

    def lines(self) -> list[str]:
        """A line each for the model, the data, the work and the memory."""
        steps = self.steps - self.first_step
        tokens = steps * self.tokens_per_step
        epochs = f", {tokens / self.corpus_tokens:.2g} epochs" if self.corpus_is_whole else ""
        data = "to train on" if self.corpus_is_whole else "to begin with, while others are made"
        flops = tokens * self.flops_per_token
        more = " more" if self.first_step else ""
        at_best = spoken(flops / self.matrix_speed)
        return [
            f"model    {self.parameters:,} parameters",
            f"data     {self.corpus_tokens:,} tokens {data}",
            f"training {steps:,}{more} steps of {self.tokens_per_step:,} tokens: {tokens:,} "
            f"tokens{epochs}",
            f"work     {_power(flops)} FLOPs: {at_best} or more at the "
            f"{self.matrix_speed / 1e9:,.0f} GFLOP/s of matrix products here",
            f"memory   {in_bytes(self.least_memory)} or more, of {in_bytes(self.machine_memory)}",
        ]

    def rehearsed(self, found: "Rehearsal") -> list[str]:
        """What a few steps on trial say."""
        steps = self.steps - self.first_step
        speed = self.tokens_per_step / found.seconds_per_step
        return [
            f"a step   {spoken(found.seconds_per_step)}, {speed:,.0f} tokens/s"
            f"{self.share_of_peak(speed)}, {in_bytes(found.peak_memory)} of memory, loss "
            f"{found.loss:.2f}",
            f"time     about {spoken(steps * found.seconds_per_step)} for {steps:,} steps, and "
            "what evaluating, telling and saving take",
        ]

    def share_of_peak(self, tokens_per_second: float) -> str:
        """A speed as a share of that of matrix products alone, in brackets; nothing where it is
        more, as then another program slowed them down while they were timed."""
        share = tokens_per_second * self.flops_per_token / self.matrix_speed
        return f" ({share:.0%} of peak)" if share <= 1 else ""


def _power(number: float) -> str:
    digits, _, exponent = f"{number:.1e}".partition("e")
    return f"{digits}e{int(exponent)}"


def in_bytes(size: int) -> str:
    """A size in kB, MB or GB."""
    for unit, name in ((1e9, "GB"), (1e6, "MB")):
        if size >= unit:
            return f"{size / unit:,.3g} {name}"
    return f"{size / 1e3:,.0f} kB"
