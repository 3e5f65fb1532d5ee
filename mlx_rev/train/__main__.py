"""`python -m mlx_rev.train` is `mlx-rev train`."""

import sys

from mlx_rev.__main__ import run

sys.exit(run("train", program="python -m mlx_rev.train", guarded=True))
