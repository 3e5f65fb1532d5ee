"""Configurations: presets, and TOML there and back."""

from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mlx_rev.config import Dtype, ModelConfig, RunConfig, TrainConfig, validate_run
from mlx_rev.config_file import read_toml, to_toml
from mlx_rev.errors import ConfigError
from mlx_rev.presets import llama_hidden_dim, preset, presets

runs = st.builds(
    RunConfig,
    model=st.builds(
        ModelConfig,
        n_layers=st.integers(1, 50),
        n_heads=st.just(4),
        tied=st.booleans(),
        norm_eps=st.floats(1e-9, 1e-2),
    ),
    train=st.builds(
        TrainConfig,
        steps=st.integers(1, 10**9),
        learning_rate=st.floats(1e-3, 1.0),
        dtype=st.sampled_from([Dtype.FLOAT32, Dtype.BFLOAT16]),
        ending=st.text(st.characters(exclude_categories=["Cs"])) | st.just("caf\udce9"),
    ),
)


@given(runs)
def test_toml_brings_back_every_field(
    tmp_path_factory: pytest.TempPathFactory, run: RunConfig
) -> None:
    """But for text that is not UTF-8, which is refused before anybody writes it."""
    run = replace(run, train=replace(run.train, min_learning_rate=0.0))
    if "\udce9" in run.train.ending:
        with pytest.raises(ConfigError, match=r"ending is .* not UTF-8"):
            validate_run(run)
        return
    path = tmp_path_factory.getbasetemp() / "run.toml"
    path.write_text(to_toml(run), encoding="utf-8")
    back = read_toml(path)
    assert back == run
    assert type(back.train.dtype) is Dtype


@pytest.mark.parametrize("name", presets())
def test_presets_are_possible(name: str) -> None:
    validate_run(preset(name))


@pytest.mark.parametrize(("dim", "hidden"), [(288, 768), (512, 1376), (768, 2048)])
def test_feed_forward_widths_are_llama2_c_s(dim: int, hidden: int) -> None:
    assert llama_hidden_dim(dim) == hidden


def test_a_preset_is_the_base_of_what_a_file_says(tmp_path: Path) -> None:
    path = tmp_path / "run.toml"
    path.write_text('preset = "260k"\n[train]\nsteps = 7\n')
    known = preset("260k")
    assert read_toml(path) == replace(known, train=replace(known.train, steps=7))


def test_all_that_is_wrong_is_said_at_once(tmp_path: Path) -> None:
    path = tmp_path / "run.toml"
    path.write_text(
        'preset = "huge"\ntypo = 1\n[model]\ndim = 1.5\ntied = 1\nnorm_eps = nan\n'
        "[train]\nbeta3 = 0.9\nsteps = -5\n[data]\ndata = 3\n"
    )
    with pytest.raises(ConfigError) as caught:
        read_toml(path)
    assert str(caught.value).startswith(f"{path}: preset 'huge': unknown")
    for part in ("'typo'", "model.dim is 1.5", "model.tied is 1", "train.beta3", "data.data is 3"):
        assert part in str(caught.value)
    for part in ("norm_eps is nan, expected a finite", "steps is -5, expected more than 0"):
        assert part in str(caught.value)


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("[model]\nranks = 2\n", "unknown key model.ranks"),
        ("[train]\nranks = 2\nworkers = 1\n", "train.ranks and train.workers are one option"),
        ("[train]\nworkers = 1\nranks = 2\n", "train.ranks and train.workers are one option"),
    ],
)
def test_former_names_are_known_where_they_were(tmp_path: Path, text: str, said: str) -> None:
    path = tmp_path / "run.toml"
    path.write_text(text)
    with pytest.raises(ConfigError, match=said):
        read_toml(path)
    path.write_text("[train]\nranks = 2\n")
    assert read_toml(path).train.workers == 2


@pytest.mark.parametrize(
    "text",
    [
        *("[model", "model = 3", "\x00", "a = " + "[" * 5000, "a." * 5000 + "a = 1"),
        *("[model]\ndim = " + "9" * 5000, "[model]\ndim = 0x" + "f" * 5000),
        *("[train]\nlearning_rate = 0x" + "f" * 5000, '"\\ud800" = 1', '"a\nb" = 1'),
    ],
)
def test_what_is_no_toml_is_refused_by_name(tmp_path: Path, text: str) -> None:
    path = tmp_path / "run.toml"
    path.write_text(text)
    with pytest.raises(ConfigError, match=r"run\.toml") as caught:
        read_toml(path)
    assert "\n" not in str(caught.value)
    assert len(str(caught.value)) < 1000


def test_a_surrogate_that_stands_for_no_byte_is_no_text() -> None:
    with pytest.raises(ConfigError, match=r"ending is .* not UTF-8"):
        validate_run(RunConfig(train=TrainConfig(ending="\ud800")))


def test_a_byte_order_mark_is_no_toml(tmp_path: Path) -> None:
    path = tmp_path / "run.toml"
    path.write_text("\ufeff[train]\nsteps = 7\n", encoding="utf-8")
    assert read_toml(path).train.steps == 7


@pytest.mark.parametrize("value", ['"q8"', '"fp8"', "32"])
def test_a_dtype_that_training_has_not_is_refused(tmp_path: Path, value: str) -> None:
    path = tmp_path / "run.toml"
    path.write_text(f"[train]\ndtype = {value}\n")
    with pytest.raises(ConfigError, match=r"dtype is .*, expected float32 or bfloat16"):
        read_toml(path)
    with pytest.raises(ConfigError, match="dtype is q8, expected float32 or bfloat16"):
        validate_run(RunConfig(train=TrainConfig(dtype=Dtype.Q8)))  # type: ignore[arg-type]
