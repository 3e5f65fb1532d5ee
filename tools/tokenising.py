"""Text to tokens in two ways: mlx-rev's, and that of llama2.c (tinystories.py), restated here.

    python tools/tokenising.py STORIES       compare them; STORIES as in mlx-rev train --data
    python tools/tokenising.py WAY FOLDER    one of them, once

Both read the same stories from the same JSON files, reverse them as the article does, use the same
tokenizer and all cores, and write all tokens to disk. Every round is a process that starts anew, so
what starting takes counts. That both wrote the same tokens is checked.
"""

import json
import re
import resource
import shutil
import subprocess
import sys
import tempfile
import time
from concurrent.futures import ProcessPoolExecutor
from functools import partial
from pathlib import Path

import numpy as np

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT))

WAYS = ("mlx-rev-tokenises", "llama2.c-tokenises")
_PIECES = 4096
_LEARNT_FROM = 5000
_FILES = 8
_TOKENIZER = "tokenizer.model"
_STORIES = "stories"
_ARTICLE = re.compile(r"""([\w\d']+|\.|"|\?|\!|,)""")


def lay_out(data: str, folder: Path) -> int:
    """Write the stories as TinyStories comes, in several JSON files, and a tokenizer; the bytes of
    text."""
    from mlx_rev.config import DataConfig
    from mlx_rev.data.corpus import open_corpus
    from mlx_rev.text.order import WORD
    from mlx_rev.text.sentencepiece import SentencePiece

    texts = list(open_corpus(DataConfig(data=data), folder / "cache").train())
    learnt = SentencePiece.train(map(WORD.reverse, texts[:_LEARNT_FROM]), _PIECES)
    learnt.save(folder / _TOKENIZER)
    (folder / _STORIES).mkdir()
    for number in range(_FILES):
        part = texts[number * len(texts) // _FILES : (number + 1) * len(texts) // _FILES]
        entries = [{"story": text, "summary": ""} for text in part]
        path = folder / _STORIES / f"data{number:02d}.json"
        path.write_text(json.dumps(entries), encoding="utf-8")
    return sum(len(text.encode()) for text in texts)


def llama2c(folder: Path) -> None:
    """A pool of processes, a file for each at a time; a call of SentencePiece for each story."""
    with ProcessPoolExecutor() as pool:
        work = partial(_pretokenise, model=str(folder / _TOKENIZER))
        list(pool.map(work, sorted((folder / _STORIES).glob("*.json"))))


def _pretokenise(path: Path, model: str) -> None:
    from sentencepiece import SentencePieceProcessor

    processor = SentencePieceProcessor(model_file=model)
    with open(path, encoding="utf-8") as file:
        entries = json.load(file)
    tokens: list[int] = []
    for entry in entries:
        text = "".join(_ARTICLE.split(entry["story"].strip())[::-1])
        tokens.append(processor.bos_id())
        tokens.extend(processor.encode(text))
    np.array(tokens, dtype=np.uint16).tofile(path.with_suffix(".bin"))


def mlx_rev(folder: Path) -> None:
    """As `mlx-rev prepare` does, with a tokenizer that is there."""
    from mlx_rev.config import DataConfig
    from mlx_rev.data.corpus import open_corpus
    from mlx_rev.data.reading import Reading
    from mlx_rev.data.tokenising import Direction, make_shards
    from mlx_rev.data.workers import Encoders, worker_count
    from mlx_rev.text.codec import StoryCodec
    from mlx_rev.text.order import WORD
    from mlx_rev.text.sentencepiece import SentencePiece

    stories = folder / _STORIES
    # With --valid, no story is held out of the data.
    config = DataConfig(data=str(stories), valid=str(stories / "data00.json"))
    corpus = open_corpus(config, folder / "cache")
    codec = StoryCodec(SentencePiece.load(folder / _TOKENIZER), WORD)
    direction = Direction(codec, corpus.fingerprint, folder / "shards")
    with Encoders(codec, worker_count()) as encoders:
        make_shards([direction], "train", Reading(corpus.train, lambda share, size: None), encoders)


def alike(folder: Path) -> bool:
    """Whether both wrote the same tokens."""
    from mlx_rev.data.shard_set import open_shards

    ours = [shard.tokens[:-1] for shard in open_shards(folder / "shards" / "train").shards]
    theirs = [np.fromfile(path, np.uint16) for path in sorted((folder / _STORIES).glob("*.bin"))]
    return np.array_equal(np.concatenate(ours), np.concatenate(theirs))


def measure(data: str, rounds: int) -> dict[str, tuple[list[float], list[float], int]]:
    """Of each way: bytes of text a second of each round and, of CPU time, the same; and the peak
    memory of its largest process, in bytes."""
    found: dict[str, tuple[list[float], list[float], int]] = {way: ([], [], 0) for way in WAYS}
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        size = lay_out(data, folder)
        for number in range(rounds):
            for way in WAYS if number % 2 else WAYS[::-1]:
                shutil.rmtree(folder / "shards", ignore_errors=True)
                done = subprocess.run(
                    [sys.executable, __file__, way, folder], stdout=subprocess.PIPE, check=True
                )
                seconds, cpu, peak = json.loads(done.stdout)
                speeds, of_cpu, before = found[way]
                found[way] = ([*speeds, size / seconds], [*of_cpu, size / cpu], max(before, peak))
                if way == WAYS[0] and number and not alike(folder):
                    raise SystemExit("they wrote different tokens")
    return found


def _once(way: str, folder: Path) -> None:
    begin = time.perf_counter()
    (mlx_rev if way == WAYS[0] else llama2c)(folder)
    seconds = time.perf_counter() - begin
    used = [resource.getrusage(who) for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN)]
    cpu = sum(each.ru_utime + each.ru_stime for each in used)
    unit = 1 if sys.platform == "darwin" else 1024
    print(json.dumps([seconds, cpu, unit * max(each.ru_maxrss for each in used)]))


def main() -> None:
    """Compare, or do it once."""
    if sys.argv[1] in WAYS:
        _once(sys.argv[1], Path(sys.argv[2]))
        return
    for way, (speeds, of_cpu, peak) in measure(sys.argv[1], 3).items():
        wall, cpu = (sorted(each)[len(each) // 2] / 1e6 for each in (speeds, of_cpu))
        print(f"{way}: {wall:.1f} MB/s, {cpu:.1f} MB per CPU second, peak {peak / 1e6:.0f} MB")


if __name__ == "__main__":
    main()
