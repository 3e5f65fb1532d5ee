"""Downloads from the Hugging Face hub, and uploads; its many errors put in a sentence."""

import errno
import re
from collections.abc import Callable
from pathlib import Path, PurePosixPath
from typing import Any, Literal

from mlx_rev.errors import DataError
from mlx_rev.hub_client import asking, is_name

PATIENCE = 8.0
"""Seconds of silence after which a hub counts as not reachable."""
_PATIENCE_UPLOADING = 60.0
"""A commit of many files takes the hub a while."""
_CANNOT_WRITE = (errno.EACCES, errno.EPERM, errno.EROFS, errno.ENOTDIR, errno.ENOSPC, errno.EDQUOT)


def download(
    repository: str,
    filename: str,
    *,
    kind: Literal["model", "dataset"] = "model",
    revision: str | None = None,
    progress: Callable[[float], None] | None = None,
    advice: str = "",
) -> Path:
    """A file of a repository, from the hub or its local cache.

    `progress` is told the share that is done. Raises DataError, which ends with `advice`.
    HF_ENDPOINT, HF_HOME and HF_HUB_OFFLINE mean what they mean to huggingface_hub.
    """
    import huggingface_hub

    try:
        with asking(PATIENCE):
            return Path(
                huggingface_hub.hf_hub_download(
                    repository,
                    filename,
                    repo_type=kind,
                    revision=revision,
                    tqdm_class=_bar(progress),
                )
            )
    # Not only its own errors: the library does not check what it is answered.
    except Exception as error:
        raise DataError(sentence(repository, filename, error, advice)) from error


def forget(path: Path) -> None:
    """Remove a downloaded file from the hub's cache, so that it is downloaded anew: the name it
    was found under, and what that links to."""
    while path.is_symlink():
        target = path.parent / path.readlink()
        path.unlink()
        path = target
    path.unlink(missing_ok=True)


def sentence(repository: str, filename: str, error: Exception, advice: str = "") -> str:
    """What to say of a download that failed."""
    return f"cannot download {filename} of {repository}: {_reason(error)}. {advice}".rstrip()


def _bar(progress: Callable[[float], None] | None) -> Any:
    """A tqdm that shows nothing and tells `progress`."""
    from huggingface_hub.utils.tqdm import tqdm

    class Quiet(tqdm):
        def __init__(self, *arguments: Any, **options: Any) -> None:
            super().__init__(  # type: ignore[no-untyped-call]
                *arguments, **{**options, "disable": True}
            )
            self._done = options.get("initial", 0)
            self._whole = options.get("total")

        def update(self, n: float | None = 1) -> None:
            self._done += n or 0
            if progress and self._whole:
                progress(self._done / self._whole)

    return Quiet


def _bar_on_a_terminal() -> Any:
    """huggingface_hub's own bar; elsewhere than on a terminal it shows nothing."""
    from huggingface_hub.utils.tqdm import tqdm

    class Bar(tqdm):
        def __init__(self, *arguments: Any, **options: Any) -> None:
            super().__init__(  # type: ignore[no-untyped-call]
                *arguments, **{**options, "disable": options.get("disable") or None}
            )

    return Bar


_PREFIX = "hf:"
_MODEL_FILES = ("*.json", "*.safetensors", "tokenizer.model", "README.md")
_TOKENIZER = re.compile(r"tokenizer\.(model|bin)|tok\d+\.bin")
"""Names of a .bin's tokenizer; the numbered ones are llama2.c's."""


def is_reference(text: str) -> bool:
    """Whether `text` is hf:owner/repo[/file][@revision]."""
    return text.startswith(_PREFIX)


def fetch_model(reference: str) -> Path:
    """The local path of a model on the hub: a folder, or a file with what lies beside it there.

    Raises DataError for a malformed reference, or a download that fails.
    """
    from huggingface_hub import errors

    path, _, revision = reference.removeprefix(_PREFIX).partition("@")
    owner, _, rest = path.partition("/")
    name, _, file = rest.partition("/")
    file = file.strip("/")
    if not owner or not name or not all(is_name(part) for part in (file, revision) if part):
        raise DataError(f"{reference}: expected hf:owner/repo[/file][@revision]")
    repository, wanted = f"{owner}/{name}", revision or None
    if not file:
        return _snapshot(repository, wanted)
    if file.endswith(".safetensors"):  # the weights of a folder, which are nothing without it
        inside = PurePosixPath(file).parent
        return _snapshot(repository, wanted, "" if inside.name == "" else str(inside))
    try:
        found = download(repository, file, revision=wanted)
    except DataError as error:
        if not isinstance(error.__cause__, errors.EntryNotFoundError) or (
            not is_unreachable(error.__cause__)
            and not any(other.startswith(f"{file}/") for other in _listed(repository, wanted))
        ):
            raise
        local = is_unreachable(error.__cause__)
        folder = _snapshot(repository, wanted, file, optional=True, local=local)
        if not folder.is_dir():
            raise
        return folder
    for other in _listed(repository, wanted):
        beside = PurePosixPath(other).parent == PurePosixPath(file).parent
        if other == f"{file}.json" or (beside and _TOKENIZER.fullmatch(Path(other).name)):
            download(repository, other, revision=wanted)
    return found


def push(folder: Path, repository: str) -> str:
    """Upload a folder to a model repository, created if it does not exist; returns its address.

    Raises DataError where the hub refuses or cannot be reached. HF_TOKEN or a stored login is used.
    """
    import huggingface_hub

    api = huggingface_hub.HfApi()
    try:
        with asking(PATIENCE):
            address = api.create_repo(repository, exist_ok=True)
        with asking(_PATIENCE_UPLOADING):
            api.upload_folder(folder_path=folder, repo_id=repository)
    except Exception as error:
        answered = isinstance(error, huggingface_hub.errors.HfHubHTTPError)
        advice = (
            "Log in with `hf auth login` or set HF_TOKEN" if answered else "Try again when it can"
        )
        raise DataError(
            f"cannot upload to {repository}: {_reason(error)}. {advice}; the model itself is kept"
        ) from error
    return str(address)


def _snapshot(
    repository: str,
    revision: str | None,
    inside: str = "",
    *,
    optional: bool = False,
    local: bool = False,
) -> Path:
    """The folder `inside` a repository, downloaded, or, `local`, only looked for in the cache; an
    `optional` one may be missing then."""
    import huggingface_hub

    start = f"{inside}/" if inside else ""
    try:
        with asking(PATIENCE):
            root = huggingface_hub.snapshot_download(
                repository,
                revision=revision,
                local_files_only=local,
                allow_patterns=[start + name for name in _MODEL_FILES],
                tqdm_class=_bar_on_a_terminal(),
            )
    except Exception as error:
        if optional:
            return Path(inside, "missing")
        raise DataError(sentence(repository, inside or "the model", error)) from error
    return Path(root, inside)


def _listed(repository: str, revision: str | None) -> list[str]:
    """The files of a repository; none where the hub cannot be reached. Raises DataError for an
    answer that is of no use."""
    import huggingface_hub

    try:
        with asking(PATIENCE):
            return list(huggingface_hub.HfApi().list_repo_files(repository, revision=revision))
    except Exception as error:
        if is_unreachable(error):
            return []
        raise DataError(sentence(repository, "the list of files", error)) from error


def is_unreachable(error: BaseException) -> bool:
    """Whether no useful answer came at all; the cache was looked into instead."""
    from huggingface_hub import errors

    return isinstance(error, errors.LocalEntryNotFoundError | errors.OfflineModeIsEnabled)


def _reason(error: Exception) -> str:
    """Why it failed, in words that need no knowledge of the hub's library, and without a token."""
    from huggingface_hub import constants, errors, get_token

    if isinstance(error, errors.LocalEntryNotFoundError):
        cause = error.__cause__
        if isinstance(cause, errors.OfflineModeIsEnabled):
            return f"{_unreachable(cause)}, and it is not in the local cache"
        if isinstance(cause, Exception):
            return _reason(cause)
        return "HF_HUB_OFFLINE is set, and it is not in the local cache"
    if isinstance(error, errors.OfflineModeIsEnabled):
        return _unreachable(error)
    if isinstance(error, errors.GatedRepoError):
        return "its owner must grant you access first"
    if isinstance(error, errors.RepositoryNotFoundError):
        return "there is no such repository on the hub, or it is private"
    if isinstance(error, errors.RevisionNotFoundError):
        return "the repository has no such revision"
    if isinstance(error, errors.EntryNotFoundError):
        return "it is not on the hub"
    if isinstance(error, OSError) and error.errno in _CANNOT_WRITE:
        return (
            f"the hub's cache {constants.HF_HUB_CACHE} cannot be written ({error.strerror}); set "
            "HF_HOME to a folder that can"
        )
    if not isinstance(error, OSError | ValueError):
        return f"the hub's answer is of no use ({type(error).__name__})"
    text = (str(error).strip() or type(error).__name__).splitlines()[0]
    if isinstance(error, errors.HfHubHTTPError):
        text = f"the hub answered with error {error.response.status_code}"
        if said := (error.server_message or "").splitlines():
            text += f" ({said[0]})"
    if token := get_token():
        text = text.replace(token, "<token>")
    return re.sub(r"//[^/@\s]+@", "//", text)


def _unreachable(error: BaseException) -> str:
    """What the guarded client said, or that huggingface_hub was told to stay offline."""
    text = str(error)
    return text if text.startswith("the hub ") else "HF_HUB_OFFLINE is set"
