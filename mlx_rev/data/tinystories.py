"""TinyStories (Eldan and Li, 2023) from the Hugging Face hub, unpacked once into the cache.

The archive holds JSON shards data00.json, data01.json, ..., each a list of objects whose "story"
is the text; the first is for validation, as in llama2.c.
"""

import gzip
import re
import tarfile
from collections.abc import Iterator
from pathlib import Path
from typing import IO, cast

from mlx_rev import hub
from mlx_rev.data.progress import TellShare, TellStage
from mlx_rev.data.sources import hub_dataset
from mlx_rev.errors import DataError
from mlx_rev.files import atomic_folder, open_regular

REPOSITORY = "roneneldan/TinyStories"
ARCHIVE = "TinyStories_all_data.tar.gz"
VERSION_2 = ("TinyStoriesV2-GPT4-train.txt", "TinyStoriesV2-GPT4-valid.txt")
"""The stories that GPT-4 wrote, more and better ones than GPT-3.5's: to train on, and held out."""

MOST_MEMBERS = 1000
"""Members of an archive; TinyStories has 50."""
MOST_EXPANSION = 20
"""How many times its own size an archive may unpack to; stories compress to a quarter."""
_SLACK = 1 << 20
"""Bytes that an archive may unpack to beyond that: a small one is mostly padding."""
_MOST_AT_ONCE = 1 << 16
"""Bytes. tarfile reads the extended header of a member in one go, whatever size it claims."""
_SHARD = re.compile(r"\w[\w.-]{0,99}\.json", re.ASCII)


def fetch(cache: Path, progress: TellStage | None = None) -> Path:
    """The folder of JSON shards in `cache`, downloaded and unpacked if it is not there.

    Raises DataError without a network, and for an archive that is not what it should be, which is
    removed, so that the next call downloads it again.
    """
    folder = cache / "tinystories"
    if not folder.is_dir():
        tell = progress or (lambda what, share: None)
        tell("downloading TinyStories", 0.0)  # the hub may take a while to answer
        archive = hub_dataset.download(
            REPOSITORY,
            ARCHIVE,
            progress=lambda share: tell("downloading TinyStories", share),
            advice="The bundled stories need no network (--data bundled); or download "
            f"{ARCHIVE} elsewhere, unpack it, and give --data one of its .json files",
        )
        with atomic_folder(folder) as temporary:
            try:
                unpack(archive, temporary, lambda share: tell("unpacking TinyStories", share))
                shards(temporary)
            except DataError as error:
                hub.forget(archive)
                raise DataError(
                    f"{error}; it was removed from the hub's cache, and the same command "
                    "downloads it again"
                ) from error
    return folder


def fetch_version_2(progress: TellStage | None = None) -> tuple[Path, Path]:
    """The files of TinyStories V2, downloaded into the hub's cache where they are not there: those
    to train on, and those held out. Raises DataError without a network."""
    tell = progress or (lambda what, share: None)
    stage = "downloading TinyStories V2"
    tell(stage, 0.0)  # the hub may take a while to answer
    train, valid = (
        hub_dataset.download(
            REPOSITORY,
            name,
            progress=lambda share: tell(stage, share),
            advice="The bundled stories need no network (--data bundled); or download both files "
            f"elsewhere, and give --data {VERSION_2[0]} --valid {VERSION_2[1]}",
        )
        for name in VERSION_2
    )
    return train, valid


def unpack(archive: Path, folder: Path, progress: TellShare) -> None:
    """Unpack the plain .json files of a tar.gz into `folder`, by their last name only.

    Memory stays below a few MB. Raises DataError if it is not a tar.gz archive, is truncated, has
    more than MOST_MEMBERS members or unpacks to more than MOST_EXPANSION times its size; OSError
    if the files cannot be written.
    """
    size = archive.stat().st_size
    with open_regular(archive) as file, gzip.GzipFile(fileobj=file) as content:
        stream = _Forward(cast(IO[bytes], content), MOST_EXPANSION * size + _SLACK)
        for name, chunks in _shards_in(stream, str(archive)):
            with open(folder / name, "wb") as shard:
                for chunk in chunks:
                    shard.write(chunk)
                    progress(min(1.0, file.tell() / size))


def shards(folder: Path) -> list[Path]:
    """The JSON shards in order. Raises DataError if there are fewer than two."""
    found = sorted(folder.glob("*.json"))
    if len(found) < 2:
        raise DataError(f"{folder}: expected at least two JSON shards, found {len(found)}")
    return found


class _Forward:
    """A stream that tarfile reads from its start to its end: within limits, and never back.

    Raises ReadError for what no plain archive needs; a header with a negative size would make
    tarfile read the same members forever.
    """

    def __init__(self, stream: IO[bytes], most: int) -> None:
        self._stream, self._most = stream, most

    def read(self, size: int) -> bytes:
        if not 0 <= size <= _MOST_AT_ONCE:
            raise tarfile.ReadError(f"a header of {size:,} bytes")
        self._check(self.tell() + size)
        return self._stream.read(size)

    def seek(self, position: int) -> int:
        if position < self.tell():
            raise tarfile.ReadError("a member of negative size")
        self._check(position)
        return self._stream.seek(position)

    def tell(self) -> int:
        return self._stream.tell()

    def _check(self, position: int) -> None:
        if position > self._most:
            raise tarfile.ReadError(f"more than {self._most:,} bytes in it")


def _shards_in(stream: _Forward, source: str) -> Iterator[tuple[str, Iterator[bytes]]]:
    """The name and the content of each shard, which has to be read before the next. Raises
    DataError."""
    try:
        with tarfile.open(fileobj=cast(IO[bytes], stream), mode="r:") as tar:
            for number, member in enumerate(iter(tar.next, None)):
                if number >= MOST_MEMBERS:
                    raise tarfile.ReadError(f"more than {MOST_MEMBERS:,} members")
                name = member.name.rpartition("/")[2]
                plain = member.type in (tarfile.REGTYPE, tarfile.AREGTYPE) and not member.sparse
                if plain and _SHARD.fullmatch(name):
                    yield name, _content(stream, member, source)
    except Exception as error:
        raise _damaged(source, error) from error


def _content(stream: _Forward, member: tarfile.TarInfo, source: str) -> Iterator[bytes]:
    """A member's bytes, in chunks. Raises DataError."""
    left = member.size
    try:
        stream.seek(member.offset_data)
        while left > 0:
            if not (chunk := stream.read(min(_MOST_AT_ONCE, left))):
                raise EOFError("it ends within a member")
            left -= len(chunk)
            yield chunk
    except Exception as error:
        raise _damaged(source, error) from error


def _damaged(source: str, error: Exception) -> DataError:
    """What to raise for any error of tarfile, gzip or zlib: damage causes many kinds."""
    if isinstance(error, DataError):
        return error
    reason = str(error) or type(error).__name__
    return DataError(f"{source}: not a complete tar.gz archive of stories ({reason})")
