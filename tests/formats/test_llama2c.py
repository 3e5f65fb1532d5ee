"""A real llama2.c model, what run.c prints for it, and files that lie."""

import json
import struct
from pathlib import Path

import numpy as np
import pytest

from mlx_rev import load
from mlx_rev.config import Dtype
from mlx_rev.errors import FormatError
from mlx_rev.formats import llama2c
from mlx_rev.formats.convert import convert
from mlx_rev.formats.detect import open_model
from mlx_rev.formats.model_file import ModelFile
from mlx_rev.formats.tokenizers import tokenizer_bin

HEADER = struct.Struct("<7i")


@pytest.fixture
def written(tmp_path: Path, talking: ModelFile) -> Path:
    path = tmp_path / "model.bin"
    convert(talking, path, "llama2c", Dtype.FLOAT32)
    (tmp_path / "model.bin.json").unlink()
    return path


@pytest.mark.process
def test_greedy_stories_are_those_of_run_c(shared: Path) -> None:
    folder = shared / "llama2c"
    teller = load(folder / "stories260K.bin")
    golden = json.loads((folder / "golden_greedy.json").read_text())["greedy"]
    for prompt, expected in golden.items():
        given = len(teller.codec.tokenizer.encode(prompt)) if prompt else 0
        # run.c takes 256 steps, the first reads BOS, and it prints what the others read or make
        story = teller.tell(prompt, temperature=0, max_tokens=256 - given)
        assert story.text + "\n" == expected


def test_a_real_model_comes_back_byte_for_byte(shared: Path, tmp_path: Path) -> None:
    source = shared / "llama2c" / "stories260K.bin"
    model = open_model(source)
    convert(model, tmp_path / "again.bin", "llama2c", Dtype.FLOAT32)
    ours = np.fromfile(tmp_path / "again.bin", np.uint8)
    theirs = np.fromfile(source, np.uint8)
    assert len(ours) == len(theirs)
    tables = 2 * model.config.context * model.config.head_dim // 2 * 4
    assert np.array_equal(ours[:-tables], theirs[:-tables])
    difference = ours[-tables:].view("<f4") - theirs[-tables:].view("<f4")
    assert np.abs(difference).max() <= 1e-6


def test_long_rope_tables_are_made_in_parts(monkeypatch: pytest.MonkeyPatch) -> None:
    from mlx_rev.config import ModelConfig

    config = ModelConfig(context=1000)
    (whole,) = llama2c.rope_table(config, np.sin)
    monkeypatch.setattr(llama2c, "_TABLE_PART", 48)
    parts = list(llama2c.rope_table(config, np.sin))
    assert max(map(len, parts)) == 3
    assert np.array_equal(np.concatenate(parts), whole)


def test_a_real_tokenizer_comes_back_byte_for_byte(shared: Path, tmp_path: Path) -> None:
    source = shared / "llama2c" / "tok512.bin"
    assert tokenizer_bin.to_bytes(tokenizer_bin.read(source)) == source.read_bytes()


def test_a_rebuilt_tokenizer_encodes_as_the_original(shared: Path, tmp_path: Path) -> None:
    from mlx_rev.data.sources.story_files import read_stories
    from mlx_rev.text.sentencepiece import SentencePiece

    original = SentencePiece.load(shared / "llama2c" / "tokenizer.model")
    path = tmp_path / "tokenizer.bin"
    path.write_bytes(tokenizer_bin.to_bytes(original))
    rebuilt = tokenizer_bin.read(path)
    stories = list(read_stories(shared / "tinystories" / "valid.txt"))[:300]
    assert rebuilt.encode_batch(stories) == original.encode_batch(stories)


@pytest.mark.parametrize(
    ("field", "value", "named"),
    [
        (0, 0, "dim is 0"),
        (0, -32, "dim is -32"),
        (1, 2**31 - 1, "hidden_dim is 2147483647"),
        (2, 0, "n_layers is 0"),
        (3, 5, "n_heads 5 does not divide dim"),
        (4, 3, "n_kv_heads 3 does not divide n_heads"),
        (5, -(2**31), "vocab_size is 2147483648"),
        (6, -1, "max_seq_len is -1"),
        (2, 3, "bytes, but its header"),
        (5, 401, "bytes, but its header"),
    ],
)
def test_a_lying_header_is_refused_by_field(
    written: Path, field: int, value: int, named: str
) -> None:
    content = bytearray(written.read_bytes())
    struct.pack_into("<i", content, 4 * field, value)
    written.write_bytes(content)
    with pytest.raises(FormatError, match=named):
        open_model(written)


@pytest.mark.parametrize("size", [0, 27, 28, 1000, -1, -4])
def test_a_cut_file_is_refused(written: Path, size: int) -> None:
    written.write_bytes(written.read_bytes()[:size])
    with pytest.raises(FormatError):
        open_model(written)


def test_a_longer_file_is_refused(written: Path) -> None:
    with open(written, "ab") as file:
        file.write(b"\0\0\0\0")
    with pytest.raises(FormatError, match="bytes, but its header"):
        open_model(written)


def test_weights_that_are_no_numbers_are_refused(written: Path) -> None:
    content = bytearray(written.read_bytes())
    struct.pack_into("<f", content, HEADER.size + 4000, float("nan"))
    written.write_bytes(content)
    with pytest.raises(FormatError, match=r"model\.embed_tokens\.weight has NaN"):
        load(written)


def test_other_bytes_than_the_sidecar_says_are_refused(tmp_path: Path, talking: ModelFile) -> None:
    path = tmp_path / "model.bin"
    convert(talking, path, "llama2c", Dtype.FLOAT32)
    content = bytearray(path.read_bytes())
    content[5000] ^= 1
    path.write_bytes(content)
    with pytest.raises(FormatError, match="its sha256 is"):
        open_model(path)


@pytest.mark.parametrize(("offset", "value"), [(4, 3), (4, -1), (37, 0), (37, 48), (37, -32)])
def test_a_damaged_quantised_header_is_refused(
    tmp_path: Path, talking: ModelFile, offset: int, value: int
) -> None:
    path = tmp_path / "model.bin"
    convert(talking, path, "llama2c-v2", Dtype.Q8)
    (tmp_path / "model.bin.json").unlink()
    content = bytearray(path.read_bytes())
    struct.pack_into("<i", content, offset, value)
    path.write_bytes(content)
    with pytest.raises(FormatError):
        open_model(path)


def test_group_size_divides_both_widths() -> None:
    """llama2.c's own export looks at dim alone; runq.c needs whole groups in hidden_dim too."""
    from mlx_rev.config import ModelConfig

    config = ModelConfig(dim=64, n_heads=4, n_kv_heads=4, hidden_dim=172, vocab_size=512)
    assert llama2c._group_size(config) == 4
