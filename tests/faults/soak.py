"""Train for some minutes and tell some stories in one process, and show whether memory and speed
stay as they are.

    python tests/faults/soak.py [--minutes 60] [--stories 5000] [--preset quick] [--workers 1]

Prints a line for every tenth as soon as it is over: the resident memory and what MLX holds (both at
the tenth's end, in MB), and the tokens in a second of time and in a second of processor time, which
other programs on the machine disturb less. Exits 1 where the last tenth holds 2% more memory than
the second, or gets through less than 0.9 of its tokens in a second of processor time.
"""

import argparse
import os
import sys
import tempfile
import time
from dataclasses import dataclass, replace
from pathlib import Path

from mlx_rev.backend import choose
from mlx_rev.config import DataConfig, RunConfig, SampleConfig
from mlx_rev.data.prepare import prepare
from mlx_rev.generate.decode import begin_stories, write_stories
from mlx_rev.model.load import load_model
from mlx_rev.presets import preset
from mlx_rev.train.events import Event
from mlx_rev.train.loop import fit

ENDINGS = ("They all lived happily ever after.", "The dog was happy.", "She went home.")


@dataclass(frozen=True)
class Tenth:
    """What was measured at the end of a tenth, and over it."""

    resident: float
    active: float
    """MB."""
    speed: float
    """Tokens a second."""
    efficiency: float
    """Tokens a second of processor time."""


class Meter:
    """Counts tokens, and notes and prints a tenth whenever one is over."""

    def __init__(self, title: str) -> None:
        self.tenths: list[Tenth] = []
        self._tokens = 0
        self._since = (time.perf_counter(), time.process_time())
        print(f"{title}\ntenth  resident MB  MLX MB  tokens/s  tokens/CPU s", flush=True)

    def count(self, tokens: int, share: float) -> None:
        """Add tokens; `share` of all is done now."""
        self._tokens += tokens
        if share < (len(self.tenths) + 1) / 10 or len(self.tenths) == 10:
            return
        import mlx.core as mx  # after mlx_rev, which loads the BLAS that MLX takes

        now = (time.perf_counter(), time.process_time())
        speeds = (self._tokens / (to - since) for to, since in zip(now, self._since, strict=True))
        tenth = Tenth(resident(), mx.get_active_memory() / 1e6, *speeds)
        self.tenths.append(tenth)
        print(
            f"{len(self.tenths):5}{tenth.resident:13.1f}{tenth.active:8.1f}{tenth.speed:10.0f}"
            f"{tenth.efficiency:14.0f}",
            flush=True,
        )
        self._tokens, self._since = 0, now


def resident() -> float:
    """MB of memory that the process holds."""
    if sys.platform != "linux":
        import resource

        return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1e6  # at most, in bytes
    pages = int(Path("/proc/self/statm").read_text().split()[1])
    return pages * os.sysconf("SC_PAGE_SIZE") / 1e6


class Nobody:
    """A reporter that is told and does nothing."""

    def report(self, event: Event) -> None:
        """See `Reporter`."""


def train(run: Path, minutes: float, name: str, workers: int) -> list[Tenth]:
    """Train for so long, with all that happens in a run."""
    recipe = preset(name)
    often = replace(
        recipe.train,
        steps=1_000_000,
        log_every=10,
        eval_every=100,
        save_every=100,
        sample_every=100,
        eval_stories=50,
        workers=workers,
    )
    config = RunConfig(model=recipe.model, data=DataConfig(), train=often)
    data = prepare(config.data, config.model.vocab_size, run / "cache")
    tokens = often.batch_size * often.accumulation * config.model.context
    meter, begun, first = Meter(f"{minutes:g} minutes of training"), 0.0, True

    def should_stop() -> bool:
        nonlocal begun, first
        if first:  # after the first step: what is compiled is compiled
            first, begun = False, time.perf_counter()
            return False
        share = (time.perf_counter() - begun) / (60 * minutes)
        meter.count(tokens, share)
        return share >= 1

    def write_story(model: object, step: int) -> str:
        stories = begin_stories(model, data.codec, ENDINGS[:1], SampleConfig(seed=step))
        return list(write_stories(model, data.codec, stories, SampleConfig()))[-1].text

    fit(run, config, data, Nobody(), write_story=write_story, should_stop=should_stop)
    return meter.tenths


def tell(reference: Path | str, count: int) -> list[Tenth]:
    """Tell so many stories, eight at a time."""
    loaded = load_model(reference, ops=choose().ops)
    reader = choose().reader(loaded.model)
    meter = Meter(f"{count} stories")
    for first in range(0, count, 8):
        settings = SampleConfig(seed=first)
        endings = [ENDINGS[number % len(ENDINGS)] for number in range(first, min(count, first + 8))]
        stories = begin_stories(loaded.model, loaded.codec, endings, settings)
        tokens = sum(
            1 for _ in write_stories(loaded.model, loaded.codec, stories, settings, reader)
        )
        meter.count(tokens, (first + len(endings)) / count)
    return meter.tenths


def is_flat(tenths: list[Tenth]) -> bool:
    """Whether the last tenth is like the second, with room for noise."""
    early, late = tenths[1], tenths[-1]
    memory = late.resident < 1.02 * early.resident
    return memory and late.efficiency > 0.9 * early.efficiency


def main() -> int:
    """Measure, print, and judge."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--minutes", type=float, default=60)
    parser.add_argument("--stories", type=int, default=5000)
    parser.add_argument("--preset", default="quick")
    parser.add_argument("--workers", type=int, default=1)
    given = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        trained = train(Path(folder), given.minutes, given.preset, given.workers)
        told = tell(Path(folder), given.stories)
    return int(not (is_flat(trained) and is_flat(told)))


if __name__ == "__main__":
    sys.exit(main())
