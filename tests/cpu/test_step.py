"""Threads that share out what is done by weight name."""

import threading
from dataclasses import replace

import mlx.core as mx
import pytest

from mlx_rev.backend import CPU
from mlx_rev.config import TrainConfig
from mlx_rev.cpu.step import Workers, _shared_out
from mlx_rev.cpu.worker import _pieces, branch_outputs
from mlx_rev.model.llama import Llama, Weights, get_weights, initialise
from tests.forms import random_batch, random_llama, random_tokens, shape

CONFIG = TrainConfig(batch_size=6, compile=False)


@pytest.fixture
def weights() -> Weights:
    """Of a small model, drawn at random."""
    model = Llama(shape())
    initialise(model, 0)
    return get_weights(model)


@pytest.mark.parametrize("count", [2, 3])
def test_the_gradients_of_all_rows_are_added_up(weights: Weights, count: int) -> None:
    config = shape(context=16)
    batch = random_batch(config)
    found = []
    for workers in (1, count):
        shared = Workers(config, replace(CONFIG, workers=workers), weights)
        found.append(shared.gradients(weights, batch.parts(workers), [0] * workers))
        mx.eval(found[-1])
        shared.close()
    (loss, gradients), (total, added) = found
    assert total.item() == pytest.approx(loss.item(), rel=1e-5)
    assert list(added) == list(weights)
    for name, gradient in gradients.items():
        largest = mx.abs(gradient).max().item()
        assert largest > 0
        assert mx.abs(gradient - added[name]).max().item() < 1e-4 * largest


@pytest.mark.parametrize("count", [1, 2, 3])
def test_what_is_shared_out_is_put_together_again(weights: Weights, count: int) -> None:
    workers = Workers(shape(), replace(CONFIG, workers=count), weights)
    names: list[list[str]] = []

    def both(taken: Weights, kept: Weights, factor: mx.array) -> tuple[Weights, Weights]:
        names.append(list(taken))
        assert list(taken) == list(kept)
        more = {name: taken[name] + factor * kept[name] for name in taken}
        return more, {name: kept[name].sum() for name in kept}

    def one(kept: Weights) -> Weights:
        return {name: array.max() for name, array in kept.items()}

    taken, kept = dict(weights), dict(weights)
    more, sums = workers.shared(both, takes=1)(taken, kept, mx.array(2.0))
    largest = workers.shared(one)(kept)
    workers.close()
    assert taken == {}
    assert list(kept) == list(more) == list(sums) == list(largest) == list(weights)
    assert sorted(map(sorted, names)) == sorted(map(sorted, _shared_out(weights, count)))
    for name, weight in weights.items():
        assert mx.allclose(more[name], 3 * weight)
        assert mx.allclose(sums[name], weight.sum(), atol=1e-5)
        assert largest[name].item() == weight.max().item()


@pytest.mark.parametrize(("asked", "threads"), [(0, 0), (1, 0), (3, 3)])
def test_one_worker_needs_no_thread_and_close_ends_them(
    weights: Weights, asked: int, threads: int
) -> None:
    before = threading.active_count()
    workers = Workers(shape(), replace(CONFIG, workers=asked), weights)
    assert workers.count == max(1, asked)
    assert list(workers.shared(lambda given: given)(weights)) == list(weights)
    assert threading.active_count() == before + threads
    workers.close()
    assert threading.active_count() == before


def test_the_largest_weights_go_first_to_who_has_least() -> None:
    sizes = {"a": 5, "b": 9, "c": 4, "d": 4, "e": 4}
    weights = {name: mx.zeros(size) for name, size in sizes.items()}
    assert _shared_out(weights, 2) == [["b", "d"], ["a", "c", "e"]]
    assert _shared_out(weights, 1) == [["b", "a", "c", "d", "e"]]


def test_the_walk_in_halves_is_the_decoders_own() -> None:
    model = random_llama(shape(dropout=0.3), CPU)
    tokens, key = random_tokens(2, 20), mx.random.key(3)
    start = mx.array([[0] * 12 + [12] * 8] * 2)
    stages = branch_outputs(model, tokens, start, key)
    assert [stage.shape for stage in stages] == [(2, 20, 32)] * 4
    found = model.model.norm(stages[-1])
    assert mx.allclose(found, model.model(tokens, None, start, key), atol=1e-5)
    assert not mx.allclose(found, model.model(tokens, None, start), atol=1e-2)


def test_pieces_go_forward_through_the_stages_and_backward_through_the_layers(
    weights: Weights,
) -> None:
    stages = [[mx.array(float(number))] for number in range(5)]
    expected = list(stages)
    pieces = list(_pieces((mx.array(0.0), weights, stages)))
    assert stages == []  # let go of
    assert pieces[:5] == expected
    names = {id(array): name for name, array in weights.items()}
    halves = [[names[id(array)] for array in piece] for piece in pieces[5:]]  # type: ignore[attr-defined]
    assert sorted(name for half in halves for name in half) == sorted(weights)
    layers = [half[0].split(".")[2] if "layers" in half[0] else "" for half in halves]
    assert layers == ["1", "1", "0", "0", ""]
    for half, of_mlp in zip(halves, (True, False, True, False), strict=False):
        assert all((".mlp." in name or ".post_attention" in name) == of_mlp for name in half)
