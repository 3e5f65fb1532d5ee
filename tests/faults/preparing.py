"""Prepare a corpus with two workers and many small shards, for a test that kills it.

python tests/faults/preparing.py CORPUS CACHE
"""

import sys
from pathlib import Path

from mlx_rev.config import DataConfig
from mlx_rev.data import tokenising, workers
from mlx_rev.data.prepare import prepare

if __name__ == "__main__":
    tokenising.SHARD_BYTES, tokenising.BLOCK_BYTES, workers.ALONE = 20_000, 2_000, 10_000
    config = DataConfig(data=sys.argv[1], reversal="word2,none")
    prepare(config, 400, Path(sys.argv[2]), workers=2)
