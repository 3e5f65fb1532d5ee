"""Every reader, given damaged files: nothing but a RevError, soon, and with little memory."""

import io
import json
import random
import shutil
import tarfile
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from mlx_rev.config import Dtype, ModelConfig, RunConfig, TrainConfig
from mlx_rev.config_file import read_toml, to_toml
from mlx_rev.data import tinystories
from mlx_rev.data.shards import open_shard, write_shard
from mlx_rev.data.sources.facts import facts_of
from mlx_rev.data.sources.story_files import notices, read_stories
from mlx_rev.errors import RevError
from mlx_rev.formats import names
from mlx_rev.formats.convert import convert
from mlx_rev.formats.detect import open_model, read_tokenizer
from mlx_rev.formats.model_file import ModelFile, from_arrays
from mlx_rev.formats.tokenizers import tokenizer_bin
from mlx_rev.model.load import read_weights
from mlx_rev.text.codec import StoryCodec
from mlx_rev.text.order import WORD, Order
from mlx_rev.train import checkpoint
from mlx_rev.train.optimizer import initial_moments
from mlx_rev.train.runlog import RunLog, read_metrics
from mlx_rev.ui.plots import loss_plot

SECONDS = 2.0
"""Of processor time, at most."""
ROOM = 64 << 20
"""Bytes of memory, besides four times the file."""

_MEASURED_EVERY = 50
"""Memory is measured, and curves are drawn, for one input in so many: that takes a while."""

Read = Callable[[Path], object]
"""Reads what is damaged; given the file."""


def toml(folder: Path, model: ModelFile) -> tuple[Path, Read]:
    path = folder / "run.toml"
    path.write_text('preset = "15m"\n' + to_toml(RunConfig()))
    return path, read_toml


def metrics(folder: Path, model: ModelFile) -> tuple[Path, Read]:
    path = folder / "metrics.jsonl"
    entries = [
        {"kind": "step", "step": 20, "loss": 3.25, "learning_rate": 1e-3, "gradient_norm": 0.5},
        {"kind": "eval", "step": 25, "loss": 2.5, "bits_per_byte": 1.25, "best": True},
        {"kind": "sample", "step": 25, "ending": "The end.", "story": "A dog.\nThe end."},
    ]
    path.write_text("".join(json.dumps(entry) + "\n" for entry in entries))

    return path, read_metrics


def training(folder: Path, model: ModelFile) -> tuple[Path, Read]:
    path = folder / "checkpoints" / "latest" / "training.json"
    weights, codec = read_weights(model), StoryCodec(model.tokenizer, model.order)
    progress = checkpoint.Progress(20, (3.5, 2.25), 1.5)
    state = checkpoint.TrainingState(weights, initial_moments(weights, TrainConfig()), progress)
    fingerprint = "ef" * 32
    checkpoint.save(folder, model.config, codec, state, corpus_fingerprint=fingerprint, best=True)

    def read(path: Path) -> None:
        checkpoint.check_unfinished(folder, 100)
        checkpoint.load(folder, RunConfig(model=model.config), corpus_fingerprint=fingerprint)

    return path, read


def shard(folder: Path, model: ModelFile) -> tuple[Path, Read]:
    path = folder / "train.bin"
    write_shard(
        path,
        [([5, 6, 7, 299], 9)] * 20,
        vocab_size=300,
        order="word",
        tokenizer_fingerprint="ab" * 32,
        corpus_fingerprint="cd" * 32,
    )

    def read(path: Path) -> None:
        opened = open_shard(path)
        for index in range(opened.story_count):
            assert opened.story(index).max() < opened.vocab_size

    return path, read


def sentencepiece(folder: Path, model: ModelFile) -> tuple[Path, Read]:
    path = folder / "tokenizer.model"
    model.tokenizer.save(path)
    return path, lambda path: read_tokenizer(path).piece_bytes


def tokenizer_bins(folder: Path, model: ModelFile) -> tuple[Path, Read]:
    path = folder / "tokenizer.bin"
    path.write_bytes(tokenizer_bin.to_bytes(model.tokenizer))
    return path, lambda path: read_tokenizer(path).piece_bytes


def tokenizer_json(folder: Path, model: ModelFile) -> tuple[Path, Read]:
    convert(model, folder / "m", "mlx", Dtype.FLOAT32)
    return folder / "m" / "tokenizer.json", lambda path: read_tokenizer(path).piece_bytes


def weights(name: str, to: str, inside: str) -> Callable[..., tuple[Path, Read]]:
    def make(folder: Path, model: ModelFile) -> tuple[Path, Read]:
        target = folder / name
        convert(model, target, to, Dtype.Q8 if to == "llama2c-v2" else Dtype.FLOAT32)
        if inside != f"{name}.json":
            (folder / f"{name}.json").unlink(missing_ok=True)
        path = folder / inside

        def read(path: Path) -> None:
            for _ in open_model(target).weights():
                pass

        return path, read

    return make


def corpus(name: str, content: str) -> Callable[..., tuple[Path, Read]]:
    def make(folder: Path, model: ModelFile) -> tuple[Path, Read]:
        path = folder / name
        path.write_text(content, encoding="utf-8")

        def read(path: Path) -> None:
            notices(str(path))
            facts_of(path)
            list(read_stories(path))

        return path, read

    return make


def archive(folder: Path, model: ModelFile) -> tuple[Path, Read]:
    path = folder / "data.tar.gz"
    with tarfile.open(path, "w:gz") as tar:
        for number in range(3):
            content = json.dumps([{"story": f"Story {number}."}]).encode()
            member = tarfile.TarInfo(f"data{number:02}.json")
            member.size = len(content)
            tar.addfile(member, io.BytesIO(content))

    def read(path: Path) -> None:
        unpacked = folder / "unpacked"
        shutil.rmtree(unpacked, ignore_errors=True)
        unpacked.mkdir()
        tinystories.unpack(path, unpacked, lambda share: None)
        for one in tinystories.shards(unpacked):
            list(read_stories(one))

    return path, read


READERS = {
    "toml": toml,
    "metrics": metrics,
    "training.json": training,
    "shard": shard,
    "tokenizer.model": sentencepiece,
    "tokenizer.bin": tokenizer_bins,
    "tokenizer.json": tokenizer_json,
    "llama2c v0": weights("m.bin", "llama2c", "m.bin"),
    "llama2c v1": weights("m.bin", "llama2c-v1", "m.bin"),
    "llama2c v2": weights("m.bin", "llama2c-v2", "m.bin"),
    "sidecar": weights("m.bin", "llama2c", "m.bin.json"),
    "gguf": weights("m.gguf", "gguf", "m.gguf"),
    "config.json": weights("m", "mlx", "m/config.json"),
    "safetensors": weights("m", "mlx", "m/model.safetensors"),
    "txt": corpus("s.txt", "One day.<|endoftext|>\n\nTwo dogs ran.\n<|endoftext|>\n"),
    "json": corpus("s.json", '[{"story": "One day."}, {"text": "Two \\u00e9."}, "Three."]'),
    "jsonl": corpus("s.jsonl", '{"story": "One day."}\n["Two.", "Three."]\n"Four."\n'),
    "tar.gz": archive,
}
LIES = [
    *(
        b"\x00",
        b"\xff\xff\xff\xff",
        b"\xff" * 8,
        b"\xef\xbb\xbf",
        b"\x80",
        b"\n",
        b'"',
        b"\xe2\x96",
    ),
    *(b"0", b"-1", b"1e999", b"1e308", b"NaN", b"9" * 400, b"9" * 5000, b"0x" + b"f" * 5000),
    *(b"null", b"true", b"[]", b"{}", b'""', b'"\\ud800"', b"\\ud800", b"\\u0000", b"1979-05-27"),
    *(b"[" * 3000, b'{"a":' * 3000, b"a." * 3000, b"[[a]]\n", b"<|endoftext|>", b"\xc2\x85"),
]


def damaged(content: bytes, source: random.Random) -> bytes:
    """`content` with one to three harms: bits, cuts, copies, numbers and words that lie."""
    for _ in range(source.choice((1, 1, 2, 3))):
        size = len(content)
        # Half of all harm goes to the head, where formats say what follows.
        place = source.randrange(min(size, 400) if source.random() < 0.5 else size) if size else 0
        length = source.choice((1, 2, 4, 8, 30))
        how = source.randrange(6)
        if how == 0 and size:
            flipped = content[place] ^ 1 << source.randrange(8)
            content = content[:place] + bytes([flipped]) + content[place + 1 :]
        elif how == 1:
            content = content[:place]
        elif how == 2:
            content = content[:place] + content[place + length :]
        elif how == 3:
            content = content[:place] + content[place : place + length] + content[place:]
        elif how == 4:
            content = content[:place] + source.choice(LIES) + content[place + length :]
        else:
            content = _value_replaced(content, place, source)
    return content


def _value_replaced(content: bytes, place: int, source: random.Random) -> bytes:
    """What stands between the next two of a text format's marks, replaced by a lie."""
    start = next((at for at in range(place, len(content)) if content[at] in b":=[ ,"), None)
    if start is None:
        return content
    stop = next((at for at in range(start + 2, len(content)) if content[at] in b",]}\n "), None)
    return content[: start + 1] + source.choice(LIES) + content[stop or len(content) :]


def peak_reset() -> int:
    """Bytes held now, from which on the peak is counted anew; 0 where the system has no such."""
    try:
        Path("/proc/self/clear_refs").write_text("5")
    except OSError:
        return 0
    return _status("VmRSS")


def _status(field: str) -> int:
    lines = Path("/proc/self/status").read_text().splitlines()
    return next(int(line.split()[1]) << 10 for line in lines if line.startswith(field))


@pytest.fixture(scope="module")
def small(codecs: dict[Order, StoryCodec]) -> ModelFile:
    """A model of few weights with a vocabulary."""
    codec = codecs[WORD]
    config = ModelConfig(
        dim=8, n_layers=1, n_heads=2, n_kv_heads=1, hidden_dim=8, vocab_size=400, context=16
    )
    rng = np.random.default_rng(0)
    arrays = {
        name: rng.normal(size=shape).astype(np.float32)
        for name, shape in names.shapes(config).items()
    }
    model = from_arrays("drawn", config, arrays)
    return replace(model, tokenizer=codec.tokenizer, order=codec.order)


def attack(name: str, folder: Path, model: ModelFile, count: int, seed: int) -> int:
    """Damage a reader's file `count` times; how often it was refused."""
    path, read = READERS[name](folder, model)
    read(path)
    whole, source, refused = path.read_bytes(), random.Random(seed), 0
    for number in range(count):
        content = damaged(whole, source)
        path.write_bytes(content)
        measured = number % _MEASURED_EVERY == 0
        held, started, said = peak_reset() if measured else 0, time.process_time(), ""
        try:
            read(path)
            if name == "metrics" and measured:
                loss_plot(path, folder / "loss.png")
                RunLog(folder).rewind(22)
        except RevError as error:
            refused, said = refused + 1, str(error)
        except Exception as error:
            raise AssertionError(f"{name}, input {number}: {content[:3000]!r}") from error
        assert time.process_time() - started < SECONDS, (number, content[:3000])
        assert "\n" not in said, (number, said)
        if held:
            assert _status("VmHWM") - held < 4 * len(content) + ROOM, (number, content[:3000])
    return refused


@pytest.mark.parametrize("name", READERS)
def test_damaged_inputs_are_refused_or_read(name: str, tmp_path: Path, small: ModelFile) -> None:
    count = 250 if name in ("toml", "metrics", "training.json", "shard") else 100
    assert attack(name, tmp_path, small, count, seed=0) > count // 20


@pytest.mark.slow
@pytest.mark.parametrize("name", READERS)
def test_a_hundred_thousand_damaged_inputs(name: str, tmp_path: Path, small: ModelFile) -> None:
    attack(name, tmp_path, small, 100_000 // len(READERS) + 1, seed=1)
