"""Downloads from the Hugging Face hub, its many errors turned into a sentence."""

import re
from collections.abc import Callable
from pathlib import Path, PurePosixPath
from typing import Any, Literal

from mlx_rev.errors import DataError


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

    `progress` is told the share that is done. Raises DataError with `advice` at its end.
    HF_ENDPOINT, HF_HOME and HF_HUB_OFFLINE mean what they mean to huggingface_hub.
    """
    import huggingface_hub

    try:
        return Path(
            huggingface_hub.hf_hub_download(
                repository,
                filename,
                repo_type=kind,
                revision=revision,
                tqdm_class=_bar(progress),
            )
        )
    except _failures() as error:
        raise DataError(_sentence(repository, filename, _reason(error), advice)) from error


def _failures() -> tuple[type[Exception], ...]:
    """What a download or an upload raises: also what the HTTP library does, whichever it is, of
    which huggingface_hub's own error is a kind."""
    from huggingface_hub import errors

    return (*errors.HfHubHTTPError.__bases__, errors.EntryNotFoundError, OSError, ValueError)


def _sentence(repository: str, filename: str, reason: str, advice: str) -> str:
    return f"cannot download {filename} of {repository}: {reason}. {advice}".rstrip()


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


_PREFIX = "hf:"
_MODEL_FILES = ("*.json", "*.safetensors", "tokenizer.model", "README.md")
_TOKENIZER = re.compile(r"tokenizer\.(model|bin)|tok\d+\.bin")
"""Names that a .bin's tokenizer has; the numbered ones are llama2.c's."""


def is_reference(text: str) -> bool:
    """Whether `text` is hf:owner/repo[/file][@revision]."""
    return text.startswith(_PREFIX)


def fetch_model(reference: str) -> Path:
    """The local path of a model on the hub: a folder, or a file with what lies beside it there.

    Raises DataError for a reference that is none, or a download that fails.
    """
    from huggingface_hub import errors

    path, _, revision = reference.removeprefix(_PREFIX).partition("@")
    owner, _, rest = path.partition("/")
    name, _, file = rest.partition("/")
    if not owner or not name:
        raise DataError(f"{reference}: expected hf:owner/repo[/file][@revision]")
    repository, wanted, file = f"{owner}/{name}", revision or None, file.strip("/")
    if not file:
        return _snapshot(repository, wanted)
    if file.endswith(".safetensors"):  # the weights of a folder, which are nothing without it
        inside = PurePosixPath(file).parent
        return _snapshot(repository, wanted, "" if inside.name == "" else str(inside))
    try:
        found = download(repository, file, revision=wanted)
    except DataError as error:
        if not isinstance(error.__cause__, errors.LocalEntryNotFoundError) and not any(
            other.startswith(f"{file}/") for other in _listed(repository, wanted)
        ):
            raise
        folder = _snapshot(repository, wanted, file, optional=True)
        if not folder.is_dir():
            raise
        return folder
    for other in _listed(repository, wanted):
        beside = PurePosixPath(other).parent == PurePosixPath(file).parent
        if other == f"{file}.json" or (beside and _TOKENIZER.fullmatch(Path(other).name)):
            download(repository, other, revision=wanted)
    return found


def push(folder: Path, repository: str) -> str:
    """Upload a folder to a model repository, made where there is none; its address.

    Raises DataError where the hub refuses or cannot be reached. HF_TOKEN or a stored login is used.
    """
    import huggingface_hub

    api = huggingface_hub.HfApi()
    try:
        address = api.create_repo(repository, exist_ok=True)
        api.upload_folder(folder_path=folder, repo_id=repository)
    except _failures() as error:
        advice = (
            "Try again when it can"
            if _is_transport(error)
            else "Log in with `hf auth login` or set HF_TOKEN"
        )
        raise DataError(
            f"cannot upload to {repository}: {_reason(error)}. {advice}; what was converted is kept"
        ) from error
    return str(address)


def _snapshot(
    repository: str, revision: str | None, inside: str = "", *, optional: bool = False
) -> Path:
    """The folder `inside` a repository, downloaded; an `optional` one may be missing then."""
    import huggingface_hub

    start = f"{inside}/" if inside else ""
    try:
        root = huggingface_hub.snapshot_download(
            repository, revision=revision, allow_patterns=[start + name for name in _MODEL_FILES]
        )
    except _failures() as error:
        if optional:
            return Path(inside, "missing")
        what = inside or "the model"
        raise DataError(_sentence(repository, what, _reason(error), "")) from error
    return Path(root, inside)


def _listed(repository: str, revision: str | None) -> list[str]:
    """The files of a repository; none where the hub cannot be reached."""
    import huggingface_hub

    try:
        return list(huggingface_hub.HfApi().list_repo_files(repository, revision=revision))
    except _failures():
        return []


def _is_transport(error: Exception) -> bool:
    """Whether no answer came at all."""
    from huggingface_hub import errors

    answered, (library, *_) = errors.HfHubHTTPError, errors.HfHubHTTPError.__bases__
    return isinstance(error, library) and not isinstance(error, answered)


def _reason(error: Exception) -> str:
    """Why it failed, in words that need no knowledge of the hub's library."""
    from huggingface_hub import errors

    if isinstance(error, errors.LocalEntryNotFoundError):
        return "the hub cannot be reached, and it is not in the local cache"
    if isinstance(error, errors.GatedRepoError):
        return "its owner has to grant access first"
    if isinstance(error, errors.RepositoryNotFoundError):
        return "there is no such repository on the hub, or it is private"
    if isinstance(error, errors.RevisionNotFoundError):
        return "the repository has no such revision"
    if isinstance(error, errors.EntryNotFoundError):
        return "it is not on the hub"
    if _is_transport(error):
        return "the hub cannot be reached"
    text = str(error).strip()
    return text.splitlines()[0] if text else type(error).__name__
