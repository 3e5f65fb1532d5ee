import mlx.core as mx
import numpy as np
import pytest
from mlx_lm.models import llama as peer

from mlx_rev.config import ModelConfig
from mlx_rev.model.llama import Llama, get_weights, initialise, set_weights
from mlx_rev.presets import presets


def config(*, tied: bool = True, n_kv_heads: int = 2, dropout: float = 0.0) -> ModelConfig:
    return ModelConfig(
        dim=32,
        n_layers=2,
        n_heads=4,
        n_kv_heads=n_kv_heads,
        hidden_dim=64,
        vocab_size=300,
        context=64,
        tied=tied,
        dropout=dropout,
    )


def random_llama(shape: ModelConfig) -> Llama:
    """Weights ten times the usual, so that attention is far from uniform."""
    model = Llama(shape)
    initialise(model, seed=1)
    set_weights(model, {n: w * 10 if w.ndim > 1 else w for n, w in get_weights(model).items()})
    return model


def random_tokens(*shape: int) -> mx.array:
    return mx.array(np.random.default_rng(0).integers(0, 300, shape))


@pytest.mark.parametrize("tied", [True, False])
@pytest.mark.parametrize("n_kv_heads", [1, 2, 4])
def test_logits_are_those_of_mlx_lm(tied: bool, n_kv_heads: int) -> None:
    shape = config(tied=tied, n_kv_heads=n_kv_heads)
    model = random_llama(shape)
    other = peer.Model(
        peer.ModelArgs(
            model_type="llama",
            hidden_size=shape.dim,
            num_hidden_layers=shape.n_layers,
            intermediate_size=shape.hidden_dim,
            num_attention_heads=shape.n_heads,
            num_key_value_heads=n_kv_heads,
            rms_norm_eps=shape.norm_eps,
            vocab_size=shape.vocab_size,
            rope_theta=shape.rope_theta,
            tie_word_embeddings=tied,
        )
    )
    other.load_weights(list(get_weights(model).items()))
    tokens = random_tokens(3, 37)
    expected = other(tokens)
    difference = mx.abs(model.logits(tokens) - expected).max().item()
    assert mx.abs(expected).max().item() > 1
    assert difference <= 1e-5 * max(1, mx.abs(expected).max().item())


def test_extend_reads_rows_of_different_length_as_each_alone() -> None:
    model, lengths = random_llama(config()), [20, 13, 9]
    tokens = np.array(random_tokens(3, 20))
    padding = [20 - length for length in lengths]
    aligned = np.ones_like(tokens)
    for row, pad in enumerate(padding):
        aligned[row, pad:] = tokens[row, : lengths[row]]
    cache, slot = model.new_cache(3, 40), 0
    for part in (aligned[:, :12], *(aligned[:, i : i + 1] for i in range(12, 20))):
        logits, cache = model.extend(mx.array(part), cache, mx.array([slot]), mx.array(padding))
        slot += part.shape[1]
    for row, length in enumerate(lengths):
        alone = model.logits(mx.array(tokens[row : row + 1, :length]))[0, -1]
        assert mx.abs(logits[row] - alone).max().item() < 1e-4


def test_initial_weights_are_llama2cs() -> None:
    shape = config()
    model = Llama(shape)
    initialise(model, seed=3)
    weights = get_weights(model)
    for name, weight in weights.items():
        if weight.ndim == 1:
            assert bool((weight == 1).all()), name
            continue
        residual = name.endswith(("o_proj.weight", "up_proj.weight"))
        expected = 0.02 / (2 * shape.n_layers) ** 0.5 if residual else 0.02
        assert mx.std(weight).item() == pytest.approx(expected, rel=0.12), name
    other = Llama(shape)
    initialise(other, seed=3)
    assert all(bool((weights[n] == w).all()) for n, w in get_weights(other).items())


def test_dropout_needs_a_key_and_keeps_the_mean() -> None:
    model, tokens = random_llama(config(dropout=0.3)), random_tokens(2, 16)
    plain = model.hidden(tokens)
    one, same = (model.hidden(tokens, mx.random.key(5)) for _ in range(2))
    assert bool((one == same).all())
    assert not bool((one == plain).all())
    assert not bool((one == model.hidden(tokens, mx.random.key(6))).all())


@pytest.mark.parametrize(
    ("name", "millions"), [("260k", 0.26), ("15m", 15.2), ("42m", 41.5), ("110m", 109.5)]
)
def test_presets_have_llama2cs_sizes(name: str, millions: float) -> None:
    shape = presets()[name].model
    keys = shape.n_kv_heads * shape.head_dim
    block = 2 * shape.dim**2 + 2 * shape.dim * keys + 3 * shape.dim * shape.hidden_dim
    norms = (2 * shape.n_layers + 1) * shape.dim
    count = shape.vocab_size * shape.dim + shape.n_layers * block + norms
    assert count / 1e6 == pytest.approx(millions, rel=0.01)
