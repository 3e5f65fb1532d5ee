#!/usr/bin/env python3
"""Reverse the words of standard input; the same as `mlx-rev wtac`."""

import os
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))
os.environ.setdefault("MLX_REV_BLAS", "off")

from mlx_rev.__main__ import run

sys.exit(run("wtac", program="wtac.py"))
