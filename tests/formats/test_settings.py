"""How stories are best told with a model: kept by every format, taken up unless told otherwise."""

import json
from dataclasses import replace
from pathlib import Path

import gguf
import pytest

from mlx_rev.config import SampleConfig
from mlx_rev.errors import FormatError
from mlx_rev.formats.convert import convert
from mlx_rev.formats.detect import built_in_model, open_model
from mlx_rev.formats.model_file import ModelFile
from mlx_rev.generate.teller import load

SETTINGS = {"temperature": 0.5, "top_k": 40, "min_p": 0.125, "repetition_penalty": 1.25}


@pytest.fixture(scope="module")
def model() -> ModelFile:
    return replace(open_model(built_in_model()), settings=SETTINGS)


@pytest.mark.parametrize("name", ["folder", "model.bin", "model.gguf"])
def test_every_format_keeps_them(model: ModelFile, tmp_path: Path, name: str) -> None:
    convert(model, tmp_path / name)
    assert open_model(tmp_path / name).settings == SETTINGS


def test_they_are_where_others_look_for_them(model: ModelFile, tmp_path: Path) -> None:
    convert(model, tmp_path / "folder")
    stated = json.loads((tmp_path / "folder" / "generation_config.json").read_text())
    assert stated == {**SETTINGS, "do_sample": True, "bos_token_id": 1, "eos_token_id": 1}
    convert(model, tmp_path / "model.gguf")
    fields = gguf.GGUFReader(tmp_path / "model.gguf").fields
    assert fields["general.sampling.temp"].contents() == 0.5
    assert fields["general.sampling.top_k"].contents() == 40


def test_a_model_without_an_opinion_says_nothing(model: ModelFile, tmp_path: Path) -> None:
    convert(replace(model, settings={}), tmp_path / "folder")
    assert "do_sample" not in (tmp_path / "folder" / "generation_config.json").read_text()
    assert open_model(tmp_path / "folder").settings == {}


def test_python_takes_them_up_but_for_what_it_is_given(model: ModelFile, tmp_path: Path) -> None:
    convert(model, tmp_path / "folder")
    teller = load(tmp_path / "folder")
    assert teller.settings == replace(SampleConfig(), **SETTINGS)
    ending, short = "They were happy.", {"max_tokens": 12, "seed": 3}
    plain = load(built_in_model())
    taken_up, others = teller.tell(ending, **short), plain.tell(ending, **short, **SETTINGS)
    assert taken_up.text == others.text
    given = teller.tell(ending, **short, temperature=0)
    assert given.text == plain.tell(ending, **short, **{**SETTINGS, "temperature": 0}).text


def changed(folder: Path, **stated: object) -> Path:
    path = folder / "generation_config.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | stated))
    return folder


@pytest.mark.parametrize(("name", "value"), [("temperature", -1), ("top_p", 2.0), ("top_k", 1.5)])
def test_impossible_ones_are_refused_by_name(
    model: ModelFile, tmp_path: Path, name: str, value: float
) -> None:
    convert(model, tmp_path / "folder")
    with pytest.raises(FormatError, match=rf"generation_config.json: {name} is {value}, expected"):
        open_model(changed(tmp_path / "folder", **{name: value}))


def test_a_file_that_says_not_to_sample_says_nothing(model: ModelFile, tmp_path: Path) -> None:
    convert(model, tmp_path / "folder")
    assert open_model(changed(tmp_path / "folder", do_sample=False)).settings == {}
