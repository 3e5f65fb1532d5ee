"""A terminal for tests: the REPL runs on one end, and pyte draws what it writes."""

import os
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pexpect
import platformdirs
import pyte

PAUSE = 0.02
"""Seconds without output after which a frame is whole; frames are 33 ms apart at least."""


class Terminal:
    """A screen on which Python, or another program, runs in the folder `home`."""

    def __init__(
        self,
        home: Path,
        *arguments: str | Path,
        columns: int = 80,
        lines: int = 24,
        program: str = sys.executable,
    ) -> None:
        self.screen = pyte.HistoryScreen(columns, lines, history=1000)
        self._stream = pyte.ByteStream(self.screen)
        self.frames: list[list[str]] = []
        self._rows: list[str] | None = None
        """What stands on the screen, once it was asked for: to put it together takes a while."""
        self._answered = False
        environment = {
            **os.environ,
            "HOME": str(home),
            "XDG_STATE_HOME": str(home),
            # Compiled kernels are kept there, so that the next session need not wait for them.
            "XDG_CACHE_HOME": str(platformdirs.user_cache_path()),
            "TERM": "xterm-256color",
            # pyte does not say where its cursor is.
            "PROMPT_TOOLKIT_NO_CPR": "1",
        }
        self.process = pexpect.spawn(
            program,
            [*map(str, arguments)],
            env=environment,
            cwd=str(home),
            dimensions=(lines, columns),
        )

    @property
    def rows(self) -> list[str]:
        """What stands on the screen, without padding at the right."""
        if self._rows is None:
            self._rows = [row.rstrip() for row in self.screen.display]
        return self._rows

    @property
    def scrollback(self) -> list[str]:
        """The rows that left the screen at the top, and those on it."""
        gone = [
            "".join(line[column].data for column in range(self.screen.columns)).rstrip()
            for line in self.screen.history.top
        ]
        return gone + self.rows

    def type(self, text: str) -> None:
        """Send keys; what is waited for next is looked for after something new was drawn."""
        self._answered = False
        self.process.send(text)

    def wait(
        self,
        until: Callable[[list[str]], bool],
        seconds: float = 200,
        on_frame: Callable[[], None] = lambda: None,
    ) -> None:
        """Draw frames until the screen is as wanted; each is kept in `frames`."""
        end = time.monotonic() + seconds
        while time.monotonic() < end:
            try:
                self._stream.feed(self.process.read_nonblocking(65536, timeout=PAUSE))
                self._rows, self._answered = None, True
                continue
            except pexpect.TIMEOUT:
                pass
            except pexpect.EOF:
                self.process.wait()
                if until(self.rows):
                    return
                break
            if not self.frames or self.frames[-1] != self.rows:
                self.frames.append(self.rows)
                on_frame()
            if self._answered and until(self.rows):
                return
        raise AssertionError("the screen never was as expected:\n" + "\n".join(self.rows))

    def wait_for_prompt(self, prompt: str = "ending>") -> None:
        """Draw frames until an empty prompt is the last thing on the screen."""
        self.wait(lambda rows: [row for row in rows if row][-1:] == [prompt])

    def resize(self, columns: int, lines: int) -> None:
        """Make the screen wider or narrower, as a person does with a window."""
        self.screen.resize(lines, columns)
        self._rows = None
        self.process.setwinsize(lines, columns)

    def leave(self, keys: str = "\x04") -> int:
        """Send the keys that end the session, Ctrl-D by default; gives the exit code."""
        self.type(keys)
        self.process.expect(pexpect.EOF, timeout=200)
        self.process.close()
        return int(self.process.exitstatus or 0)
