"""Every format gives back what it was given, and every pair of formats agrees."""

import tempfile
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mlx_rev.config import Dtype, ModelConfig
from mlx_rev.errors import FormatError
from mlx_rev.formats import llama2c, names, registry
from mlx_rev.formats.convert import convert
from mlx_rev.formats.detect import open_model
from mlx_rev.formats.model_file import PROVENANCE, ModelFile
from mlx_rev.text.order import ORDERS, Order
from mlx_rev.text.tokenizer import Tokenizer
from tests.formats.conftest import drawn

EXACT = ["llama2c", "llama2c-v1", "mlx", "gguf"]
SUFFIX = {each.name: each.suffix for each in registry.FORMATS}


def written(model: ModelFile, folder: Path, to: str, dtype: Dtype) -> ModelFile:
    """The model after a way through a file."""
    target = folder / f"model-{to}{SUFFIX[to]}"
    convert(model, target, to, dtype)
    return open_model(target)


def same_weights(one: ModelFile, other: ModelFile) -> bool:
    return one.shapes == other.shapes and all(
        np.array_equal(one.weight(name), other.weight(name)) for name in one.shapes
    )


@st.composite
def configs(draw: st.DrawFn) -> ModelConfig:
    kv_heads = draw(st.sampled_from([1, 2, 3]))
    heads = kv_heads * draw(st.sampled_from([1, 2]))
    return ModelConfig(
        dim=heads * 2 * draw(st.integers(1, 6)),
        n_layers=draw(st.integers(1, 3)),
        n_heads=heads,
        n_kv_heads=kv_heads,
        hidden_dim=draw(st.integers(1, 40)),
        vocab_size=400,
        context=draw(st.integers(2, 20)),
        tied=draw(st.booleans()),
    )


@settings(max_examples=5)  # each goes through sixteen pairs of formats
@given(config=configs(), seed=st.integers(0, 1000))
def test_exact_formats_keep_every_bit(tokenizer: Tokenizer, config: ModelConfig, seed: int) -> None:
    model = replace(drawn(config, seed), tokenizer=tokenizer)
    for first in EXACT:
        with tempfile.TemporaryDirectory() as folder:
            once = written(model, Path(folder), first, Dtype.FLOAT32)
            assert once.config == model.config
            assert same_weights(once, model)
            for second in EXACT:
                (Path(folder) / f"to-{second}").mkdir()
                twice = written(once, Path(folder) / f"to-{second}", second, Dtype.FLOAT32)
                assert twice.config == model.config
                assert same_weights(twice, model)


def steps(weight: np.ndarray, group: int, kind: type[np.floating]) -> np.ndarray:
    """The Q8_0 step at each place of a matrix, from the largest value of its group."""
    groups = np.abs(weight).reshape(len(weight), -1, group).max(axis=-1)
    step = (groups / np.float32(127)).astype(kind).astype(np.float32)
    return np.repeat(step, group, axis=1)


@settings(max_examples=15)
@given(config=configs(), wide=st.booleans(), seed=st.integers(0, 1000))
def test_eight_bits_are_within_half_a_step_of_their_group(
    tokenizer: Tokenizer, config: ModelConfig, wide: bool, seed: int
) -> None:
    if wide:  # so that GGUF's groups divide the rows
        config = replace(config, dim=32 * config.n_heads, hidden_dim=32 * config.hidden_dim)
    model = replace(drawn(config, seed), tokenizer=tokenizer)
    for to in ("llama2c-v2", "gguf"):
        with tempfile.TemporaryDirectory() as folder:
            kept = written(model, Path(folder), to, Dtype.Q8)
            for name, weight in model.weights():
                error = np.abs(kept.weight(name) - weight)
                if weight.ndim == 1:
                    assert not error.any(), name
                elif to == "llama2c-v2":
                    half = steps(weight, llama2c._group_size(config), np.float32) / 2
                    assert (error <= half * 1.00001).all(), name
                elif weight.shape[1] % 32:
                    assert (error <= np.abs(weight) * 2**-11 + 2**-25).all(), name
                else:
                    assert (error <= steps(weight, 32, np.float16) / 2 * 1.00001).all(), name


@pytest.mark.parametrize("second", EXACT)
@pytest.mark.parametrize("first", ["llama2c-v2", "mlx", "gguf", "run"])
def test_eight_bits_and_runs_go_everywhere(
    tmp_path: Path, talking: ModelFile, first: str, second: str
) -> None:
    dtype = Dtype.FLOAT32 if first == "run" else Dtype.Q8
    once = written(talking, tmp_path / "once", first, dtype)
    assert same_weights(once, talking) is (first == "run")
    twice = written(once, tmp_path / "twice", second, Dtype.FLOAT32)
    assert twice.config == talking.config
    assert same_weights(twice, once)
    assert twice.order is talking.order


def test_mlx_eight_bits_come_back_as_mlx_lm_reads_them(tmp_path: Path, talking: ModelFile) -> None:
    import mlx.core as mx
    from mlx_lm.utils import load_model

    convert(talking, tmp_path / "q8", "mlx", Dtype.Q8)
    theirs, _ = load_model(tmp_path / "q8")
    kept = open_model(tmp_path / "q8")
    layer = theirs.model.layers[1].mlp.gate_proj
    scales, biases = (part.astype(mx.float32) for part in (layer.scales, layer.biases))
    whole = mx.dequantize(layer.weight, scales, biases, group_size=layer.group_size, bits=8)
    name = names.layer_name(1, "mlp.gate_proj")
    assert np.array_equal(np.array(whole), kept.weight(name))
    assert np.abs(kept.weight(name) - talking.weight(name)).max() < 0.03


@pytest.mark.parametrize("dtype", [Dtype.FLOAT16, Dtype.BFLOAT16])
def test_half_precision_rounds_to_nearest(tmp_path: Path, talking: ModelFile, dtype: Dtype) -> None:
    import mlx.core as mx

    done = convert(talking, tmp_path / "m", "mlx", dtype)
    kept = open_model(tmp_path / "m")
    kind = mx.float16 if dtype is Dtype.FLOAT16 else mx.bfloat16
    for name, weight in talking.weights():
        expected = mx.array(weight).astype(kind).astype(mx.float32)
        assert np.array_equal(kept.weight(name), np.array(expected)), name
        assert done.errors[name] == np.abs(kept.weight(name) - weight).max(), name


@pytest.mark.parametrize("to", ["llama2c", "mlx", "gguf"])
def test_reversal_and_tokenizer_come_along(tmp_path: Path, talking: ModelFile, to: str) -> None:
    kept = written(talking, tmp_path, to, Dtype.FLOAT32)
    assert talking.tokenizer is not None
    assert kept.tokenizer is not None
    assert kept.order is talking.order
    for text in ("They were happy.", "a  b\n c", " 7 é 🙂"):
        assert kept.tokenizer.encode(text) == talking.tokenizer.encode(text)
        assert kept.tokenizer.decode(kept.tokenizer.encode(text)) == text


@pytest.mark.parametrize("order", ORDERS)
@pytest.mark.parametrize("to", ["llama2c", "mlx", "gguf"])
def test_every_order_is_said_by_name(
    tmp_path: Path, talking: ModelFile, to: str, order: Order
) -> None:
    assert written(replace(talking, order=order), tmp_path, to, Dtype.FLOAT32).order is order


@pytest.mark.parametrize("to", SUFFIX)
def test_where_it_came_from_and_what_was_left_out_comes_along(
    tmp_path: Path, talking: ModelFile, to: str
) -> None:
    known = replace(talking, provenance={key: f"{key} of it" for key in PROVENANCE})
    dtype = Dtype.Q8 if to == "llama2c-v2" else Dtype.FLOAT32
    assert written(known, tmp_path, to, dtype).provenance == known.provenance


def test_exporting_changes_nothing(tmp_path: Path, talking: ModelFile) -> None:
    before = {name: weight.copy() for name, weight in talking.weights()}
    for to, dtype in [(to, Dtype.FLOAT32) for to in EXACT] + [("llama2c-v2", Dtype.Q8)]:
        written(talking, tmp_path / to, to, dtype)
    assert all(np.array_equal(before[name], weight) for name, weight in talking.weights())


@pytest.mark.parametrize("name", ["m.bin", "m.gguf", "m"])
def test_what_appears_meanwhile_is_kept(tmp_path: Path, talking: ModelFile, name: str) -> None:
    target = tmp_path / name
    mine = target if target.suffix else target / "thesis.tex"

    def read(weight: str) -> np.ndarray:
        mine.parent.mkdir(exist_ok=True)
        mine.write_text("mine")
        return talking.read(weight)

    with pytest.raises(FormatError, match=r"exists|thesis\.tex"):
        convert(replace(talking, read=read), target)
    assert mine.read_text() == "mine"
    assert list(tmp_path.iterdir()) == [target]


def test_a_folder_can_be_in_several_files(tmp_path: Path, talking: ModelFile) -> None:
    from mlx_lm.utils import load_model

    from mlx_rev.formats.huggingface import write_folder

    write_folder(tmp_path, talking, shard_bytes=20_000)
    assert len(list(tmp_path.glob("model-*-of-*.safetensors"))) > 2
    assert same_weights(open_model(tmp_path), talking)
    theirs, _ = load_model(tmp_path)
    name = names.layer_name(0, "self_attn.q_proj")
    assert np.array_equal(
        np.array(theirs.model.layers[0].self_attn.q_proj.weight), talking.weight(name)
    )


def test_what_run_c_has_built_in_is_not_exported_otherwise(
    tmp_path: Path, talking: ModelFile
) -> None:
    other = replace(talking, config=replace(talking.config, rope_theta=500_000.0))
    with pytest.raises(FormatError, match="rope_theta is 500000"):
        convert(other, tmp_path / "m.bin", "llama2c", Dtype.FLOAT32)
    assert list(tmp_path.iterdir()) == []
    assert open_model_of(other, tmp_path).config.rope_theta == 500_000.0


def open_model_of(model: ModelFile, folder: Path) -> ModelFile:
    return written(model, folder, "gguf", Dtype.FLOAT32)
