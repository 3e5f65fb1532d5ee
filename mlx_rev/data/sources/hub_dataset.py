"""Datasets on the Hugging Face hub: which files there are, and files that are downloaded in parts.

Files of a dataset have gigabytes. huggingface_hub throws away what it has of a file when a download
fails, so here it is kept in its cache, as `blobs/<ETag>.mlx-rev.incomplete`, and the next run asks
for the rest. A whole file takes the name that huggingface_hub looks for, `blobs/<ETag>`
(huggingface.co/docs/huggingface_hub, "Understand caching").
"""

import fcntl
import hashlib
import json
import os
import re
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any

from mlx_rev import files, hub, hub_client
from mlx_rev.data.progress import TellShare
from mlx_rev.errors import DataError

IN_PARTS = 8 << 20
"""Bytes from which on what has come of a file is kept when a download stops."""
_COMMIT = re.compile(r"[0-9a-f]{40}")
_SHA256 = re.compile(r"[0-9a-f]{64}")
"""The ETag of a file in LFS is its sha256."""


@dataclass(frozen=True)
class Listing:
    """What a dataset repository holds at a commit."""

    commit: str
    files: tuple[str, ...]
    """Paths in the repository, sorted."""


def listing(repository: str, revision: str | None, cache: Path) -> Listing:
    """What `repository` holds at `revision`, a branch, tag or commit.

    The answer is kept in `cache`, and used where the hub cannot be reached. Raises DataError.
    """
    import huggingface_hub

    name = hashlib.sha256(f"{repository}\0{revision}".encode()).hexdigest()[:32]
    kept = cache / "hub" / f"{name}.json"
    try:
        with hub_client.asking(hub.PATIENCE):
            info = huggingface_hub.HfApi().dataset_info(repository, revision=revision)
        found = Listing(str(info.sha), tuple(sorted(one.rfilename for one in info.siblings or ())))
    except Exception as error:
        if hub.is_unreachable(error) and kept.is_file():
            return _read_listing(kept)
        raise DataError(hub.sentence(repository, "the list of files", error)) from error
    files.write_text(kept, json.dumps({"commit": found.commit, "files": found.files}))
    return found


def _read_listing(path: Path) -> Listing:
    try:
        content = json.loads(files.read_bytes(path))
        return Listing(content["commit"], tuple(content["files"]))
    except (ValueError, KeyError, TypeError) as error:
        raise DataError(f"{path}: damaged; remove it") from error


def download(
    repository: str,
    filename: str,
    *,
    revision: str | None = None,
    progress: TellShare | None = None,
    advice: str = "",
) -> Path:
    """A file of a dataset, from the hub or its local cache. A large one is downloaded from where
    the run before was cut off.

    Raises DataError, which ends with `advice`, as `hub.download` does.
    """
    import huggingface_hub

    if revision is not None and _COMMIT.fullmatch(revision):  # What is at a commit stays so.
        there = huggingface_hub.try_to_load_from_cache(
            repository, filename, repo_type="dataset", revision=revision
        )
        if isinstance(there, str):
            return Path(there)
    try:
        with hub_client.asking(hub.PATIENCE):
            info = huggingface_hub.hf_hub_download(
                repository, filename, repo_type="dataset", revision=revision, dry_run=True
            )
            # What is there of another file or commit with the same content has no name yet.
            if not info.will_download and Path(info.local_path).exists():
                return Path(info.local_path)
            if info.will_download and (info.file_size or 0) >= IN_PARTS:
                _download_blob(repository, filename, revision, progress or (lambda share: None))
    except Exception as error:
        raise DataError(hub.sentence(repository, filename, error, advice)) from error
    return hub.download(
        repository, filename, kind="dataset", revision=revision, progress=progress, advice=advice
    )


def _download_blob(
    repository: str, filename: str, revision: str | None, progress: TellShare
) -> None:
    """Complete a file under the name that huggingface_hub looks for. Raises its errors."""
    import huggingface_hub
    from huggingface_hub import constants

    address = huggingface_hub.hf_hub_url(
        repository, filename, repo_type="dataset", revision=revision
    )
    about = huggingface_hub.get_hf_file_metadata(address)
    if about.etag is None or about.size is None:
        return
    folder = "--".join(["datasets", *repository.split("/")])
    blob = Path(constants.HF_HUB_CACHE, folder, "blobs", about.etag)
    blob.parent.mkdir(parents=True, exist_ok=True)
    partial = blob.with_name(f"{blob.name}.mlx-rev.incomplete")
    with open(partial, "ab") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:  # Another process is at it; this one leaves it alone.
            return
        if blob.exists():
            return
        _complete(file, address, about.size, progress)
        file.flush()
        os.fsync(file.fileno())
        if _SHA256.fullmatch(about.etag) and files.sha256_file(partial) != about.etag:
            partial.unlink()
            raise ValueError("what came is not the file (its sha256 differs); it was removed")
        os.replace(partial, blob)


def _complete(file: IO[bytes], address: str, size: int, progress: TellShare) -> None:
    """Append what is missing of `size` bytes, asking again for as long as something comes."""
    import huggingface_hub
    from huggingface_hub.utils import (  # type: ignore[attr-defined]
        build_hf_headers,
        hf_raise_for_status,
    )

    if file.tell() > size:
        _empty(file)
    while (start := file.tell()) < size:
        # Compressed on the way, a part of the file would be a part of something else.
        headers = {**build_hf_headers(), "Accept-Encoding": "identity", "Range": f"bytes={start}-"}
        request: Any = huggingface_hub.get_session().stream(
            "GET", address, headers=headers, follow_redirects=True
        )
        with request as response:
            hf_raise_for_status(response)
            if response.status_code != 206:  # All of it comes, whatever was asked for.
                _empty(file)
            try:
                for chunk in response.iter_bytes():
                    file.write(chunk)
                    progress(min(1.0, file.tell() / size))
            except hub_client.transport_error() as error:
                if file.tell() <= start:
                    raise _stopped(file.tell(), size) from error
                continue
        if file.tell() <= start:
            raise _stopped(file.tell(), size)
    if file.tell() > size:
        _empty(file)
        raise ValueError("more came than the file has")


def _empty(file: IO[bytes]) -> None:
    file.seek(0)  # Emptying alone leaves the place in the file where it was.
    file.truncate()


def _stopped(done: int, size: int) -> Exception:
    from huggingface_hub.errors import OfflineModeIsEnabled

    return OfflineModeIsEnabled(
        f"the hub stopped sending after {done:,} of {size:,} bytes, which are kept: the same "
        "command goes on from there"
    )
