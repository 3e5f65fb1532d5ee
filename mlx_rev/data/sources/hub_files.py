"""The files of stories of a dataset on the hub, downloaded."""

import fnmatch
import re
from dataclasses import dataclass
from pathlib import Path

from mlx_rev.data.progress import TellStage
from mlx_rev.data.sources import hub_dataset
from mlx_rev.data.sources.names import hub_name
from mlx_rev.data.sources.story_files import EXPECTED, SUFFIXES
from mlx_rev.errors import DataError

_VALID = re.compile(r"(?<![a-z])(validation|valid|val|dev)(?![a-z])", re.IGNORECASE)
_TEST = re.compile(r"(?<![a-z])(test|testing|eval|evaluation)(?![a-z])", re.IGNORECASE)
"""How the hub tells splits by the names of files and folders
(huggingface.co/docs/hub/datasets-file-names-and-splits)."""
_KINDS = (".parquet", (".jsonl", ".jsonl.gz", ".jsonl.zst"), (".json", ".json.gz", ".json.zst"))
"""Of these, a repository's first is taken: the others are often the same stories again."""
_ABOUT = ("dataset_info.json", "dataset_infos.json", "dataset_dict.json", "state.json")
"""Files that the `datasets` library writes about a dataset."""


@dataclass(frozen=True)
class HubFiles:
    """Downloaded files, and what the hub said of them."""

    train: tuple[Path, ...]
    valid: tuple[Path, ...]
    """Empty where no file is named as a split for validation."""
    column: str | None
    notices: tuple[str, ...]


def fetch(reference: str, cache: Path, progress: TellStage) -> HubFiles:
    """The files of stories that hf:owner/name[/path][:column][@revision] stands for.

    Raises DataError where there are none, and where a download fails, which goes on where it
    stopped when it is tried again.
    """
    named = hub_name(reference)
    found = hub_dataset.listing(named.repository, named.revision, cache)
    wanted = _wanted(found.files, named.path)
    if not wanted:
        raise DataError(
            f"{reference}: no file there whose name ends in {EXPECTED}; name a folder, a file or "
            "a glob of the repository after its name"
        )
    valid = [name for name in wanted if _VALID.search(name)]
    train = [name for name in wanted if not _VALID.search(name) and not _TEST.search(name)]
    if not train:  # Whoever names the test files wants them.
        train, valid = wanted, []
    paths = {}
    for number, name in enumerate([*train, *valid]):
        stage = f"downloading {named.repository}"

        def tell(share: float, number: int = number, stage: str = stage) -> None:
            progress(stage, (number + share) / (len(train) + len(valid)))

        tell(0.0)
        paths[name] = hub_dataset.download(
            named.repository, name, revision=found.commit, progress=tell
        )
    said = [f"{reference} is read at {found.commit}; @{found.commit} keeps it there"]
    if found.commit == named.revision:
        said = []
    if left := len(wanted) - len(train) - len(valid):
        said.append(f"{reference}: files of a test split that are not read: {left}")
    return HubFiles(
        tuple(paths[name] for name in train),
        tuple(paths[name] for name in valid),
        named.column,
        tuple(said),
    )


def _wanted(names: tuple[str, ...], path: str) -> list[str]:
    """The files of a repository, or of a path in it, of the kind that counts."""
    if path:
        inside = [
            name
            for name in names
            if name == path or name.startswith(f"{path}/") or fnmatch.fnmatchcase(name, path)
        ]
    else:
        inside = list(names)
    stories = [
        name
        for name in inside
        if name.lower().endswith(SUFFIXES) and name.rpartition("/")[2] not in _ABOUT
    ]
    for kind in _KINDS:
        if chosen := [name for name in stories if name.lower().endswith(kind)]:
            return chosen
    return stories
