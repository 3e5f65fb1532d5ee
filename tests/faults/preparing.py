"""Prepare a corpus with a worker and many small shards, for a test that kills it.

python tests/faults/preparing.py CORPUS CACHE [SHARDS]

Once there are so many SHARDS it makes no more, and waits to be killed.
"""

import sys
import time
from multiprocessing.connection import wait
from pathlib import Path

from mlx_rev.config import DataConfig
from mlx_rev.data import tokenising, workers
from mlx_rev.data.prepare import prepare


def _wait_at(cache: Path, shards: int) -> None:
    """Before a file gets its name, if there are so many shards, wait."""

    def hook(event: str, given: tuple[object, ...]) -> None:
        if event == "os.rename" and sum(1 for _ in cache.rglob("[!.]*.bin")) >= shards:
            time.sleep(1000)

    sys.addaudithook(hook)


if __name__ == "__main__":
    if len(sys.argv) > 3:
        _wait_at(Path(sys.argv[2]), int(sys.argv[3]))
    workers.wait = lambda outputs, timeout: wait(outputs)  # so that the worker does the most
    tokenising.SHARD_BYTES, tokenising.BLOCK_BYTES, workers.ALONE = 20_000, 2_000, 10_000
    config = DataConfig(data=sys.argv[1], reversal="word2,none")
    prepare(config, 400, Path(sys.argv[2]), workers=2)
