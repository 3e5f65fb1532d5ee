"""Values that cannot be in a run's records and shards are refused by name."""

import json
from pathlib import Path

import pytest

from mlx_rev.data.shards import open_shard, write_shard
from mlx_rev.errors import CheckpointError, DataError
from mlx_rev.train.checkpoint import check_unfinished
from mlx_rev.train.runlog import read_metrics


@pytest.mark.parametrize(
    ("line", "said"),
    [
        ('{"kind": "step", "step": 1.5, "loss": 1}', "its step is no whole number"),
        ('{"kind": "step", "step": true, "loss": 1}', "its step is no whole number"),
        ('{"kind": "step", "step": 1e400, "loss": 1}', "its step is no whole number"),
        ('{"kind": "step", "step": 1}', "its loss is no number"),
        ('{"kind": "step", "step": 1, "loss": true}', "its loss is no number"),
        ('{"kind": "step", "step": 1, "loss": -Infinity}', "its loss is no number"),
        ('{"kind": "eval", "step": 1, "bits_per_byte": NaN}', "its bits_per_byte is no number"),
        ('{"kind": "sample", "step": 1, "story": 3}', "its story is not a string"),
        ('{"kind": "sample", "step": 1, "story": "\\ud800"}', "it has a lone surrogate"),
        ('{"kind": 3, "step": 1}', "its kind is not a string"),
        ("[1]", "expected an object"),
        ("[" * 100_000, "expected an object"),
    ],
)
def test_metrics(tmp_path: Path, line: str, said: str) -> None:
    path = tmp_path / "metrics.jsonl"
    good = {"kind": "sample", "step": 1, "story": "A\u2028dog."}
    path.write_text(json.dumps(good, ensure_ascii=False) + "\n", encoding="utf-8")
    assert read_metrics(path) == [good]
    with open(path, "a") as file:
        file.write(line + "\n")
    with pytest.raises(DataError, match=f"line 2: {said}"):
        read_metrics(path)


def described(run: Path, harm: dict[str, object]) -> None:
    folder = run / "checkpoints" / "latest"
    folder.mkdir(parents=True)
    content = {
        "progress": {"step": 20, "losses": [3.5], "best": None},
        "corpus_sha256": "",
        "sha256": {"model.safetensors": "ab", "optimizer.safetensors": "cd"},
    }
    (folder / "training.json").write_text(json.dumps(content | harm))


@pytest.mark.parametrize(
    ("harm", "said"),
    [
        ({"progress": {"step": 20.0, "losses": []}}, "step is 20.0, expected a whole number"),
        ({"progress": {"step": -1, "losses": []}}, "step is -1, expected 0 or more"),
        ({"progress": {"step": 1 << 53, "losses": []}}, "expected 0 or more, and under 2\\^53"),
        ({"progress": {"step": 1, "losses": ["a"]}}, "0 is 'a', expected a number"),
        ({"progress": {"step": 1, "best": "x"}}, "best is 'x', expected a number"),
        ({"progress": 3}, "progress is 3, expected an object"),
        ({"sha256": {"model.safetensors": "ab"}}, "optimizer.safetensors is missing"),
        ({"sha256": None}, "model.safetensors is missing"),
        ({"corpus_sha256": 5}, "corpus_sha256 is 5, expected a string"),
    ],
)
def test_training_json(tmp_path: Path, harm: dict[str, object], said: str) -> None:
    described(tmp_path, harm)
    with pytest.raises(CheckpointError, match=said):
        check_unfinished(tmp_path, 100)


def test_a_finished_run_is_told_from_one_that_is_not(tmp_path: Path) -> None:
    described(tmp_path, {})
    check_unfinished(tmp_path, 21)
    for steps in (20, 7):
        with pytest.raises(CheckpointError, match="already finished, at step 20 "):
            check_unfinished(tmp_path, steps)


def test_a_shard_with_an_id_beyond_its_vocabulary(tmp_path: Path) -> None:
    path = tmp_path / "s.bin"
    for token in (299, 300):
        write_shard(
            path,
            [([5, token], 9)],
            vocab_size=300,
            order="word",
            tokenizer_fingerprint="ab" * 32,
            corpus_fingerprint="cd" * 32,
        )
        if token == 299:
            assert open_shard(path).story(0).tolist() == [1, 5, 299, 1]
    with pytest.raises(DataError, match="token 300 in a vocabulary of 300"):
        open_shard(path)
