"""Ctrl-C and other signals while a training runs: an answer at once, a stop after the step."""

import os
import signal
import socket
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from types import FrameType

_ANSWERS = {
    signal.SIGINT: "finishing this step; Ctrl-C stops now",
    signal.SIGTERM: "finishing this step",
}


@contextmanager
def stop_on_signal(answer: Callable[[str], None]) -> Iterator[Callable[[], bool]]:
    """Yield what says whether Ctrl-C, SIGTERM or a closed terminal has asked for a stop after the
    step; a second Ctrl-C interrupts at once.

    `answer` is called, on another thread, with what to say of it: Python's own handlers have to
    wait until the step is computed.
    """
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
    with _answering(answer):
        before = {number: signal.signal(number, ask) for number in numbers}
        try:
            yield lambda: asked
        finally:
            for number, handler in before.items():
                signal.signal(number, handler)


@contextmanager
def _answering(answer: Callable[[str], None]) -> Iterator[None]:
    """Answer the first signal as it arrives."""
    ours, theirs = socket.socketpair()
    theirs.setblocking(False)

    def listen() -> None:
        while arrived := ours.recv(1):
            if (said := _ANSWERS.get(signal.Signals(arrived[0]))) is not None:
                answer(said)
                return

    listener = threading.Thread(target=listen, daemon=True)
    before = signal.set_wakeup_fd(theirs.fileno(), warn_on_full_buffer=False)
    listener.start()
    try:
        yield
    finally:
        signal.set_wakeup_fd(before)
        theirs.close()
        listener.join()
        ours.close()
