from dataclasses import replace
from pathlib import Path

import mlx.core as mx
import pytest

from mlx_rev import files
from mlx_rev.config import ModelConfig, RunConfig, TrainConfig
from mlx_rev.errors import CheckpointError, FormatError
from mlx_rev.formats.detect import open_model
from mlx_rev.model.llama import Llama, get_weights, initialise
from mlx_rev.model.load import load_model
from mlx_rev.text.codec import StoryCodec
from mlx_rev.text.order import FORWARD, TOKEN, WORD, Order
from mlx_rev.train import checkpoint
from mlx_rev.train.checkpoint import Progress, TrainingState
from mlx_rev.train.optimizer import Moments, initial_moments


def save(
    run: Path, tiny: ModelConfig, codec: StoryCodec, step: int, *, best: bool = False
) -> TrainingState:
    model = Llama(tiny)
    initialise(model, seed=step)
    weights = get_weights(model)
    moments = initial_moments(weights, TrainConfig())
    moments.mean["model.norm.weight"] += step
    state = TrainingState(weights, moments, Progress(step, (1.5, 2.25), 0.75))
    checkpoint.save(run, tiny, codec, state, corpus_fingerprint="abc", best=best)
    return state


def same(one: dict[str, mx.array], other: dict[str, mx.array]) -> bool:
    return one.keys() == other.keys() and all(bool((one[n] == other[n]).all()) for n in one)


def test_what_is_saved_comes_back(
    tmp_path: Path, tiny: ModelConfig, codecs: dict[Order, StoryCodec]
) -> None:
    state = save(tmp_path, tiny, codecs[TOKEN], 7)
    loaded = checkpoint.load(tmp_path, RunConfig(model=tiny), corpus_fingerprint="abc")
    content = open_model(tmp_path)
    assert content.config == tiny
    assert content.order is TOKEN
    assert content.tokenizer.fingerprint == codecs[TOKEN].tokenizer.fingerprint
    assert loaded.progress == state.progress
    assert same(loaded.weights, state.weights)
    assert same(loaded.moments.mean, state.moments.mean)
    assert same(loaded.moments.square, state.moments.square)
    described = tmp_path / "checkpoints" / "latest" / "training.json"
    described.write_text(described.read_text().replace('"abc"', '""'))
    unknown = checkpoint.load(tmp_path, RunConfig(model=tiny), corpus_fingerprint="def")
    assert unknown.progress == state.progress


@pytest.mark.parametrize("name", ["model.safetensors", "optimizer.safetensors", "training.json"])
@pytest.mark.parametrize("harm", ["cut", "flip", "remove"])
def test_a_damaged_checkpoint_is_refused(
    tmp_path: Path, tiny: ModelConfig, codecs: dict[Order, StoryCodec], name: str, harm: str
) -> None:
    save(tmp_path, tiny, codecs[WORD], 7)
    path = tmp_path / "checkpoints" / "latest" / name
    content = path.read_bytes()
    if harm == "remove":
        path.unlink()
    elif harm == "cut":
        path.write_bytes(content[: len(content) // 2])
    else:
        path.write_bytes(b"\xff" + content[1:])
    with pytest.raises(CheckpointError, match="damaged"):
        checkpoint.load(tmp_path, RunConfig(model=tiny), corpus_fingerprint="abc")


def test_another_shape_is_refused_by_name_but_not_another_dropout(
    tmp_path: Path, tiny: ModelConfig, codecs: dict[Order, StoryCodec]
) -> None:
    save(tmp_path, tiny, codecs[WORD], 7)
    changed = RunConfig(model=replace(tiny, dropout=0.3))
    checkpoint.load(tmp_path, changed, corpus_fingerprint="abc")
    for name, value in (("rope_theta", 500.0), ("dim", 2 * tiny.dim), ("context", 7)):
        other = RunConfig(model=replace(tiny, **{name: value}))
        with pytest.raises(CheckpointError, match=rf"its model has {name} .*, not {value}"):
            checkpoint.load(tmp_path, other, corpus_fingerprint="abc")


def test_the_newest_and_the_best_are_kept(
    tmp_path: Path, tiny: ModelConfig, codecs: dict[Order, StoryCodec]
) -> None:
    for step in range(1, 6):
        save(tmp_path, tiny, codecs[WORD], step, best=step == 2)
    for keep in (5, 7):
        checkpoint.remove_old(tmp_path, keep)
        assert len([*(tmp_path / "checkpoints").glob("step-*")]) == 5
    (tmp_path / "checkpoints" / ".step-00000006-left").mkdir()
    checkpoint.remove_old(tmp_path, keep=2)
    root = tmp_path / "checkpoints"
    assert sorted(path.name for path in root.iterdir()) == [
        "best",
        "latest",
        "step-00000002",
        "step-00000004",
        "step-00000005",
    ]
    assert (root / "best").resolve().name == "step-00000002"


def test_an_older_one_that_latest_was_pointed_at_is_kept_and_what_the_dead_left_is_not(
    tmp_path: Path,
) -> None:
    """As the sentence about a damaged one advises."""
    root = tmp_path / "checkpoints"
    for step in (1, 2, 3):
        (root / f"step-{step:08d}").mkdir(parents=True)
    (root / "latest").symlink_to("step-00000001")
    for place in (tmp_path, root):
        (place / f"{files._UNFINISHED}0").mkdir()
    checkpoint.remove_old(tmp_path, keep=1)
    assert [path.name for path in tmp_path.iterdir()] == ["checkpoints"]
    left = ["latest", "step-00000001", "step-00000003"]
    assert sorted(path.name for path in root.iterdir()) == left


def test_without_its_link_the_latest_is_the_newest_whole_one(
    tmp_path: Path, tiny: ModelConfig, codecs: dict[Order, StoryCodec]
) -> None:
    """As an earlier version left it when it was killed; what a removal left is not whole."""
    for step in (1, 2):
        save(tmp_path, tiny, codecs[WORD], step)
    root = tmp_path / "checkpoints"
    (root / "latest").unlink()
    (root / "step-00000003").mkdir()
    assert (
        checkpoint.load(tmp_path, RunConfig(model=tiny), corpus_fingerprint="abc").progress.step
        == 2
    )
    assert open_model(tmp_path).source.endswith("step-00000002")
    save(tmp_path, tiny, codecs[WORD], 3)
    assert (root / "latest").resolve().name == "step-00000003"


def test_the_order_in_which_arrays_are_held_does_not_show_in_the_files(
    tmp_path: Path, tiny: ModelConfig, codecs: dict[Order, StoryCodec]
) -> None:
    state = save(tmp_path / "a", tiny, codecs[WORD], 1)
    turned = replace(
        state,
        weights=dict(reversed(state.weights.items())),
        moments=Moments(*(dict(reversed(kind.items())) for kind in state.moments)),
    )
    checkpoint.save(tmp_path / "b", tiny, codecs[WORD], turned, corpus_fingerprint="abc", best=True)
    for name in ("model.safetensors", "optimizer.safetensors", "training.json"):
        one, other = (tmp_path / run / "checkpoints" / "latest" / name for run in "ab")
        assert one.read_bytes() == other.read_bytes()
    assert (tmp_path / "b" / "checkpoints" / "best").readlink() == Path("step-00000001")


def test_a_checkpoint_loads_in_mlx_lm_as_it_is(
    tmp_path: Path, tiny: ModelConfig, codecs: dict[Order, StoryCodec]
) -> None:
    mlx_lm = pytest.importorskip("mlx_lm")
    save(tmp_path, tiny, codecs[WORD], 3)
    model, tokenizer = mlx_lm.load(str(tmp_path / "checkpoints" / "latest"))
    text = WORD.reverse("Sam went home. He was happy.")
    ids = [1, *codecs[WORD].tokenizer.encode(text)]
    assert tokenizer.encode(text) == ids
    assert tokenizer.eos_token_id == 1
    ours = load_model(tmp_path).model(mx.array([ids]))
    assert mx.abs(model(mx.array([ids])) - ours).max().item() < 1e-5


def test_a_model_with_another_tokenizer_is_refused(
    tmp_path: Path, tiny: ModelConfig, codecs: dict[Order, StoryCodec]
) -> None:
    save(tmp_path, tiny, codecs[WORD], 3)
    folder = tmp_path / "checkpoints" / "latest"
    (folder / "tokenizer.model").write_bytes(codecs[FORWARD].tokenizer.content)
    with pytest.raises(FormatError, match="was trained with"):
        load_model(tmp_path)
