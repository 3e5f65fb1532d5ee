"""Training as plain lines, and what is said before and after it."""

import io
from dataclasses import replace

import pytest

from mlx_rev.train.events import Sampled
from mlx_rev.train.rehearsal import Rehearsal
from mlx_rev.ui.console import make_console
from mlx_rev.ui.durations import spoken
from mlx_rev.ui.plain_log import PlainLog
from mlx_rev.ui.training import hints
from tests.ui.made_up import ENDING, EVENTS, OUTLOOK, RUN, STOPPED


def test_plain_lines() -> None:
    console = make_console(io.StringIO(), plain=True)
    log = PlainLog(console, ENDING, OUTLOOK)
    for event in [*EVENTS, STOPPED]:
        log.report(event)
    lines = console.file.getvalue().splitlines()
    assert lines[1] == (
        "step 20/200  loss 3.5000  rate 1.00e-03  norm 0.80  12,346 tok/s  412 MB  1 min left"
    )
    assert "validation 2.4000 nats per token  1.2500 bits per byte  best" in lines[3]
    assert lines[5] == "    One [red]day[/b] Tom ran."
    assert lines[-3].startswith("stopped after 40 steps, ")
    assert lines[-3].endswith(
        "12,346 tokens/s (12% of peak), best 1.2500 bits per byte, at step 40"
    )
    assert lines[-2].endswith("mlx-rev train --resume 'runs/my run'")
    assert lines[-1].endswith("mlx-rev tell \"He was happy.\" --model 'runs/my run'")
    assert "\x1b" not in console.file.getvalue()


def test_the_last_thing_said_is_the_last_steps_story() -> None:
    console = make_console(io.StringIO(), plain=True)
    log = PlainLog(console, ENDING, OUTLOOK)
    sampled = Sampled(200, ENDING, "One fine day\nhe was happy.")
    for event in [*EVENTS, sampled, replace(STOPPED, step=200, finished=True)]:
        log.report(event)
    lines = console.file.getvalue().splitlines()
    assert lines[-3:] == ["step 200  story:", "    One fine day", "    he was happy."]
    assert lines[-4].startswith("talk to the model:")
    assert sum("fine day" in line for line in lines) == 1


def test_a_finished_run_is_not_to_be_gone_on_with() -> None:
    assert len(hints(RUN, "x", finished=True)) == 1
    assert hints(RUN, 'say "hi"', finished=True)[0].endswith(
        "mlx-rev tell 'say \"hi\"' --model 'runs/my run'"
    )


def test_the_outlook_counts_what_is_left() -> None:
    assert OUTLOOK.lines() == [
        "model    1,234,567 parameters",
        "data     1,000,000 tokens to train on",
        "training 200 steps of 4,096 tokens: 819,200 tokens, 0.82 epochs",
        "work     8.2e12 FLOPs: 8.2 s or more at the 1,000 GFLOP/s of matrix products here",
        "memory   100 MB or more, of 16 GB",
    ]
    assert OUTLOOK.rehearsed(Rehearsal(0.4096, 412_000_000, 7.625)) == [
        "a step   0.4 s, 10,000 tokens/s (10% of peak), 412 MB of memory, loss 7.62",
        "time     about 1 min 22 s for 200 steps, and what evaluating, telling and saving take",
    ]


def test_no_share_is_shown_of_a_peak_that_was_none() -> None:
    shares = [OUTLOOK.share_of_peak(speed) for speed in (1e5, 1.01e5)]
    assert shares == [" (100% of peak)", ""]


@pytest.mark.parametrize(
    ("seconds", "words"),
    [
        (0.02, "20 ms"),
        (9.94, "9.9 s"),
        (9.96, "10 s"),
        (59.6, "1 min"),
        (61, "1 min 1 s"),
        (3600, "1 h"),
        (3661, "1 h 1 min"),
        (86_400 * 3 + 7300, "3 d 2 h"),
    ],
)
def test_durations_in_words(seconds: float, words: str) -> None:
    assert spoken(seconds) == words


def test_an_answer_that_comes_after_the_end_is_not_given() -> None:
    """It is on its way on another thread, while a short training ends."""
    console = make_console(io.StringIO(), plain=True)
    log = PlainLog(console, ENDING)
    log.stopping("finishing this step")
    log.report(STOPPED)
    written = console.file.getvalue()
    assert written.startswith("finishing this step\n")
    log.stopping("finishing this step")
    assert console.file.getvalue() == written
