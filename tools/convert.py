#!/usr/bin/env python3
"""Convert a model of any format to any other; the same as `mlx-rev convert`."""

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from mlx_rev.__main__ import run

sys.exit(run("convert", program="convert.py"))
