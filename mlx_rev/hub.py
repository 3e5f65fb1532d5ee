"""Downloads from the Hugging Face hub, its many errors turned into a sentence."""

from collections.abc import Callable
from pathlib import Path
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
        reason = str(error).strip().splitlines()[0] if str(error).strip() else type(error).__name__
        raise DataError(_sentence(repository, filename, reason, advice)) from error


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
