"""What is in token shards: how many stories, how long they are, and whether any is damaged."""

from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import suppress
from dataclasses import dataclass
from itertools import count
from pathlib import Path

import numpy as np

from mlx_rev import run_folder
from mlx_rev.data.shard_set import DONE, ShardSet, is_done, open_shards
from mlx_rev.data.shards import Shard, open_shard
from mlx_rev.errors import DataError, RevError
from mlx_rev.text.codec import StoryCodec
from mlx_rev.text.load import load_tokenizer
from mlx_rev.text.order import ORDER_NAMES
from mlx_rev.text.tokenizer import Tokenizer

PARTS = ("train", "valid")
"""What a corpus is divided into."""
_MOST_BINS = 20
_COUNTED = 2000
"""Stories whose words are counted."""


@dataclass(frozen=True)
class Contents:
    """What is in the shards of one corpus, in one direction."""

    shards: int
    stories: int
    tokens: int
    """Boundaries included."""
    text_bytes: int
    """UTF-8 bytes of all stories' text."""
    tokens_per_word: float | None
    """Of some stories spread over all of them; words are what white space divides. None where the
    tokenizer is not known."""
    lengths: "Lengths"
    without_checksum: int
    """Shards whose file has none; those of the others match."""

    @property
    def bytes_per_token(self) -> float:
        """How much text a token stands for."""
        return self.text_bytes / self.tokens


@dataclass(frozen=True)
class Lengths:
    """How long stories are, in tokens, with one of their boundaries."""

    median: int
    most: int
    """95 of 100 stories are as long as this at most."""
    longest: int
    width: int
    """Tokens that a bin is wide."""
    counts: tuple[int, ...]
    """Stories of 1 to `width` tokens, of width + 1 to 2 · width, and so on; of the last bin, longer
    ones too."""


@dataclass(frozen=True)
class Example:
    """A story as a person reads it and as the model does."""

    text: str
    pieces: tuple[str, ...]
    """Its tokens in model order, without boundaries; what is no whole character is U+FFFD."""


def find_shards(path: Path) -> dict[str, ShardSet]:
    """The shards in a file, a folder of them, or a folder with those of "train" and "valid", by
    name. Opened, not verified. Raises RevError where there are none."""
    expected = "expected a training run or finished token shards"
    if not path.exists():
        raise DataError(f"{path}: is not there; {expected}")
    if not path.is_dir():
        return {path.stem: _opened(path)}
    if is_done(path):
        return {path.resolve().name: _opened(path)}
    found = {}
    for part in PARTS:
        if is_done(path / part):
            found[part] = _opened(path / part)
        elif (former := path / f"{part}.bin").is_file():
            found[part] = _opened(former)
    if not found:
        names = f"{run_folder.CONFIG}, {DONE} or {PARTS[0]}.bin"
        raise DataError(f"{path}: has no {names}; {expected}")
    return found


def _opened(path: Path) -> ShardSet:
    """The shards of a file or folder. Raises RevError, also for an order that there is not, which
    is what damage can do to a header."""
    shards = (
        open_shards(path, verify=False)
        if path.is_dir()
        else ShardSet((open_shard(path, verify=False),))
    )
    if shards.order not in ORDER_NAMES:
        expected = ", ".join(ORDER_NAMES)
        raise DataError(f"{path}: its order is {shards.order!r}, expected {expected}; damaged")
    return shards


def find_tokenizer(shards: ShardSet, folder: Path) -> Tokenizer | None:
    """The tokenizer that shards were made with, if it is among the files of `folder`."""
    for path in sorted(folder.glob("*")):
        with suppress(RevError):
            tokenizer = load_tokenizer(path)
            if tokenizer.fingerprint == shards.tokenizer_fingerprint:
                return tokenizer
    return None


def inspect(
    shards: ShardSet,
    codec: StoryCodec | None = None,
    progress: Callable[[float], None] = lambda share: None,
) -> Contents:
    """Read all shards through and say what is in them; `progress` is told which share is read.

    Raises DataError, naming the file, where a checksum does not match or an id is no token's.
    """
    read, whole = 0, dict[Path | int, Shard]()
    for number, shard in enumerate(shards.shards):
        if shard.path is not None and shard.path not in whole:
            open_shard(shard.path, verify=True)
        whole[shard.path or number] = shard  # several may be parts of one file
        read += len(shard.tokens)
        progress(read / shards.token_count)
    return Contents(
        shards=len(whole),
        stories=shards.story_count,
        tokens=shards.token_count,
        text_bytes=shards.text_size,
        tokens_per_word=_tokens_per_word(shards, codec) if codec else None,
        lengths=_lengths(shards),
        without_checksum=sum(not shard.has_checksum for shard in whole.values()),
    )


def examples(shards: ShardSet, codec: StoryCodec, most: int) -> list[Example]:
    """`most` stories spread over all of them, or all if they are fewer."""
    pieces = codec.tokenizer.piece_bytes
    found = []
    for ids in _spread(shards, most):
        shown = tuple(pieces[token].decode(errors="replace") for token in ids)
        found.append(Example(codec.decode(ids), shown))
    return found


def _tokens_per_word(shards: ShardSet, codec: StoryCodec) -> float | None:
    tokens = words = 0
    for ids in _spread(shards, _COUNTED):
        tokens += len(ids)
        words += len(codec.decode(ids).split())
    return tokens / words if words else None


def _spread(shards: ShardSet, most: int) -> list[list[int]]:
    """The ids of so many stories, at even distances, without boundaries."""
    most = min(most, shards.story_count)
    numbers = np.unique(np.linspace(0, shards.story_count - 1, most, dtype=np.int64))
    return [shards.story(number)[1:-1].tolist() for number in numbers.tolist()]


def _lengths(shards: ShardSet) -> Lengths:
    """Of one shard after the other: there are few lengths, however many stories."""
    counted: Counter[int] = Counter()
    for shard in shards.shards:
        own = np.unique(np.diff(shard.starts).astype(np.int64), return_counts=True)
        counted.update(dict(zip(*map(np.ndarray.tolist, own), strict=True)))
    lengths = np.array(sorted(counted))
    counts = np.array([counted[length] for length in lengths.tolist()])
    shares = np.array([0.5, 0.95, 0.99])
    places = np.floor(shares * (shards.story_count - 1))
    median, most, last = lengths[np.searchsorted(np.cumsum(counts), places, "right")].tolist()
    width = next(size for size in _round_numbers() if last <= size * _MOST_BINS)
    bins = np.minimum((lengths - 1) // width, -(-last // width))
    return Lengths(
        median=median,
        most=most,
        longest=int(lengths.max()),
        width=width,
        counts=tuple(np.bincount(bins, counts).astype(int).tolist()),
    )


def _round_numbers() -> Iterator[int]:
    """1, 2, 5, 10, 20, 50 and so on."""
    return (digit * 10**power for power in count() for digit in (1, 2, 5))
