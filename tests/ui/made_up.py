"""A training that never was, for those who show one; run as a program, on a terminal.

As a program it reports the next event whenever a line comes from standard input.
"""

import sys
from pathlib import Path

from mlx_rev.train.events import Doing, Evaluated, Event, Sampled, Saved, Started, Stepped, Stopped
from mlx_rev.ui.console import make_console
from mlx_rev.ui.dashboard import view_for
from mlx_rev.ui.outlook import Outlook

RUN = Path("runs/my run")
ENDING = "He was happy."
STORY = "One [red]day[/b] Tom ran.\nHe was happy."
EVENTS: list[Event] = [
    Started(RUN, 0, 200, 1_234_567, 4096),
    Stepped(20, 3.5, 1e-3, 0.8, 12_345.6, 412_000_000),
    Doing(20, "evaluating on held-out stories"),
    Stepped(40, 2.5, 2e-3, 0.7, 12_345.6, 412_000_000),
    Evaluated(40, 2.4, 1.25, best=True),
    Sampled(40, ENDING, STORY),
    Saved(40, RUN / "checkpoints" / "step-00000040"),
]
STOPPED = Stopped(40, RUN, finished=False)
OUTLOOK = Outlook(
    parameters=1_234_567,
    corpus_tokens=1_000_000,
    steps=200,
    first_step=0,
    tokens_per_step=4096,
    flops_per_token=1e7,
    least_memory=100_000_000,
    machine_memory=16_000_000_000,
    matrix_speed=1e12,
)

if __name__ == "__main__":
    with view_for(make_console(), ending=ENDING, plain=False, outlook=OUTLOOK) as view:
        for event in [*EVENTS, STOPPED]:
            sys.stdin.readline()
            view.report(event)
