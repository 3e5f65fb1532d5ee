"""Which tokenizer a model gets: the one beside it, where it is the right one, or the one named."""

import shutil
from pathlib import Path

import pytest

from mlx_rev.errors import RevError
from mlx_rev.formats.convert import Dtype, Format, convert
from mlx_rev.formats.detect import open_model
from mlx_rev.formats.model_file import ModelFile
from mlx_rev.formats.tokenizers import tokenizer_bin
from mlx_rev.text.order import FORWARD, Order
from mlx_rev.text.tokenizer import Tokenizer


@pytest.fixture
def written(tmp_path: Path, talking: ModelFile) -> Path:
    """m.bin and the folder m, with their tokenizers."""
    convert(talking, tmp_path / "m.bin", Format.LLAMA2C, Dtype.FLOAT32)
    convert(talking, tmp_path / "m", Format.MLX, Dtype.FLOAT32)
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
        (beside / "tokenizer.model").write_bytes(content.model if harm == "wrong" else b"\n?")
        (beside / "tokenizer.bin").write_bytes(tokenizer_bin.to_bytes(content))
    if harm == "wrong" or name == "m":
        with pytest.raises(RevError, match=r"--tokenizer|not a SentencePiece"):
            open_model(written / name)
    assert ids(open_model(written / name, tokenizer=right)) == ids(talking)
