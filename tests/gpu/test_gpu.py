"""On a GPU that MLX has, Metal or `mlx[cuda13]`: train, resume, tell and export for real.

Run with `pytest -m gpu`. Elsewhere the same forms run on the CPU, in every test that takes
`backend`. What adds up in no fixed order on a GPU (the gradient of the embedding) makes its losses
repeat only to rounding; on a CPU resume is exact to the bit, as tests/train/test_loop.py has it.
"""

from dataclasses import replace
from pathlib import Path

import mlx.core as mx
import numpy as np
import pytest

from mlx_rev import backend as backends
from mlx_rev.config import RunConfig, SampleConfig
from mlx_rev.data.prepare import Prepared
from mlx_rev.generate.teller import load
from mlx_rev.model.llama import Llama, get_weights, set_weights
from mlx_rev.train.events import Event, Stepped
from mlx_rev.train.loop import fit
from tests.forms import random_batch, random_llama, shape
from tests.train.conftest import corpus_file, prepared, run_config

__all__ = ["corpus_file", "prepared", "run_config"]
pytestmark = [
    pytest.mark.gpu,
    pytest.mark.skipif(
        mx.default_device() == mx.Device(mx.cpu), reason="MLX has no GPU here: Metal or mlx[cuda13]"
    ),
]


class Losses:
    """The logged losses of a run."""

    def __init__(self) -> None:
        self.found: list[float] = []

    def report(self, event: Event) -> None:
        """Keep a step's loss."""
        if isinstance(event, Stepped):
            self.found.append(event.loss)


def trained(run: Path, config: RunConfig, data: Prepared, **options: object) -> list[float]:
    losses = Losses()
    fit(run, config, data, losses, **options)
    return losses.found


def test_a_gpu_gets_the_plain_forms() -> None:
    assert backends.choose() is backends.PLAIN


def test_logits_are_the_cpus() -> None:
    config = shape(n_kv_heads=2, context=70)
    model, batch = random_llama(config, backends.PLAIN), random_batch(config)
    tokens, start = mx.array(batch.inputs[0]), mx.array(batch.segment_start[0])
    found = np.array(model(tokens, segment_start=start))
    with mx.stream(mx.cpu):
        other = Llama(config, backends.CPU.ops)
        set_weights(other, get_weights(model))
        expected = np.array(other(tokens, segment_start=start))
    # An NVIDIA GPU multiplies float32 as TF32, of which 10 bits are kept.
    assert found == pytest.approx(expected, abs=5e-3 * np.abs(expected).max())


@pytest.mark.parametrize("dtype", ["float32", "bfloat16"])
def test_training_and_resume(
    run_config: RunConfig, prepared: Prepared, tmp_path: Path, dtype: str
) -> None:
    train = replace(run_config.train, dtype=dtype, steps=40, log_every=10, save_every=20)
    config = replace(run_config, train=train)
    whole = trained(tmp_path / "whole", config, prepared)
    assert whole[-1] < whole[0] - 0.3
    steps = iter(range(20))
    first = trained(
        tmp_path / "two", config, prepared, should_stop=lambda: next(steps, None) is None
    )
    second = trained(tmp_path / "two", config, prepared, resume=True)
    assert first + second == pytest.approx(whole, rel=1e-3 if dtype == "float32" else 2e-2)


def test_generation_and_export(run_config: RunConfig, prepared: Prepared, tmp_path: Path) -> None:
    from mlx_rev.__main__ import run

    trained(tmp_path / "run", run_config, prepared)
    told = load(tmp_path / "run").tell("They were happy.", temperature=0.0, max_tokens=20)
    assert told.text.endswith("They were happy.")
    for name in ("model.bin", "model.gguf", "folder"):
        assert run("convert", [str(tmp_path / "run"), str(tmp_path / name)]) == 0
        again = load(tmp_path / name).tell_all(
            ["They were happy."], **vars(SampleConfig(temperature=0.0, max_tokens=20))
        )
        assert again[0].text == told.text
