"""From a corpus to token shards, once; the second time they are found in the cache."""

import hashlib
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, replace
from itertools import islice
from pathlib import Path

from mlx_rev import files
from mlx_rev.config import DataConfig, validate
from mlx_rev.data.corpus import Corpus, open_corpus
from mlx_rev.data.shard_set import ShardSet
from mlx_rev.data.shards import Shard, check_origin, open_shard, write_shard
from mlx_rev.errors import ConfigError, DataError
from mlx_rev.text.codec import StoryCodec
from mlx_rev.text.load import load_tokenizer
from mlx_rev.text.order import Order, order_named
from mlx_rev.text.sentencepiece import SentencePiece, check_encodable
from mlx_rev.text.tokenizer import BOUNDARY, Tokenizer

_STORIES_AT_ONCE = 2000
_UNKNOWN = " ⁇ ".encode()
"""What the piece <unk> adds to a text."""

Notify = Callable[[str, float | None], None]
"""Told what is being done and, where that is known, which share of it is done, 0 to 1."""

Warn = Callable[[str], None]
"""Told of what a person should know before it is too late, in a line."""


@dataclass(frozen=True)
class Prepared:
    """What training needs of a corpus."""

    codec: StoryCodec
    train: ShardSet
    valid: ShardSet
    corpus_fingerprint: str
    """sha256 of all that decides the tokens and which stories are held out."""
    opposite: "Prepared | None" = None
    """For a model that also reads forwards: the same stories, read so."""

    @property
    def directions(self) -> "tuple[Prepared, ...]":
        """What is trained on: these stories and, if they are read forwards too, those."""
        return (self,) if self.opposite is None else (self, self.opposite)


def prepare(
    config: DataConfig,
    vocab_size: int,
    cache: Path,
    notify: Notify = lambda stage, share: None,
    warn: Warn = lambda notice: None,
) -> Prepared:
    """Open the corpus, learn or load the tokenizer, and write or find the token shards.

    `warn` is told what may not be as it was meant: how stories were told apart, and a given
    tokenizer that does not give the text back. Raises DataError for a corpus or tokenizer that
    cannot be used, and ConfigError where a given tokenizer has another vocabulary than the model.
    """
    validate(config)
    corpus = open_corpus(
        config.data,
        valid=config.valid,
        valid_share=config.valid_share,
        cache=cache,
        field=config.field,
        progress=notify,
    )
    for notice in corpus.notices:
        warn(notice)
    order = order_named(config.reversal)
    tokenizer = _tokenizer(config, corpus, order, vocab_size, cache, notify)
    codec = StoryCodec(tokenizer, order)
    if codec.opposite is not None and codec.boundary == codec.opposite.boundary:
        raise ConfigError(
            f"--reversal {order.name}: this tokenizer has one mark for both ends of a text, so "
            f"nothing would tell the directions apart; give --reversal {order.one_way}"
        )
    if config.tokenizer is not None and (loss := loss_of(codec, corpus.train())):
        warn(f"{config.tokenizer}: {loss}")
    files.remove_leftovers(cache / "tokenizers")
    prepared = _prepared(codec, corpus, cache, notify)
    if codec.opposite is None:
        return prepared
    forward = _prepared(codec.opposite, corpus, cache, notify)
    fingerprint = _sha256(prepared.corpus_fingerprint, forward.corpus_fingerprint)
    return replace(prepared, corpus_fingerprint=fingerprint, opposite=forward)


def _prepared(codec: StoryCodec, corpus: Corpus, cache: Path, notify: Notify) -> Prepared:
    """The corpus as token shards, in one direction."""
    tokenizer, name = codec.tokenizer, codec.order.one_way
    parts = [corpus.fingerprint, name, tokenizer.fingerprint]
    if codec.boundary != BOUNDARY:
        parts.append(str(codec.boundary))
    fingerprint = _sha256(*parts)
    folder = cache / "shards" / fingerprint[:32]
    files.remove_leftovers(folder)
    shards = []
    for part, stories in (("train", corpus.train), ("valid", corpus.valid)):
        path = folder / f"{part}.bin"
        shard = _opened(path)
        if shard is None:
            notify(f"tokenising the {part} stories of {corpus.name}{_direction(codec)}", None)
            write_shard(
                path,
                _encoded(stories(), codec),
                vocab_size=tokenizer.vocab_size,
                order=name,
                tokenizer_fingerprint=tokenizer.fingerprint,
                corpus_fingerprint=corpus.fingerprint,
                boundary=codec.boundary,
            )
            shard = open_shard(path)
        check_origin(
            path,
            shard,
            vocab_size=tokenizer.vocab_size,
            order=name,
            tokenizer_fingerprint=tokenizer.fingerprint,
            corpus_fingerprint=corpus.fingerprint,
        )
        shards.append(shard)
    train, valid = (ShardSet((shard,)) for shard in shards)
    return Prepared(codec, train, valid, fingerprint)


def _direction(codec: StoryCodec) -> str:
    """What tells the two directions of one model apart, in words."""
    return ", read forwards" if codec.is_opposite else ""


def _tokenizer(
    config: DataConfig,
    corpus: Corpus,
    order: Order,
    vocab_size: int,
    cache: Path,
    notify: Notify,
) -> Tokenizer:
    if config.tokenizer is not None:
        tokenizer = load_tokenizer(Path(config.tokenizer))
        if tokenizer.vocab_size != vocab_size:
            raise ConfigError(
                f"--tokenizer {config.tokenizer} has {tokenizer.vocab_size} pieces, the model "
                f"{vocab_size}; pass --vocab-size {tokenizer.vocab_size}"
            )
        return tokenizer
    vocabulary = order.vocabulary + (" and forward" if order.also_forward else "")
    key = _sha256(corpus.fingerprint, vocabulary, str(vocab_size))
    path = cache / "tokenizers" / f"{key[:32]}.model"
    if path.exists():
        return SentencePiece.load(path)
    for stories in (corpus.train, corpus.valid):  # an error in either comes before the work
        next(stories())
    notify(f"learning a vocabulary of {vocab_size} pieces", None)
    tokenizer = SentencePiece.train(_as_fed(corpus.train(), order), vocab_size)
    tokenizer.save(path)
    return tokenizer


def _as_fed(stories: Iterable[str], order: Order) -> Iterator[str]:
    """Stories as the tokenizer sees them. Raises DataError, which counts in the story as it is."""
    for story in stories:
        check_encodable(story)
        yield order.reverse(story)
        if order.also_forward:
            yield story


def loss_of(codec: StoryCodec, stories: Iterable[str]) -> str:
    """What a tokenizer loses of the first stories, in words; "" where it gives all of them back."""
    some = list(islice(stories, _STORIES_AT_ONCE))
    encoded = codec.encode_batch(some)
    changed = [ids for story, ids in zip(some, encoded, strict=True) if codec.decode(ids) != story]
    if not changed:
        return ""
    pieces = codec.tokenizer.piece_bytes
    unknown = sum(pieces[token] == _UNKNOWN for ids in changed for token in ids)
    return (
        f"this tokenizer turns {unknown / sum(map(len, encoded)):.2%} of the text's tokens into "
        f"<unk> and gives {len(changed) / len(some):.1%} of the stories back changed (of the first "
        f"{len(some)}); what it loses, no model can learn"
    )


def _encoded(stories: Iterable[str], codec: StoryCodec) -> Iterator[tuple[list[int], int]]:
    iterator = iter(stories)
    while batch := list(islice(iterator, _STORIES_AT_ONCE)):
        encoded = codec.encode_batch(batch)
        for story, ids in zip(batch, encoded, strict=True):
            yield ids, len(story.encode())


def _opened(path: Path) -> Shard | None:
    """The shard that a run before this one left; None where it is missing or damaged."""
    if not path.exists():
        return None
    try:
        return open_shard(path)
    except DataError:
        return None


def _sha256(*parts: str) -> str:
    return hashlib.sha256("\0".join(parts).encode()).hexdigest()
