"""Text to tokens in two ways: mlx-rev's, and llama2.c's (tinystories.py, `pretokenize`), restated.

    python tools/tokenising.py STORIES       compare them; STORIES as in mlx-rev train --data
    python tools/tokenising.py KIND FOLDER   one of them, once

Both read the same stories from the same JSON files, with the same tokenizer, reverse them as the
article does, and write all tokens to disk, each in a process of its own that starts anew for every
round and uses all cores. That both write the same tokens is checked.
"""

import json
import os
import re
import sys
from collections.abc import Iterator
from concurrent.futures import ProcessPoolExecutor
from functools import partial
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT))

import numpy as np  # noqa: E402

KINDS = ("mlx-rev-tokenises", "llama2.c-tokenises")
PIECES = 4096
_FILES_A_CORE = 2
_VOCABULARY_STORIES = 5000
_TOKENIZER = "tokenizer.model"
_ARTICLE = re.compile(r"""([\w\d']+|\.|"|\?|\!|,)""")


def lay_out(stories: Iterator[str], folder: Path) -> int:
    """Write a tokenizer and the stories as TinyStories comes, in JSON files; their bytes."""
    from mlx_rev.text.order import WORD
    from mlx_rev.text.sentencepiece import SentencePiece

    texts = list(stories)
    sample = map(WORD.reverse, texts[:_VOCABULARY_STORIES])
    SentencePiece.train(sample, PIECES).save(folder / _TOKENIZER)
    count = _FILES_A_CORE * (os.cpu_count() or 1)
    for number in range(count):
        part = texts[number * len(texts) // count : (number + 1) * len(texts) // count]
        entries = [{"story": text} for text in part]
        (folder / f"data{number:02d}.json").write_text(json.dumps(entries), encoding="utf-8")
    return sum(len(text.encode()) for text in texts)


def llama2c(folder: Path) -> None:
    """A pool of processes, a file at a time; in each, a call of SentencePiece for each story."""
    names = sorted(folder.glob("*.json"))
    with ProcessPoolExecutor() as pool:
        list(pool.map(partial(_llama2c_file, tokenizer=folder / _TOKENIZER), names))


def _llama2c_file(path: Path, tokenizer: Path) -> None:
    from sentencepiece import SentencePieceProcessor

    processor = SentencePieceProcessor(model_file=str(tokenizer))
    tokens: list[int] = []
    for entry in json.loads(path.read_text(encoding="utf-8")):
        text = "".join(_ARTICLE.split(entry["story"].strip())[::-1])
        tokens += [processor.bos_id(), *processor.encode(text)]
    np.array(tokens, np.uint16).tofile(path.with_suffix(".bin"))
