from dataclasses import replace
from pathlib import Path

import pytest

from mlx_rev.config import DataConfig, ModelConfig, RunConfig, TrainConfig
from mlx_rev.data.prepare import Prepared, prepare


@pytest.fixture(scope="session")
def corpus_file(some_stories: list[str], tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A text file of a hundred stories or two."""
    path = tmp_path_factory.mktemp("corpus") / "stories.txt"
    path.write_text("\n<|endoftext|>\n".join(some_stories[:160]), encoding="utf-8")
    return path


@pytest.fixture(scope="session")
def run_config(tiny: ModelConfig, corpus_file: Path) -> RunConfig:
    """A dozen steps of a tiny model with all that happens in a run, but that nothing is compiled:
    kernels would take longer than the rest of it."""
    return RunConfig(
        model=replace(tiny, dropout=0.1),
        data=DataConfig(data=str(corpus_file), valid_share=0.1),
        train=TrainConfig(
            steps=12,
            batch_size=4,
            warmup=3,
            log_every=5,
            eval_every=6,
            eval_stories=10,
            save_every=4,
            sample_every=6,
            compile=False,
        ),
    )


@pytest.fixture(scope="session")
def prepared(run_config: RunConfig, tmp_path_factory: pytest.TempPathFactory) -> Prepared:
    """The corpus of `run_config` as shards."""
    return prepare(run_config.data, run_config.model.vocab_size, tmp_path_factory.mktemp("cache"))


WATCHED = """
import os, signal, subprocess, sys, time
from pathlib import Path
from mlx_rev.train import watchdog

how, pretended, body = sys.argv[1:]
watchdog._GRACE = float(os.environ.get("GRACE", 3))
sys.platform = pretended or sys.platform
code = watchdog.guard("mlx-rev train", fork=how == "fork")
if code is None:
    parent = watchdog.Parent()
    exec(body)
    code = 0
Path("imports").write_text(f"{'mlx' in sys.modules}")
sys.exit(code)
"""
"""A program whose child, watched by it, does what its last argument says."""
