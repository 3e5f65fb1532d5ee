"""The arms of the study: how each reads a story, as shards to train on and sequences to score.

Every arm has the same stories, model shape, number of steps and tokens a step, and its stories are
packed into rows by the same algorithm. What differs is said by `Arm`.
"""

import hashlib
import random
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from mlx_rev.config import DataConfig, ReversalMode
from mlx_rev.data.prepare import Prepared, prepare
from mlx_rev.data.shard_set import ShardSet
from mlx_rev.data.shards import Shard, open_shard, write_shard
from mlx_rev.data.sources.story_files import read_stories
from mlx_rev.text.codec import StoryCodec
from mlx_rev.text.order import FORWARD
from mlx_rev.text.sentences import last_sentences

MARK = 2
"""After the ending that a story is told from, for `ending-first`: EOS, which nothing else uses."""
PREFIX, SUFFIX, MIDDLE = (f"<0x{byte:02X}>" for byte in (2, 3, 4))
"""The pieces that mark the parts for `fill-in`: control characters, which no story has."""
ENDINGS = 100
"""Held-out endings that stories are told from."""
_FILLED_IN = 0.5
"""Share of the stories that `fill-in` rearranges (Bavarian et al., 2207.14255)."""

Encode = Callable[[StoryCodec, Sequence[str]], list[list[int]]]
"""From stories to ids without boundaries."""


@dataclass(frozen=True)
class Arm:
    """One way to read stories."""

    name: str
    label: str
    reversal: ReversalMode
    own_vocabulary: bool = False
    """Learnt from the text as this arm reads it; else from forward text."""
    encode: Encode | None = None
    """Where reading is more than an order."""
    stream: bool = False
    """Rows are cut from one stream of all stories, as in llama2.c, instead of packed."""
    prompt: Callable[[StoryCodec, str], tuple[int, ...]] | None = None
    """What a forward model is given to tell a story that leads to an ending."""
    writes_ending: bool = True
    """Whether what it writes then has the ending in it."""

    @property
    def takes_endings(self) -> bool:
        """Whether a story can be told from its ending."""
        return not self.stream and (self.prompt is not None or self.reversal != "none")


def arms() -> tuple[Arm, ...]:
    """All arms, in the order in which they are run."""
    return (
        Arm("forward", "forward", "none"),
        Arm("word", "word order, own vocabulary", "word2", own_vocabulary=True),
        Arm("both", "both directions, one model", "word2,none", own_vocabulary=True),
        Arm("ending-first", "forward, ending first", "none", encode=_ending_first, prompt=_told),
        Arm("word-forward-vocabulary", "word order, forward vocabulary", "word2"),
        Arm("token", "token order", "token"),
        Arm(
            "fill-in",
            "fill in the middle",
            "none",
            encode=_filled_in,
            prompt=_to_fill_in,
            writes_ending=False,
        ),
        Arm("forward-stream", "forward, stream rows", "none", stream=True),
        Arm("word-stream", "word order, stream rows", "word2", own_vocabulary=True, stream=True),
    )


def prepare_arm(
    arm: Arm, train: Path, valid: Path, vocab_size: int, cache: Path
) -> tuple[Prepared, Path]:
    """The arm's shards, made once and found again, and its vocabulary's file."""
    vocabulary = cache / f"forward-{vocab_size}.model"
    config = DataConfig(data=str(train), valid=str(valid), reversal="none")
    # Found again by the text; the file may be there of another one.
    prepare(config, vocab_size, cache).codec.tokenizer.save(vocabulary)
    if arm.own_vocabulary:
        config = replace(config, reversal=arm.reversal)
        vocabulary = cache / f"{arm.reversal.replace(',', '-')}-{vocab_size}.model"
    else:
        config = replace(config, reversal=arm.reversal, tokenizer=str(vocabulary))
    prepared = prepare(config, vocab_size, cache)
    prepared.codec.tokenizer.save(vocabulary)
    if arm.encode is not None:
        key = f"{arm.name}-{prepared.corpus_fingerprint[:16]}"
        shards = [
            _shard(cache / f"{key}-{part}.bin", prepared.codec, arm.encode, read_stories(str(path)))
            for part, path in (("train", train), ("valid", valid))
        ]
        prepared = replace(prepared, train=shards[0], valid=shards[1], corpus_fingerprint=_key(key))
    if arm.stream:
        one_story = ShardSet(tuple(map(_as_one_story, prepared.train.shards)))
        fingerprint = _key(f"stream {prepared.corpus_fingerprint}")
        prepared = replace(prepared, train=one_story, corpus_fingerprint=fingerprint)
    return prepared, vocabulary


def _as_one_story(shard: Shard) -> Shard:
    text_bytes = shard.text_bytes.sum(keepdims=True, dtype=np.uint32)
    return replace(shard, starts=shard.starts[[0, -1]], text_bytes=text_bytes)


def _key(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()


def _shard(path: Path, codec: StoryCodec, encode: Encode, stories: Iterable[str]) -> ShardSet:
    if not path.exists():
        write_shard(
            path,
            _encoded(codec, encode, list(stories)),
            vocab_size=codec.tokenizer.vocab_size,
            order=FORWARD.one_way,
            tokenizer_fingerprint=codec.tokenizer.fingerprint,
            corpus_fingerprint=_key(path.name),
        )
    return ShardSet((open_shard(path),))


def _encoded(
    codec: StoryCodec, encode: Encode, stories: list[str]
) -> Iterator[tuple[list[int], int]]:
    for ids, story in zip(encode(codec, stories), stories, strict=True):
        yield ids, len(story.encode())


def _ending_first(codec: StoryCodec, stories: Sequence[str]) -> list[list[int]]:
    """The ending, a mark, and then the whole story, as in Trelawney (2504.11336)."""
    endings = codec.encode_batch([last_sentences(story) for story in stories])
    whole = codec.encode_batch(stories)
    return [[*ending, MARK, *story] for ending, story in zip(endings, whole, strict=True)]


def _told(codec: StoryCodec, ending: str) -> tuple[int, ...]:
    return (codec.boundary, *codec.encode(ending), MARK)


def _filled_in(codec: StoryCodec, stories: Sequence[str]) -> list[list[int]]:
    """Half of the stories as they are, half as beginning, end and then the middle between them.

    Which, and where they are cut, depends on the story's text alone, so the held-out stories are
    scored whole: `sequences` leaves them as they are.
    """
    marks = [_byte(codec, piece) for piece in (PREFIX, SUFFIX, MIDDLE)]
    found = []
    for story in stories:
        chance = random.Random(_key(story))
        if chance.random() >= _FILLED_IN:
            found.append(codec.encode(story))
            continue
        ending = len(story) - len(last_sentences(story))
        # Half of them with nothing before the middle and the last sentence after it: the task
        # that the other arms are trained on.
        first, last = sorted(chance.randrange(len(story) + 1) for _ in range(2))
        if chance.random() < 0.5:
            first, last = 0, ending
        parts = (story[:first], story[last:], story[first:last])
        ids = [codec.encode(part) if part else [] for part in parts]
        found.append(
            [token for mark, own in zip(marks, ids, strict=True) for token in (mark, *own)]
        )
    return found


def _to_fill_in(codec: StoryCodec, ending: str) -> tuple[int, ...]:
    prefix, suffix, middle = (_byte(codec, piece) for piece in (PREFIX, SUFFIX, MIDDLE))
    return (codec.boundary, prefix, suffix, *codec.encode(ending), middle)


def _byte(codec: StoryCodec, piece: str) -> int:
    """The id of a byte's piece."""
    wanted = bytes([int(piece[3:5], 16)])
    return codec.tokenizer.piece_bytes.index(wanted)


def sequences(arm: Arm, codec: StoryCodec, stories: Sequence[str]) -> list[np.ndarray]:
    """Stories as an arm is scored on them, each with a boundary at both ends."""
    if arm.encode is not _ending_first:
        return [np.array(ids) for ids in codec.enclosed(stories)]
    encoded = _ending_first(codec, stories)
    return [np.array([codec.boundary, *ids, codec.boundary]) for ids in encoded]
