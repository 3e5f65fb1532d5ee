"""From a corpus to token shards, once; the second time they are found in the cache.

Memory stays below 500 MB whatever the corpus, that of all processes together.
"""

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, replace
from itertools import islice
from pathlib import Path

from mlx_rev import files
from mlx_rev.config import DataConfig, validate
from mlx_rev.data.corpus import Corpus, open_corpus
from mlx_rev.data.progress import Notify, Progress, telling
from mlx_rev.data.reading import Reading
from mlx_rev.data.shard_set import ShardSet, is_done
from mlx_rev.data.sources.opening import sha256
from mlx_rev.data.sources.problems import Problems
from mlx_rev.data.tokenising import Direction, make_shards
from mlx_rev.data.vocabulary_sample import sample
from mlx_rev.data.workers import Encoders, worker_count
from mlx_rev.errors import ConfigError
from mlx_rev.text.codec import StoryCodec
from mlx_rev.text.load import load_tokenizer
from mlx_rev.text.order import Order, order_named
from mlx_rev.text.sentencepiece import TRAINING_BYTES, SentencePiece, check_encodable
from mlx_rev.text.tokenizer import BOUNDARY, Tokenizer

_TRIED = 2000
"""Stories by which a given tokenizer is judged."""
_UNKNOWN = " ⁇ ".encode()
"""What the piece <unk> adds to a text."""

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
    whole: bool = True
    """Whether all stories to train on are there, or those of the first shard only."""
    left_out: str = ""
    """What was left out of what was read now, in a line; "" if nothing was."""

    @property
    def directions(self) -> "tuple[Prepared, ...]":
        """What is trained on: these stories and, if they are read forwards too, those."""
        return (self,) if self.opposite is None else (self, self.opposite)


def prepare(
    config: DataConfig,
    vocab_size: int,
    cache: Path,
    notify: Notify = lambda progress: None,
    warn: Warn | None = None,
    workers: int | None = None,
    first_only: bool = False,
) -> Prepared:
    """Open the corpus, learn or load the tokenizer, and write or find the token shards; with
    `first_only`, of those to train on no more than the first.

    A run that was interrupted is gone on with at the shard that it was at. `workers` processes
    tokenise a corpus of more than a few megabytes, by default as many as there are cores, up to
    four; the shards are the same for any number. `warn` is told what may not be as it was meant:
    how stories were told apart, and a given tokenizer that does not give the text back, which is
    not looked for where nobody is told. Raises DataError for a corpus or tokenizer that cannot be
    used, and ConfigError where a given tokenizer has another vocabulary than the model.
    """
    validate(config)
    tokenizer = None if config.tokenizer is None else _given(config.tokenizer, vocab_size)
    corpus = open_corpus(
        config, cache, lambda stage, share: notify(Progress(stage, share)), tokenizer
    )
    say = warn or (lambda notice: None)
    for notice in corpus.notices:
        say(notice)
    order = order_named(config.reversal)
    if tokenizer is None:
        tokenizer = _learnt(corpus, order, vocab_size, cache, notify)
    codec = StoryCodec(tokenizer, order)
    if len({each.boundary for each in codec.directions}) < len(codec.directions):
        raise ConfigError(
            f"--reversal {order.name}: this tokenizer has one mark for both ends of a text, so "
            f"nothing would tell the directions apart; give --reversal {order.one_way}"
        )
    if warn and config.tokenizer is not None:
        # What is left out of these is counted where they are made into shards.
        problems = Problems(skip=corpus.problems.skip, tokenizer=tokenizer)
        uncounted = replace(corpus.train, problems=problems)
        if loss := loss_of(codec, uncounted()):
            say(f"{config.tokenizer}: {loss}")
    files.remove_leftovers(cache / "tokenizers")
    prepared = _prepared(codec, corpus, cache, notify, workers or worker_count(), first_only)
    left_out = corpus.problems.summary()
    if left_out:
        say(left_out)
    return replace(prepared, left_out=left_out)


def _prepared(
    codec: StoryCodec,
    corpus: Corpus,
    cache: Path,
    notify: Notify,
    workers: int,
    first_only: bool,
) -> Prepared:
    """The corpus as token shards in each direction of the codec."""
    fingerprints = [_fingerprint(each, corpus) for each in codec.directions]
    directions = [
        Direction(each, corpus.fingerprint, cache / "shards" / fingerprint[:32])
        for each, fingerprint in zip(codec.directions, fingerprints, strict=True)
    ]
    parts, is_whole = [], True
    with Encoders(codec, workers) as encoders:
        for name, part in (("train", corpus.train), ("valid", corpus.valid)):
            found = [direction.found(name) for direction in directions]
            whole = [shards for shards in found if shards is not None]
            if len(whole) < len(found):
                tell = telling(f"tokenising the {name} stories of {corpus.name}", notify)
                first = first_only and name == "train"
                reading = Reading(part, tell)
                whole = make_shards(directions, name, reading, encoders, first_only=first)
                is_whole &= all(is_done(direction.folder / name) for direction in directions)
            parts.append(whole)
    backward, *forward = (
        Prepared(direction.codec, train, valid, fingerprint, whole=is_whole)
        for direction, fingerprint, train, valid in zip(
            directions, fingerprints, *parts, strict=True
        )
    )
    if not forward:
        return backward
    return replace(backward, corpus_fingerprint=sha256(*fingerprints), opposite=forward[0])


def _fingerprint(codec: StoryCodec, corpus: Corpus) -> str:
    """sha256 of what decides the tokens in one direction."""
    parts = [corpus.fingerprint, codec.order.one_way, codec.tokenizer.fingerprint]
    return sha256(*parts, *([] if codec.boundary == BOUNDARY else [str(codec.boundary)]))


def _given(path: str, vocab_size: int) -> Tokenizer:
    """The tokenizer that was asked for. Raises RevError."""
    tokenizer = load_tokenizer(Path(path))
    if tokenizer.vocab_size != vocab_size:
        raise ConfigError(
            f"--tokenizer {path} has {tokenizer.vocab_size} pieces, the model {vocab_size}; pass "
            f"--vocab-size {tokenizer.vocab_size}"
        )
    return tokenizer


def _learnt(
    corpus: Corpus, order: Order, vocab_size: int, cache: Path, notify: Notify
) -> Tokenizer:
    """A vocabulary of the stories to train on, learnt now or found. Raises DataError."""
    vocabulary = order.vocabulary + (" and forward" if order.also_forward else "")
    key = sha256(corpus.fingerprint, vocabulary, str(vocab_size))
    path = cache / "tokenizers" / f"{key[:32]}.model"
    if path.exists():
        return SentencePiece.load(path)
    for stories in (corpus.train, corpus.valid):  # an error in either comes before the work
        next(stories())
    reading = Reading(corpus.train, telling("choosing text for the vocabulary", notify))
    chosen = sample(reading, TRAINING_BYTES // (2 if order.also_forward else 1))
    notify(Progress(f"learning a vocabulary of {vocab_size} pieces"))
    tokenizer = SentencePiece.train(_as_fed(chosen, order), vocab_size)
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
    some = list(islice(stories, _TRIED))
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
