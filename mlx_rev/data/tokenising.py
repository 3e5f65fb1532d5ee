"""The stories of a corpus as token shards: found, or made shard by shard.

A shard has a fixed amount of text, so the shards are the same whatever made them and however often
it was killed: those that are there are kept, and the stories in them are read past.
"""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from itertools import chain, count, islice
from pathlib import Path

from mlx_rev import files
from mlx_rev.data.encoding import Block
from mlx_rev.data.shard_set import ShardSet, is_done, open_shards, shard_path, write_done
from mlx_rev.data.shards import Shard, ShardContent, check_origin, open_shard
from mlx_rev.data.workers import Encoders
from mlx_rev.errors import DataError
from mlx_rev.text.codec import StoryCodec

SHARD_BYTES = 64 << 20
"""Bytes of text after which a shard ends: with a story, and of about 35 MB."""
BLOCK_BYTES = 1 << 20
"""Bytes of text that are encoded at a time."""


@dataclass(frozen=True)
class Direction:
    """The stories of a corpus as a model reads them in one direction."""

    codec: StoryCodec
    corpus_fingerprint: str
    folder: Path
    """Where their shards are."""

    def found(self, part: str) -> ShardSet | None:
        """The finished shards of train or valid; None where there are none, or damaged ones.

        Raises DataError for those of another origin, and RevError for what is no regular file.
        """
        folder, old = self.folder / part, self.folder / f"{part}.bin"
        try:
            if is_done(folder):
                shards = open_shards(folder)
            elif old.exists():  # before a corpus had several
                shards = ShardSet((open_shard(old),))
            else:
                return None
        except DataError:
            return None
        for shard in shards.shards:
            self._check(shard)
        return shards

    def kept(self, path: Path) -> Shard | None:
        """A shard that a run before this one wrote, if it is whole. Raises as `found` does."""
        if not path.exists():
            return None
        try:
            shard = open_shard(path)
        except DataError:
            return None
        self._check(shard)
        return shard

    def new_shard(self) -> ShardContent:
        """One without stories."""
        return ShardContent(self.codec.tokenizer.vocab_size, self.codec.boundary)

    def write(self, shard: ShardContent, path: Path) -> None:
        """Write a shard, whole or not at all."""
        shard.write(
            path,
            order=self.codec.order.one_way,
            tokenizer_fingerprint=self.codec.tokenizer.fingerprint,
            corpus_fingerprint=self.corpus_fingerprint,
        )

    def _check(self, shard: Shard) -> None:
        check_origin(
            shard.path or self.folder,
            shard,
            vocab_size=self.codec.tokenizer.vocab_size,
            order=self.codec.order.one_way,
            tokenizer_fingerprint=self.codec.tokenizer.fingerprint,
            corpus_fingerprint=self.corpus_fingerprint,
        )


def make_shards(
    directions: Sequence[Direction],
    part: str,
    stories: Iterator[str],
    encoders: Encoders,
    tell: Callable[[int], None],
) -> list[ShardSet]:
    """The shards of train or valid in each direction, those that are not there yet written.

    `tell` is given the bytes of text that were gone through. Raises DataError for what cannot be
    encoded, where there is no story, and where a worker was killed.
    """
    folders = [direction.folder / part for direction in directions]
    for folder in folders:
        files.remove_leftovers(folder)
    for number in count():
        paths = [shard_path(folder, number) for folder in folders]
        kept = [each.kept(path) for each, path in zip(directions, paths, strict=True)]
        if whole := _alike(kept):
            tell(int(whole.text_bytes.sum(dtype="uint64")))
            _skip(stories, whole.story_count)
            continue
        if (first := next(stories, None)) is None:
            break
        contents = [direction.new_shard() for direction in directions]
        for block, encoded in encoders.encode(_blocks(chain((first,), stories))):
            for content, each in zip(contents, encoded, strict=True):
                content.extend(each.tokens, each.lengths, block.text_bytes)
            tell(sum(block.text_bytes))
        for direction, content, path in zip(directions, contents, paths, strict=True):
            direction.write(content, path)
    if number == 0:
        raise DataError("no story to make a shard of; give more text")
    return [_done(folder, number) for folder in folders]


def _alike(shards: Sequence[Shard | None]) -> Shard | None:
    """The first of the shards, if all are there and have the same stories."""
    first, *others = shards
    if first is None or any(
        each is None or each.story_count != first.story_count for each in others
    ):
        return None
    return first


def _skip(stories: Iterator[str], number: int) -> None:
    next(islice(stories, number, number), None)


def _blocks(stories: Iterator[str]) -> Iterator[Block]:
    """The stories of one shard."""
    total = size = 0
    block = Block([], [])
    for story in stories:
        text_bytes = len(story) if story.isascii() else len(story.encode(errors="surrogatepass"))
        block.stories.append(story)
        block.text_bytes.append(text_bytes)
        size, total = size + text_bytes, total + text_bytes
        if total >= SHARD_BYTES:
            break
        if size >= BLOCK_BYTES:
            yield block
            size, block = 0, Block([], [])
    if block.stories:
        yield block


def _done(folder: Path, number: int) -> ShardSet:
    paths = [shard_path(folder, each) for each in range(number)]
    shards = ShardSet(tuple(open_shard(path, verify=False) for path in paths))
    write_done(folder, shards)
    return shards
