"""Stories from standard input, kept in the cache so that they can be read more than once."""

import hashlib
import os
import re
import shutil
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import IO

from mlx_rev import files
from mlx_rev.data.sources.content import BLOCK, opened
from mlx_rev.data.sources.names import STANDARD_INPUT, Named, joined, sources_in
from mlx_rev.errors import DataError, RevError

NAME = "standard input"
_FOLDER = "standard-input"
_HEAD = 4096
"""Bytes by which the kind of what comes is told."""
_JSON = re.compile(rb"""(\xef\xbb\xbf)?\s*(\{\s*["}]|\[\s*[\[\]{"])""")
_PACKED = {b"\x1f\x8b": ".gz", b"\x28\xb5\x2f\xfd": ".zst"}
"""How compressed files begin (RFC 1952, RFC 8878)."""


def spooled(data: str, stream: IO[bytes] | None, cache: Path) -> str:
    """`data`, with a file in `cache` in place of `-`, which holds what `stream` gives.

    Its name is the sha256 of that, and an ending for what it is taken for: text, JSON or Parquet,
    compressed or not. Raises DataError where nothing comes, or for a cache with a comma in its path
    that would have to stand beside another source or a weight.
    """
    sources = sources_in(data)
    if all(named.name != STANDARD_INPUT for named in sources):
        return data
    if stream is None or stream.isatty():
        raise DataError("--data -: standard input is no file or pipe; give it one, with < or |")
    kept = _kept(stream, cache / _FOLDER)
    found = [
        Named(str(kept), each.weight) if each.name == STANDARD_INPUT else each for each in sources
    ]
    if sources_in(joined(found)) != found:
        raise DataError(
            f"--data {data}: what came is kept as {kept}, which cannot be named with a weight or "
            "beside others; give --cache a folder without a comma in its path"
        )
    return joined(found)


def said(text: str, cache: Path) -> str:
    """`text` with "standard input" in place of the file that it is kept in, whose name says
    nothing. Where that file is gone, its path is what helps."""
    folder = re.escape(str(cache / _FOLDER) + os.sep)
    kept = rf"({folder}|(?<![\w/\\]))[0-9a-f]{{64}}\.(txt|jsonl|parquet)(\.gz|\.zst)?"

    def name(found: re.Match[str]) -> str:
        return found[0] if found[1] and not Path(found[0]).exists() else NAME

    return re.sub(kept, name, text)


@contextmanager
def naming_standard_input(cache: Path) -> Iterator[None]:
    """Let the errors that name the file it is kept in name standard input."""
    try:
        yield
    except RevError as error:
        raise type(error)(said(str(error), cache)) from error


def _kept(stream: IO[bytes], folder: Path) -> Path:
    """The file in `folder` with what `stream` gives."""
    folder.mkdir(parents=True, exist_ok=True)
    files.remove_leftovers(folder)
    with files.naming(folder):
        private = files.private_folder(folder)
        try:
            return _moved(stream, private, folder)
        finally:
            shutil.rmtree(private, ignore_errors=True)


def _moved(stream: IO[bytes], private: Path, folder: Path) -> Path:
    """The same, by way of a folder that nobody else uses."""
    arriving, head, digest = private / "arriving", b"", hashlib.sha256()
    with open(arriving, "wb") as file:
        while block := stream.read(BLOCK):
            head = head or block[:_HEAD]
            digest.update(block)
            file.write(block)
    if not head:
        raise DataError("--data -: nothing came on standard input; expected stories")
    files.sync_file(arriving)
    kept = folder / f"{digest.hexdigest()}{_suffix(arriving, head)}"
    os.replace(arriving, kept)
    files.sync_folder(folder)
    return kept


def _suffix(path: Path, head: bytes) -> str:
    """How the name of a file should end that begins with `head`."""
    if head.startswith(b"PAR1"):
        return ".parquet"
    packed = next((end for magic, end in _PACKED.items() if head.startswith(magic)), "")
    if packed:
        named = path.with_suffix(packed)
        named.symlink_to(path.name)
        with suppress(DataError), opened(named) as content:
            head = content.read(_HEAD)
        named.unlink()
    return (".jsonl" if _JSON.match(head) else ".txt") + packed
