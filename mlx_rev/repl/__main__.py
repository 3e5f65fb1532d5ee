"""`python -m mlx_rev.repl` is `mlx-rev repl`."""

import sys

from mlx_rev.__main__ import run

sys.exit(run("repl", program="python -m mlx_rev.repl"))
