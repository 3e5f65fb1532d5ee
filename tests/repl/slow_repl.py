"""The REPL with a pause before every token, so that no test depends on how fast a story grows."""

import sys
import time
from collections.abc import Iterator
from typing import Any

from mlx_rev.__main__ import run
from mlx_rev.generate import teller

_PAUSE = 0.05

_write_stories = teller.write_stories


def _slowly(*arguments: Any) -> Iterator[Any]:
    for story in _write_stories(*arguments):
        time.sleep(_PAUSE)
        yield story


teller.write_stories = _slowly
sys.exit(run("repl", program="python -m mlx_rev.repl"))
