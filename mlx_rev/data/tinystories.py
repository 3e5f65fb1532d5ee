"""TinyStories (Eldan and Li, 2023) from the Hugging Face hub, unpacked once into the cache.

The archive holds JSON shards data00.json, data01.json, ..., each a list of objects whose "story"
is the text; the first is for validation, as in llama2.c.
"""

import tarfile
from collections.abc import Callable
from pathlib import Path

from mlx_rev import hub
from mlx_rev.errors import DataError
from mlx_rev.files import atomic_folder

REPOSITORY = "roneneldan/TinyStories"
ARCHIVE = "TinyStories_all_data.tar.gz"

Progress = Callable[[str, float], None]
"""Told what is being done and which share of it is done, 0 to 1."""


def fetch(cache: Path, progress: Progress | None = None) -> Path:
    """The folder of JSON shards in `cache`, downloaded and unpacked if it is not there.

    Raises DataError without a network, and for an archive that is not what it should be.
    """
    folder = cache / "tinystories"
    if not folder.is_dir():
        tell = progress or (lambda what, share: None)
        archive = hub.download(
            REPOSITORY,
            ARCHIVE,
            kind="dataset",
            progress=lambda share: tell("downloading TinyStories", share),
            advice="The bundled stories need no network (--data bundled); or download "
            f"{ARCHIVE} elsewhere, unpack it, and give --data one of its .json files",
        )
        with atomic_folder(folder) as temporary:
            unpack(archive, temporary, lambda share: tell("unpacking TinyStories", share))
            shards(temporary)
    return folder


def unpack(archive: Path, folder: Path, progress: Callable[[float], None]) -> None:
    """Unpack the plain .json files of `archive` into `folder`, by their last name only.

    Raises DataError where it is no tar archive, or is cut short.
    """
    size = archive.stat().st_size
    try:
        with open(archive, "rb") as file, tarfile.open(fileobj=file) as tar:
            for member in tar:
                name = Path(member.name).name
                if not member.isreg() or not name.endswith(".json") or name.startswith("."):
                    continue
                member.name = name
                tar.extract(member, folder, filter="data")
                progress(file.tell() / size)
    except (tarfile.TarError, EOFError, OSError) as error:
        raise DataError(f"{archive}: not a whole tar.gz archive ({error})") from error


def shards(folder: Path) -> list[Path]:
    """The JSON shards in order. Raises DataError where there are fewer than two."""
    found = sorted(folder.glob("*.json"))
    if len(found) < 2:
        raise DataError(f"{folder}: holds {len(found)} JSON shards, expected at least two")
    return found
