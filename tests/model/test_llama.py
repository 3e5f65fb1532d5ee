import io
from dataclasses import replace

import mlx.core as mx
import numpy as np
import pytest

from mlx_rev.backend import Backend
from mlx_rev.config import ModelConfig
from mlx_rev.errors import ConfigError
from mlx_rev.model.cache import new_cache
from mlx_rev.model.llama import Llama, check_weights, get_weights, initialise
from mlx_rev.presets import presets
from tests import reference
from tests.forms import random_batch, random_llama, random_tokens, shape


def close(found: mx.array, expected: mx.array, tolerance: float = 1e-5) -> bool:
    """Whether all entries agree, relative to the largest."""
    largest = max(1.0, mx.abs(expected).max().item())
    return mx.abs(found - expected).max().item() <= tolerance * largest


@pytest.mark.parametrize("tied", [True, False])
@pytest.mark.parametrize("n_kv_heads", [1, 2, 4])
def test_logits_are_those_of_mlx_lm(backend: Backend, tied: bool, n_kv_heads: int) -> None:
    from mlx_lm.models import llama as peer  # takes seconds, so only here

    config = shape(tied=tied, n_kv_heads=n_kv_heads)
    model = random_llama(config, backend)
    other = peer.Model(
        peer.ModelArgs(
            model_type="llama",
            hidden_size=config.dim,
            num_hidden_layers=config.n_layers,
            intermediate_size=config.hidden_dim,
            num_attention_heads=config.n_heads,
            num_key_value_heads=n_kv_heads,
            rms_norm_eps=config.norm_eps,
            vocab_size=config.vocab_size,
            rope_theta=config.rope_theta,
            tie_word_embeddings=tied,
        )
    )
    other.load_weights(list(get_weights(model).items()))
    tokens = random_tokens(3, 37)
    expected = other(tokens)
    assert mx.abs(expected).max().item() > 1
    assert close(model(tokens), expected)


@pytest.mark.parametrize("tied", [True, False])
@pytest.mark.parametrize("n_kv_heads", [1, 2, 4])
def test_logits_are_the_references_with_segments(
    backend: Backend, tied: bool, n_kv_heads: int
) -> None:
    config = shape(tied=tied, n_kv_heads=n_kv_heads, context=70)
    model, batch = random_llama(config, backend), random_batch(config, rows=2)
    inputs, start = mx.array(batch.inputs[0]), mx.array(batch.segment_start[0])
    found = model(inputs, segment_start=start)
    for row in range(2):
        tokens, starts = batch.inputs[0, row].tolist(), batch.segment_start[0, row].tolist()
        assert close(found[row], reference.logits(config, get_weights(model), tokens, starts))


def test_a_segment_does_not_see_what_lies_before_it(backend: Backend) -> None:
    model, tokens = random_llama(shape(), backend), np.array(random_tokens(1, 40))
    start = mx.array([[0] * 25 + [25] * 15])
    changed = tokens.copy()
    changed[0, :25] = 7
    one, other = (model(mx.array(t), segment_start=start) for t in (tokens, changed))
    assert mx.abs(one[0, :25] - other[0, :25]).max().item() > 0.1
    assert mx.abs(one[0, 25:] - other[0, 25:]).max().item() < 1e-5


@pytest.mark.parametrize("few_scores", [1 << 13, 0])
def test_the_cache_reads_rows_of_different_length_as_each_alone(
    backend: Backend, few_scores: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("mlx_rev.cpu.ops._FEW_SCORES", few_scores)
    model, lengths = random_llama(shape(), backend), [20, 13, 9]
    tokens = np.array(random_tokens(3, 20))
    padding = [20 - length for length in lengths]
    aligned = np.ones_like(tokens)
    for row, pad in enumerate(padding):
        aligned[row, pad:] = tokens[row, : lengths[row]]
    cache, start = new_cache(model.config, 3, 40), mx.array(padding)[:, None]
    for part in (aligned[:, :12], *(aligned[:, i : i + 1] for i in range(12, 20))):
        found = model(mx.array(part), cache, start)
        assert found.shape == (*part.shape, 300)
    again = new_cache(model.config, 3, 40)
    last = model.next_logits(mx.array(aligned), again, start)
    assert cache[0].offset.item() == again[0].offset.item() == 20
    for row, length in enumerate(lengths):
        alone = model(mx.array(tokens[row : row + 1, :length]))[0, -1]
        assert close(found[row, -1], alone)
        assert close(last[row], alone)


def test_initial_weights_are_llama2cs() -> None:
    config = shape()
    model = Llama(config)
    initialise(model, seed=3)
    weights = get_weights(model)
    for name, weight in weights.items():
        if weight.ndim == 1:
            assert bool((weight == 1).all()), name
            continue
        residual = name.endswith(("o_proj.weight", "up_proj.weight"))
        expected = 0.02 / (2 * config.n_layers) ** 0.5 if residual else 0.02
        assert mx.std(weight).item() == pytest.approx(expected, rel=0.12), name
    other = Llama(config)
    initialise(other, seed=3)
    assert all(bool((weights[n] == w).all()) for n, w in get_weights(other).items())


def test_dropout_is_a_function_of_its_key_and_off_without_one(backend: Backend) -> None:
    model, tokens = random_llama(shape(dropout=0.3), backend), random_tokens(2, 16)
    undropped = model(tokens)
    one, same = (model(tokens, key=mx.random.key(5)) for _ in range(2))
    assert bool((one == same).all())
    assert not close(one, undropped, 1e-3)
    assert not close(one, model(tokens, key=mx.random.key(6)), 1e-3)
    no_dropout = random_llama(shape(), backend)
    assert bool((no_dropout(tokens, key=mx.random.key(5)) == no_dropout(tokens)).all())


def test_every_place_has_a_dropout_mask_of_its_own(
    backend: Backend, monkeypatch: pytest.MonkeyPatch
) -> None:
    keys = []

    def watched(x: mx.array, rate: float, key: mx.array) -> mx.array:
        keys.append((rate, tuple(key.tolist())))
        return x

    monkeypatch.setattr("mlx_rev.model.llama.dropout", watched)
    random_llama(shape(dropout=0.3), backend)(random_tokens(1, 4), key=mx.random.key(5))
    assert len(set(keys)) == len(keys) == 1 + 2 * 2
    assert {rate for rate, _ in keys} == {0.3}


@pytest.mark.parametrize(
    ("name", "millions"), [("260k", 0.26), ("15m", 15.2), ("42m", 41.5), ("110m", 109.5)]
)
def test_presets_have_llama2cs_sizes(name: str, millions: float) -> None:
    config = presets()[name].model
    keys = config.n_kv_heads * config.head_dim
    block = 2 * config.dim**2 + 2 * config.dim * keys + 3 * config.dim * config.hidden_dim
    norms = (2 * config.n_layers + 1) * config.dim
    count = config.vocab_size * config.dim + config.n_layers * block + norms
    assert count / 1e6 == pytest.approx(millions, rel=0.01)


def test_the_embedding_is_drawn_with_a_deviation_of_its_own_and_no_two_draws_are_alike() -> None:
    config = shape(tied=False)
    model = Llama(config)
    initialise(model, 3, 0.05, 0.2)
    weights = get_weights(model)
    drawn = {name: weight for name, weight in weights.items() if weight.ndim > 1}
    for name, weight in drawn.items():
        residual = name.endswith(("o_proj.weight", "up_proj.weight"))
        expected = 0.05 / (2 * config.n_layers) ** 0.5 if residual else 0.05
        expected = 0.2 if name == "model.embed_tokens.weight" else expected
        assert mx.std(weight).item() == pytest.approx(expected, rel=0.12), name
        assert abs(mx.mean(weight).item()) < 0.2 * expected, name
    first = [(weight.reshape(-1)[0] / mx.std(weight)).item() for weight in drawn.values()]
    assert len({round(number, 3) for number in first}) == len(drawn) == 2 + 7 * config.n_layers
    other = Llama(config)
    initialise(other, 4, 0.05, 0.2)
    assert not any(bool((get_weights(other)[name] == drawn[name]).any()) for name in drawn)


def test_weights_of_another_shape_or_name_are_named() -> None:
    model = Llama(shape())
    weights = get_weights(model)
    check_weights(model, weights)
    name = "model.layers.1.mlp.up_proj.weight"
    without = {other: weight for other, weight in weights.items() if other != name}
    for wrong, said in (
        (weights | {name: mx.zeros((64, 31))}, rf"^{name} .*\(64, 31\), .*\(64, 32\)"),
        (without, rf"^{name} .*None, .*\(64, 32\)"),
        (
            weights | {"lm_head.weight": mx.zeros((300, 32))},
            r"^lm_head.weight .*\(300, 32\), .*None",
        ),
    ):
        with pytest.raises(ConfigError, match=said):
            check_weights(model, wrong)


def test_every_layer_of_a_cache_knows_how_far_it_is(backend: Backend) -> None:
    model, tokens = random_llama(shape(), backend), random_tokens(2, 7)
    cache = new_cache(model.config, 2, 16)
    for part in (tokens[:, :4], tokens[:, 4:]):
        model(part, cache)
    assert [layer.offset.item() for layer in cache] == [7, 7]
    for layer in cache:
        for kept in (layer.keys, layer.values):
            assert kept.shape == (2, 2, 16, 8)
            assert bool((mx.abs(kept[:, :, :7]).max(axis=-1) > 0).all())
            assert bool((kept[:, :, 7:] == 0).all())
    assert mx.abs(cache[0].keys - cache[1].keys).max().item() > 0.01


def test_a_model_of_one_layer_reads_with_a_cache_too(backend: Backend) -> None:
    model, tokens = random_llama(replace(shape(), n_layers=1), backend), random_tokens(2, 7)
    cache = new_cache(model.config, 2, 16)
    found = [model(part, cache)[:, -1] for part in (tokens[:, :4], tokens[:, 4:])]
    whole = model(tokens)
    assert close(found[0], whole[:, 3])
    assert close(found[1], whole[:, -1])


def test_a_model_that_is_made_leaves_nothing_behind(tiny: ModelConfig) -> None:
    """Evaluation and saving make one each time; the random state is to be a value afterwards, not
    the graph of all that was drawn."""

    def graph() -> str:
        written = io.StringIO()
        mx.export_to_dot(written, *mx.random.state)
        return written.getvalue()

    mx.eval(mx.random.state)
    before = graph()
    Llama(tiny)
    assert graph() == before
    mx.random.uniform()
    assert "Split" in graph()
