"""Which tokenizer a model gets: the one beside it, where it is the right one, or the one named."""

import json
import shutil
from dataclasses import replace
from pathlib import Path

import pytest

from mlx_rev.config import Dtype
from mlx_rev.errors import FormatError, RevError
from mlx_rev.formats.convert import convert
from mlx_rev.formats.detect import built_in_model, built_in_models, open_model
from mlx_rev.formats.model_file import ModelFile
from mlx_rev.formats.tokenizers import tokenizer_bin
from mlx_rev.text.order import FORWARD, TOKEN, Order, order_named
from mlx_rev.text.tokenizer import Tokenizer


@pytest.fixture
def written(tmp_path: Path, talking: ModelFile) -> Path:
    """m.bin and the folder m, with their tokenizers."""
    convert(talking, tmp_path / "m.bin", "llama2c", Dtype.FLOAT32)
    convert(talking, tmp_path / "m", "mlx", Dtype.FLOAT32)
    return tmp_path


def ids(model: ModelFile) -> list[int]:
    assert model.tokenizer is not None
    return model.tokenizer.encode("They were happy.")


@pytest.mark.parametrize("wrong_model_beside", [False, True])
def test_a_tokenizer_bin_is_known_by_its_pieces(
    written: Path,
    talking: ModelFile,
    tokenizers: dict[Order, Tokenizer],
    wrong_model_beside: bool,
) -> None:
    (written / "tokenizer.model").unlink()
    if wrong_model_beside:
        tokenizers[FORWARD].save(written / "tokenizer.model")
    assert ids(open_model(written / "m.bin")) == ids(talking)


@pytest.mark.parametrize("name", ["m.bin", "m"])
@pytest.mark.parametrize("harm", ["missing", "wrong", "damaged"])
def test_a_tokenizer_that_is_named_stands_for_the_one_beside(
    written: Path,
    talking: ModelFile,
    tokenizers: dict[Order, Tokenizer],
    name: str,
    harm: str,
) -> None:
    right = written / "elsewhere"
    shutil.copy(written / "tokenizer.model", right)
    for beside in (written, written / "m"):
        if harm == "missing":
            for path in beside.glob("tokenizer*"):
                path.unlink()
            continue
        content = tokenizers[FORWARD]
        (beside / "tokenizer.model").write_bytes(content.content if harm == "wrong" else b"\n?")
        (beside / "tokenizer.bin").write_bytes(tokenizer_bin.to_bytes(content))
    if harm == "wrong" or name == "m":
        with pytest.raises(RevError, match=r"--tokenizer|not a SentencePiece"):
            open_model(written / name)
    assert ids(open_model(written / name, tokenizer=right)) == ids(talking)


def test_a_tokenizer_json_is_compared_where_it_is_all_that_is_left(
    written: Path, talking: ModelFile
) -> None:
    path, config = written / "m" / "tokenizer.json", written / "m" / "config.json"
    (written / "m" / "tokenizer.model").unlink()
    assert ids(open_model(written / "m")) == ids(talking)
    content = json.loads(path.read_text())
    vocabulary = content["model"]["vocab"]
    first, second = list(vocabulary)[380:382]
    vocabulary[first], vocabulary[second] = vocabulary[second], vocabulary[first]
    path.write_text(json.dumps(content))
    with pytest.raises(
        FormatError, match=r"tokenizer\.json: its sha256 .* the right tokenizer\.mod"
    ):
        open_model(written / "m")
    assert ids(open_model(written / "m", tokenizer=written / "tokenizer.bin")) == ids(talking)
    described = json.loads(config.read_text())
    del described["mlx_rev"]["tokenizer_json_sha256"]  # as in what was written before
    config.write_text(json.dumps(described))
    assert open_model(written / "m").tokenizer is not None


@pytest.mark.process
def test_what_mlx_lms_converter_leaves_of_a_tokenizer_is_known_again(
    written: Path, talking: ModelFile
) -> None:
    from mlx_lm import convert as their_convert

    their_convert(str(written / "m"), str(written / "theirs"))
    described = json.loads((written / "theirs" / "config.json").read_text())
    assert described["mlx_rev"]["tokenizer_json_sha256"]
    assert not (written / "theirs" / "tokenizer.model").exists()
    assert ids(open_model(written / "theirs")) == ids(talking)


def test_a_model_without_a_tokenizer_does_not_take_anothers(
    tmp_path: Path, talking: ModelFile
) -> None:
    convert(talking, tmp_path / "m.bin")
    convert(replace(talking, tokenizer=None), tmp_path / "m.bin", force=True)
    assert (tmp_path / "tokenizer.model").exists()
    assert open_model(tmp_path / "m.bin").tokenizer is None
    named = tmp_path / "tokenizer.model"
    assert ids(open_model(tmp_path / "m.bin", tokenizer=named)) == ids(talking)
    described = json.loads((tmp_path / "m.bin.json").read_text())
    del described["tokenizer_sha256"]  # as in what was written before
    (tmp_path / "m.bin.json").write_text(json.dumps(described))
    assert ids(open_model(tmp_path / "m.bin")) == ids(talking)


def test_a_built_in_model_answers_to_its_name(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    assert open_model("stories9m").source == str(built_in_model())
    assert open_model(Path("stories9m")).source == str(built_in_model())
    assert built_in_models()["stories9m"] == built_in_model()


def test_what_exists_under_the_name_is_taken_first(
    tmp_path: Path, talking: ModelFile, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    convert(talking, tmp_path / "stories9m")
    assert open_model("stories9m").config == talking.config


def test_an_unknown_name_is_answered_with_the_built_in_models() -> None:
    with pytest.raises(FormatError, match=r"stories2m: no such model; .*\(stories9m\)"):
        open_model("stories2m")


def test_a_run_is_opened_through_one_folder(tmp_path: Path, talking: ModelFile) -> None:
    convert(talking, tmp_path / "run", "run")
    model = open_model(tmp_path / "run")
    latest = tmp_path / "run" / "checkpoints" / "latest"
    assert model.source == str(latest.resolve())
    assert open_model(latest).source == model.source


def test_the_best_checkpoint_of_a_run_is_taken_not_the_latest(
    tmp_path: Path, talking: ModelFile
) -> None:
    convert(talking, tmp_path / "run", "run")
    checkpoints = tmp_path / "run" / "checkpoints"
    shutil.copytree(checkpoints / "latest", checkpoints / "step-00000005")
    (checkpoints / "best").symlink_to("step-00000005")
    assert open_model(tmp_path / "run").source == str(checkpoints / "step-00000005")


def test_half_of_a_model_of_both_directions_is_not_to_be_had(
    tmp_path: Path, talking: ModelFile
) -> None:
    convert(replace(talking, order=order_named("word2,none")), tmp_path / "m.bin")
    with pytest.raises(FormatError, match=r"reads in both directions.* leave out --reversal"):
        open_model(tmp_path / "m.bin", order=FORWARD)
    assert open_model(tmp_path / "m.bin", order=TOKEN).order is TOKEN
