"""The stories of a corpus as token shards: found, or made shard by shard.

A shard has a fixed amount of text, so the shards are the same whatever made them and however often
it was killed: those that are there are kept. A run goes on where the one before had come to in the
corpus or, where that is not known, reads past the stories in the shards.
"""

import json
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from itertools import chain, count
from pathlib import Path

from mlx_rev import files
from mlx_rev.data.encoding import Block, size_of
from mlx_rev.data.reading import Place, Reading
from mlx_rev.data.shard_set import DONE, ShardSet, is_done, open_shards, shard_path, write_done
from mlx_rev.data.shards import Shard, ShardContent, check_origin, divided, open_shard
from mlx_rev.data.workers import Encoders
from mlx_rev.errors import DataError, RevError
from mlx_rev.text.codec import StoryCodec

SHARD_BYTES = 64 << 20
"""Bytes of text after which a shard ends: with a story, and of about 35 MB."""
BLOCK_BYTES = 1 << 19
"""Bytes of text that are encoded at a time."""
_PLACE = "place.json"
"""Beside unfinished shards: where in the corpus the last story in them is."""


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
            elif old.exists():  # From before a corpus had several: divided as it is now.
                shards = ShardSet(divided(open_shard(old), SHARD_BYTES))
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
    reading: Reading,
    encoders: Encoders,
    *,
    first_only: bool = False,
) -> list[ShardSet]:
    """The shards of train or valid in each direction, those that are not there yet written; with
    `first_only`, no more than the first.

    Raises DataError for what cannot be encoded, where there is no story, and where a worker was
    killed.
    """
    folders = [direction.folder / part for direction in directions]
    for direction, folder in zip(directions, folders, strict=True):
        files.remove_leftovers(folder)
        if direction.found(part) is None:
            (folder / DONE).unlink(missing_ok=True)  # of shards that were damaged since
    first_paths = [shard_path(folder, 0) for folder in folders]
    if first_only and _kept(directions, first_paths):
        return [ShardSet((open_shard(path),)) for path in first_paths]
    for number in count(_gone_on(directions, folders, reading)):
        paths = [shard_path(folder, number) for folder in folders]
        if kept := _kept(directions, paths):
            reading.skip(kept.story_count)
            continue
        if (first := next(reading, None)) is None:
            break
        if first_only and number:
            return [ShardSet((open_shard(path),)) for path in first_paths]
        contents = [direction.new_shard() for direction in directions]
        for block, encoded in encoders.encode(_blocks(chain((first,), reading))):
            for content, each in zip(contents, encoded, strict=True):
                content.extend(each.tokens, each.lengths, block.text_bytes)
        for direction, content, path in zip(directions, contents, paths, strict=True):
            direction.write(content, path)
        _note(folders[0], number + 1, reading.last)
    if number == 0:
        raise DataError("no story to make a shard of; give more text")
    (folders[0] / _PLACE).unlink(missing_ok=True)
    return [_done(folder, number) for folder in folders]


def _kept(directions: Sequence[Direction], paths: Sequence[Path]) -> Shard | None:
    """The first of the shards that have the same stories in each direction, if all are there."""
    kept = [direction.kept(path) for direction, path in zip(directions, paths, strict=True)]
    counts = {None if shard is None else shard.story_count for shard in kept}
    return kept[0] if len(counts) == 1 else None


def _note(folder: Path, shards: int, last: Place) -> None:
    """Note where the last story of so many shards is."""
    noted = {"shards": shards, **asdict(last)}
    files.write_text(folder / _PLACE, json.dumps(noted) + "\n")


def _gone_on(directions: Sequence[Direction], folders: Sequence[Path], reading: Reading) -> int:
    """How many shards a run before this one made; `reading` is after their stories then.

    0 where it did not note its place, or what is there does not fit, so that all is read again.
    """
    try:
        noted = json.loads(files.read_bytes(folders[0] / _PLACE))
        shards, position = int(noted["shards"]), tuple(map(int, noted["position"]))
        place = Place(position, max(0, int(noted["stories"])))
    except (OSError, ValueError, LookupError, OverflowError, TypeError):
        return 0
    last = None
    for number in range(shards):
        last = _kept(directions, [shard_path(folder, number) for folder in folders])
        if last is None:
            return 0
    known = last and last.story(last.story_count - 1)[1:-1].tolist()
    try:
        reading.go_to(place)
        # The story is the last one of the shard, or the place is not what it was.
        story = next(reading, None)
        if story is not None and directions[0].codec.encode(story) == known:
            return shards
    except (RevError, LookupError, OSError, OverflowError, TypeError, ValueError):
        pass  # No such place; what else may be wrong is said when all is read again.
    reading.go_to(Place())
    return 0


def _blocks(stories: Iterator[str]) -> Iterator[Block]:
    """The stories of one shard."""
    total = size = 0
    block = Block([], [])
    for story in stories:
        text_bytes = size_of(story)
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
