"""mlx-rev: Llamas that write stories backwards, from their ending."""

from mlx_rev.model import blas

blas.preload()

__version__ = "0.1.0"
