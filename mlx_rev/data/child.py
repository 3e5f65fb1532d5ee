"""A process that runs a module of this program, for the process that starts it."""

import os
import subprocess
import sys
from contextlib import suppress
from types import TracebackType
from typing import IO, BinaryIO

PATIENCE = 5.0
"""Seconds that a process gets to end."""


class Child:
    """A process that was `start`ed; it ends with the `with` statement that this is used in."""

    def start(self, module: str, errors: IO[bytes] | None = None) -> None:
        """Run a module, with pipes to its input and from its output; `errors` takes its standard
        error, by default this process's own."""
        # It imports what this process does, from wherever that was found: "" is the folder here.
        path = os.pathsep.join(map(os.path.abspath, sys.path))
        # In a process group of its own: Ctrl-C is for the process that it works for.
        self._process = subprocess.Popen(
            [sys.executable, "-P", "-m", module],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=errors,
            process_group=0,
            env={**os.environ, "PYTHONPATH": path, "MLX_REV_BLAS": "off"},
        )

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        with suppress(OSError):
            self._input.close()
        try:
            self._process.wait(0 if error else PATIENCE)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()
        self._output.close()

    @property
    def _input(self) -> BinaryIO:
        return self._process.stdin  # type: ignore[return-value]

    @property
    def _output(self) -> BinaryIO:
        return self._process.stdout  # type: ignore[return-value]
