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
    from huggingface_hub import errors

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
    except (errors.RepositoryNotFoundError, errors.EntryNotFoundError) as error:
        if not isinstance(error, errors.LocalEntryNotFoundError):
            raise DataError(
                _sentence(repository, filename, "it is not on the hub", advice)
            ) from error
        reason = "the hub cannot be reached, and it is not in the local cache"
        raise DataError(_sentence(repository, filename, reason, advice)) from error
    except (errors.HfHubHTTPError, OSError, ValueError) as error:
        raise DataError(_sentence(repository, filename, _reason(error), advice)) from error


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
    path, _, revision = reference.removeprefix(_PREFIX).partition("@")
    owner, _, rest = path.partition("/")
    name, _, file = rest.partition("/")
    if not owner or not name:
        raise DataError(f"{reference}: expected hf:owner/repo[/file][@revision]")
    repository = f"{owner}/{name}"
    if not file:
        return _snapshot(repository, revision or None)
    found = download(repository, file, revision=revision or None)
    for other in _listed(repository, revision or None):
        beside = PurePosixPath(other).parent == PurePosixPath(file).parent
        if other == f"{file}.json" or (beside and _TOKENIZER.fullmatch(Path(other).name)):
            download(repository, other, revision=revision or None)
    return found


def push(folder: Path, repository: str) -> str:
    """Upload a folder to a model repository, made where there is none; its address.

    Raises DataError where the hub refuses or cannot be reached. HF_TOKEN or a stored login is used.
    """
    import huggingface_hub
    from huggingface_hub import errors

    api = huggingface_hub.HfApi()
    try:
        address = api.create_repo(repository, exist_ok=True)
        api.upload_folder(folder_path=folder, repo_id=repository)
    except (errors.HfHubHTTPError, OSError, ValueError) as error:
        raise DataError(
            f"cannot upload {folder} to {repository}: {_reason(error)}. Log in with `hf auth "
            "login` or set HF_TOKEN"
        ) from error
    return str(address)


def _snapshot(repository: str, revision: str | None) -> Path:
    import huggingface_hub
    from huggingface_hub import errors

    try:
        return Path(
            huggingface_hub.snapshot_download(
                repository, revision=revision, allow_patterns=list(_MODEL_FILES)
            )
        )
    except (errors.HfHubHTTPError, OSError, ValueError) as error:
        raise DataError(_sentence(repository, "the model", _reason(error), "")) from error


def _listed(repository: str, revision: str | None) -> list[str]:
    """The files of a repository; none where the hub cannot be reached."""
    import huggingface_hub
    from huggingface_hub import errors

    try:
        return list(huggingface_hub.HfApi().list_repo_files(repository, revision=revision))
    except (errors.HfHubHTTPError, OSError, ValueError):
        return []


def _reason(error: Exception) -> str:
    text = str(error).strip()
    return text.splitlines()[0] if text else type(error).__name__
