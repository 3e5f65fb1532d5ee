"""Downloads from the Hugging Face hub: answers checked, and its many errors put in a sentence.

huggingface_hub names files of its cache after what a hub answers: `blobs/<ETag>`,
`snapshots/<commit>`, `.locks/.../<ETag>.lock`. It takes the ETag, the commit and the hashes of
listings as they come, `../` included, so they are checked here, on their way to it.
"""

import errno
import logging
import re
import reprlib
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path, PurePosixPath
from typing import Any, Literal

from mlx_rev.errors import DataError

PATIENCE = 8.0
"""Seconds of silence after which a hub counts as not reachable."""
_PATIENCE_UPLOADING = 60.0
"""A commit of many files takes the hub a while."""
_CANNOT_WRITE = (errno.EACCES, errno.EPERM, errno.EROFS, errno.ENOTDIR, errno.ENOSPC, errno.EDQUOT)
_ONE_AT_A_TIME = threading.Lock()
"""huggingface_hub has one client for the process; it is guarded while we use it."""


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


@contextmanager
def asking(patience: float) -> Iterator[None]:
    """What huggingface_hub asks in here is answered within `patience` seconds or counts as not
    answered, and every answer is checked. It logs nothing meanwhile.

    The client is put in by `set_client_factory`, the hook that it documents for this.
    """
    import huggingface_hub
    from huggingface_hub.utils import logging as hub_logging

    with _ONE_AT_A_TIME:
        verbosity = hub_logging.get_verbosity()
        usual = huggingface_hub.get_session()
        names = ("event_hooks", "follow_redirects", "timeout")
        settings = {name: getattr(usual, name) for name in names}
        hub_logging.set_verbosity(logging.CRITICAL)
        huggingface_hub.set_client_factory(lambda: _guarded(type(usual), patience)(**settings))
        try:
            yield
        finally:
            huggingface_hub.set_client_factory(lambda: type(usual)(**settings))
            hub_logging.set_verbosity(verbosity)


def transport_error() -> type[Exception]:
    """What the HTTP library raises where a connection fails."""
    from huggingface_hub.errors import HfHubHTTPError

    kind: type[Any] = HfHubHTTPError.__bases__[0]  # httpx's or httpx2's, by the version
    return kind


def _guarded(client: Any, patience: float) -> Any:
    """A subclass of `client`, the HTTP library's, that gives up early and checks every answer.

    It raises OfflineModeIsEnabled where no useful answer came: huggingface_hub then looks into its
    cache, and does not try again, as it otherwise does for minutes.
    """
    from huggingface_hub.errors import OfflineModeIsEnabled

    class Guarded(client):  # type: ignore[misc]
        def __init__(self, **settings: Any) -> None:
            super().__init__(**settings)
            self._streamed: set[tuple[str, str | None]] = set()

        def send(self, request: Any, **options: Any) -> Any:
            stream = options.get("stream", False)
            timeout = dict.fromkeys(("connect", "read", "write", "pool"), patience)
            request.extensions = {**request.extensions, "timeout": timeout}
            asked = (str(request.url), request.headers.get("Range"))
            if stream and asked in self._streamed:  # it was resumed, and nothing came since
                raise OfflineModeIsEnabled("the hub stopped sending")
            try:
                response = super().send(request, **options)
            except transport_error() as error:
                timed_out = "Timeout" in type(error).__name__
                what = "does not answer" if timed_out else "cannot be reached"
                raise OfflineModeIsEnabled(f"the hub {what}") from error
            if stream:
                self._streamed.add(asked)
            if response.status_code in (408, 429) or response.status_code >= 500:
                response.close()
                raise OfflineModeIsEnabled(f"the hub answered with error {response.status_code}")
            _check_headers(response)
            # Files come as streams, so this is a listing or the next page of one.
            if request.method == "GET" and not stream and response.is_success:
                _check_listing(response.json())
            return response

    return Guarded


_HASH = re.compile(r"[0-9A-Za-z][\w+=-]{0,199}", re.ASCII)
_COMMIT = re.compile(r"[0-9a-f]{40}([0-9a-f]{24})?")
_HASHES = ("sha", "oid", "sha256", "blobId", "xetHash")
_NAMES = ("path", "rfilename")
"""Keys of a listing whose values become part of file names."""


def _check_headers(response: Any) -> None:
    """Raise ValueError for headers that would have huggingface_hub write outside its cache: a
    commit anywhere, an ETag where it asks about a file. The hub's other ETags may have slashes."""
    etag = response.headers.get("X-Linked-Etag") or response.headers.get("ETag")
    about_a_file = response.request.method == "HEAD" and response.status_code < 400
    # Stripped as huggingface_hub does it.
    if about_a_file and etag and not _is_hash(etag.lstrip("W/").strip('"')):
        raise _refusal("ETag", etag)
    commit = response.headers.get("X-Repo-Commit")
    if commit is not None and not _COMMIT.fullmatch(commit):
        raise _refusal("commit", commit)


def _check_listing(content: object) -> None:
    """Raise ValueError if a hash or a file name is not one, in what the hub says of a repository or
    of its files. What the author wrote there, in `cardData`, may hold anything."""
    about = content if isinstance(content, dict) else {"siblings": content}
    _check_entry({"sha": about.get("sha")})
    files = about.get("siblings")
    for entry in files if isinstance(files, list) else ():
        _check_entry(entry)


def _check_entry(entry: object) -> None:
    for key, value in entry.items() if isinstance(entry, dict) else ():
        wrong = (key in _HASHES and not _is_hash(value)) or (key in _NAMES and not _is_name(value))
        if wrong and value is not None:
            raise _refusal(key, value)
        if key == "lfs":
            _check_entry(value)


def _is_hash(value: object) -> bool:
    return isinstance(value, str) and _HASH.fullmatch(value) is not None


def _is_name(value: object) -> bool:
    """Whether this is a path that stays below the folder it is relative to."""
    return (
        isinstance(value, str)
        and not re.search(r"[\x00-\x1f\x7f-\x9f]", value)
        and not {"", ".", ".."}.intersection(value.split("/"))
        and ".." not in value.replace("\\", "/").split("/")
    )


def _refusal(name: str, value: object) -> ValueError:
    return ValueError(f"the hub's answer is refused: {name} is {reprlib.repr(value)}")


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
    if not owner or not name or not all(_is_name(part) for part in (file, revision) if part):
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
    """The files of a repository; none where the hub cannot be reached."""
    import huggingface_hub

    try:
        with asking(PATIENCE):
            return list(huggingface_hub.HfApi().list_repo_files(repository, revision=revision))
    except Exception:
        return []


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
    """What `_guarded` said, or that huggingface_hub was told to stay offline."""
    text = str(error)
    return text if text.startswith("the hub ") else "HF_HUB_OFFLINE is set"
