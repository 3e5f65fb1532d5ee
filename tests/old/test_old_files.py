"""What an earlier version wrote is read, told from and resumed."""

import json
import os
import subprocess
import tarfile
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

import mlx_rev
from mlx_rev.cli.train import parse_command
from mlx_rev.data.shards import open_shard
from mlx_rev.formats.detect import open_model
from mlx_rev.model.score import token_nats
from mlx_rev.text.codec import StoryCodec
from mlx_rev.text.order import order_named
from mlx_rev.train.runlog import read_metrics

ENDING = "They were happy."
TEXT = 'Once upon a time there was a cat. Tom said, "Come here!" They were happy.'
STORIES1M_WEIGHTS = "f734890d60b613e860e406ae1b5aec64d0cd2600"
"""Git's name of weights/stories1m/model.safetensors."""


@pytest.fixture(scope="module")
def old(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The files, unpacked."""
    folder = tmp_path_factory.mktemp("old")
    for name in ("1271edf.tar.gz", "stories1m.tar.gz"):
        with tarfile.open(Path(__file__).with_name(name)) as archive:
            archive.extractall(folder, filter="data")
    return folder


def drawn_weights(header: bytes) -> bytes:
    """Numbers in the places of a safetensors file whose header this is."""
    entries = json.loads(header[8:])
    size = max(entries[name]["data_offsets"][1] for name in entries if name != "__metadata__")
    # RandomState's numbers are the same in every version of NumPy.
    return np.random.RandomState(0).uniform(-1, 1, size // 4).astype("<f4").tobytes()


def real_weights(header: bytes) -> bytes:
    """Those that stories1m had, out of the history; skips where that is not at hand."""
    show = ("git", "-C", str(Path(__file__).parent), "cat-file", "blob", STORIES1M_WEIGHTS)
    environment = {**os.environ, "GIT_NO_LAZY_FETCH": "1"}
    try:
        found = subprocess.run(show, capture_output=True, check=True, env=environment).stdout
    except (OSError, subprocess.CalledProcessError):
        pytest.skip("the weights of stories1m are in the history of a whole clone only")
    assert found.startswith(header)
    return found[len(header) :]


@pytest.mark.parametrize("name", ["run", "run/checkpoints/latest", "m/model.bin"])
def test_the_model_tells_the_same_story(old: Path, name: str) -> None:
    told = mlx_rev.load(old / name).tell(ENDING, temperature=0.0)
    # In a file the bytes that are no UTF-8 were written as they could be.
    expected = (old / "told.txt").read_text(encoding="utf-8", errors="replace")
    assert told.text + "\n" == expected


@pytest.mark.parametrize(
    ("name", "weights"), [("drawn", drawn_weights), ("real", real_weights)], ids=["drawn", "real"]
)
def test_the_first_built_in_model_says_the_same(
    old: Path, tmp_path: Path, name: str, weights: Callable[[bytes], bytes]
) -> None:
    """weights/stories1m: its own files, but of the 6 MB of weights only the header, with drawn
    numbers in their places; and the real ones. What it says is what 1271edf's code made it say."""
    for path in (old / "stories1m").iterdir():
        (tmp_path / path.name).write_bytes(path.read_bytes())
    file = tmp_path / "model.safetensors"
    with file.open("ab") as written:
        written.write(weights(file.read_bytes()))
    expected = json.loads((old / "stories1m.json").read_text(encoding="utf-8"))[name]
    teller = mlx_rev.load(tmp_path)
    assert teller.says_reversal
    [nats] = token_nats(teller.model, [np.array(teller.codec.enclosed([TEXT])[0])])
    assert nats == pytest.approx(expected["nats"], abs=2e-3)
    assert teller.tell(ENDING, temperature=0.0, max_tokens=60).text == expected["told"]


def test_all_forms_of_the_model_have_its_weights_and_order(old: Path) -> None:
    run, *others = (open_model(old / name) for name in ("run", "m/model.bin", "m.gguf"))
    assert run.order is not None
    assert run.order.name == "word"
    for other in others:
        assert other.order is run.order
        for name, weight in run.weights():
            # GGUF's are of eight bits.
            assert np.abs(other.weight(name) - weight).max() <= np.abs(weight).max() / 127


def test_the_shard_holds_its_stories(old: Path) -> None:
    shard, model = open_shard(old / "shard" / "train.bin"), open_model(old / "run")
    assert model.tokenizer is not None
    assert shard.order == "word"
    assert shard.tokenizer_fingerprint == model.tokenizer.fingerprint
    codec = StoryCodec(model.tokenizer, order_named(shard.order))
    texts = (old / "stories.txt").read_text(encoding="utf-8").split("\n<|endoftext|>\n")
    found = [codec.decode(shard.story(index)[1:-1]) for index in range(shard.story_count)]
    assert shard.story_count == 111
    assert set(found) <= set(texts)


@pytest.mark.process
def test_the_run_goes_on_as_it_would_have(
    old: Path, run: Callable[..., object], monkeypatch: pytest.MonkeyPatch
) -> None:
    """With the options that were called ranks, initial_deviation and embedding_deviation."""
    monkeypatch.chdir(old)
    done = run("train", "--resume", "run", "--plain", "--no-compile")
    assert done.returncode == 0, done.stderr
    found = [entry for entry in read_metrics(old / "run" / "metrics.jsonl") if entry["step"] > 6]
    expected = read_metrics(old / "expected.jsonl")
    found = [entry for entry in found if entry["kind"] != "sample"]
    assert [(e["kind"], e["step"]) for e in found] == [(e["kind"], e["step"]) for e in expected]
    assert [e["loss"] for e in found] == pytest.approx([e["loss"] for e in expected], abs=1e-5)


def test_an_old_run_keeps_its_rows_and_a_new_one_is_packed_anew(old: Path, tmp_path: Path) -> None:
    options = (old / "run" / "config.toml").read_text(encoding="utf-8")
    lines = [line for line in options.splitlines(True) if not line.startswith("packing")]
    (tmp_path / "config.toml").write_text("".join(lines), encoding="utf-8")
    resumed = parse_command(["--resume", str(tmp_path)], "mlx-rev train")
    assert resumed.train.packing == "once"
    assert parse_command([], "mlx-rev train").train.packing == "epoch"


def test_former_flags_are_understood() -> None:
    flags = ["--ranks", "2", "--initial-deviation=0.5", "--embedding-deviation", "0.25"]
    train = parse_command(flags, "mlx-rev train").train
    assert (train.workers, train.init_std, train.embedding_init_std) == (2, 0.5, 0.25)
