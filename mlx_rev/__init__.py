"""mlx-rev: Llamas that write stories backwards, from their ending.

import mlx_rev
story = mlx_rev.load("runs/bundled-quick").tell("They all lived happily ever after.")
"""

from pathlib import Path
from typing import TYPE_CHECKING

from mlx_rev.model import blas

if TYPE_CHECKING:
    from mlx_rev.generate.teller import Teller

blas.preload()

__version__ = "0.1.0"


def load(path: str | Path) -> "Teller":
    """Load a training run, checkpoint or model folder to tell stories with. Raises RevError."""
    from mlx_rev.generate import teller

    return teller.load(path)
