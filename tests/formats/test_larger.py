"""A larger model of a small one: what it says hardly changes, and all that is new can learn."""

import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import mlx.core as mx
import numpy as np
import pytest

from mlx_rev.config import ModelConfig
from mlx_rev.errors import ConfigError
from mlx_rev.formats.detect import BUILT_IN, open_model
from mlx_rev.formats.larger import grown
from mlx_rev.formats.model_file import ModelFile
from mlx_rev.model.llama import Llama, set_weights
from mlx_rev.model.load import read_weights
from tests.formats.conftest import drawn

CONFIG = ModelConfig(
    dim=16, n_layers=3, n_heads=2, n_kv_heads=1, hidden_dim=20, vocab_size=300, context=32,
    tied=False, norm_eps=1e-9,
)  # fmt: skip
TOKENS = mx.array(np.random.default_rng(0).integers(0, 300, (2, 24)))
LARGE = {"n_layers": 5, "dim": 24, "n_heads": 4, "n_kv_heads": 2, "hidden_dim": 28, "context": 48}


def shape(**sizes: int) -> ModelConfig:
    return replace(CONFIG, **sizes, head_size=8)


def logits(file: ModelFile) -> np.ndarray:
    model = Llama(file.config)
    set_weights(model, read_weights(file))
    return np.array(model(TOKENS))


@pytest.mark.parametrize("tied", [False, True])
@pytest.mark.parametrize("sizes", [{name: LARGE[name]} for name in ("n_layers", "hidden_dim")] + [
    {"n_heads": 4, "n_kv_heads": 2}, {"dim": 24}, LARGE,
])  # fmt: skip
def test_without_noise_a_larger_model_says_the_same(sizes: dict[str, int], tied: bool) -> None:
    small = drawn(replace(CONFIG, tied=tied))
    large = grown(small, replace(shape(**sizes), tied=tied), noise=0.0)
    assert logits(large) == pytest.approx(logits(small), abs=2e-4)


@pytest.mark.parametrize("tied", [False, True])
def test_only_a_tied_embedding_reads_a_new_number_of_the_stream(tied: bool) -> None:
    large = grown(drawn(replace(CONFIG, tied=tied)), replace(shape(dim=24), tied=tied))
    writers = ("o_proj.weight", "down_proj.weight")
    new = {
        name: weight[:, 16:]
        for name, weight in read_weights(large).items()
        if weight.ndim == 2 and not name.endswith(writers)
    }
    noisy = {name for name, weight in new.items() if np.array(weight).any()}
    assert noisy == {"model.embed_tokens.weight"}
    assert ("lm_head.weight" in new) is not tied


def test_with_noise_all_that_is_new_gets_gradients_within_two_steps() -> None:
    large = grown(drawn(CONFIG), shape(**LARGE))
    model = Llama(large.config)

    def loss(weights: dict[str, mx.array]) -> mx.array:
        set_weights(model, weights)
        return mx.mean(mx.square(model(TOKENS)))

    weights, moved = read_weights(large), {}
    for _ in range(2):
        gradients = mx.grad(loss)(weights)
        moved = {name: moved.get(name, 0) + mx.abs(found) for name, found in gradients.items()}
        weights = {name: weight - 0.01 * gradients[name] for name, weight in weights.items()}
    used = np.unique(np.array(TOKENS))
    for name, found in moved.items():
        array = np.array(found[used.tolist()] if "embed" in name else found)
        assert (array > 0).mean() > 0.99, name


@pytest.mark.parametrize("config", [
    shape(dim=8), shape(n_layers=2), replace(shape(), rope_theta=1.0), shape(n_heads=4),
    replace(shape(), vocab_size=301),
])  # fmt: skip
def test_what_is_no_growth_is_refused(config: ModelConfig) -> None:
    with pytest.raises(ConfigError, match=r"grow"):
        grown(drawn(CONFIG), config)


@pytest.mark.process
def test_the_tool_writes_a_model_that_can_be_trained_further(tmp_path: Path) -> None:
    root = Path(__file__).resolve().parents[2]
    small = root / BUILT_IN
    command = [sys.executable, str(root / "tools" / "grow.py"), str(small), str(tmp_path / "large")]
    before = open_model(str(small))
    options = ["--n-layers", str(before.config.n_layers + 1), "--reversal", "word2,none"]
    done = subprocess.run([*command, *options], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    large = open_model(str(tmp_path / "large"))
    assert large.config.n_layers == before.config.n_layers + 1
    assert large.order is not None
    assert large.order.name == "word2,none"
    assert (large.weight("model.norm.weight") == before.weight("model.norm.weight")).all()
    done = subprocess.run([*command, "--dim", "2"], capture_output=True, text=True)
    assert done.returncode == 2
    assert done.stderr.count("\n") == 1
