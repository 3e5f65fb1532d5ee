"""The client with which huggingface_hub asks the hub: it gives up early and checks every answer.

huggingface_hub names files of its cache after what a hub answers: `blobs/<ETag>`,
`snapshots/<commit>`, `.locks/.../<ETag>.lock`. It takes the ETag, the commit and the hashes of
listings as they come, `../` included, so they are checked here, on their way to it.
"""

import logging
import re
import reprlib
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

_ONE_AT_A_TIME = threading.Lock()
"""huggingface_hub has one client for the process; it is guarded while we use it."""
_HASH = re.compile(r"[0-9A-Za-z][\w+=-]{0,199}", re.ASCII)
_COMMIT = re.compile(r"[0-9a-f]{40}([0-9a-f]{24})?")
_HASHES = ("sha", "oid", "sha256", "blobId", "xetHash")
_NAMES = ("path", "rfilename")
"""Keys of a listing whose values become part of file names."""


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
        wrong = (key in _HASHES and not _is_hash(value)) or (key in _NAMES and not is_name(value))
        if wrong and value is not None:
            raise _refusal(key, value)
        if key == "lfs":
            _check_entry(value)


def _is_hash(value: object) -> bool:
    return isinstance(value, str) and _HASH.fullmatch(value) is not None


def is_name(value: object) -> bool:
    """Whether this is a path that stays below the folder it is relative to."""
    return (
        isinstance(value, str)
        and not re.search(r"[\x00-\x1f\x7f-\x9f]", value)
        and not {"", ".", ".."}.intersection(value.split("/"))
        and ".." not in value.replace("\\", "/").split("/")
    )


def _refusal(name: str, value: object) -> ValueError:
    return ValueError(f"the hub's answer is refused: {name} is {reprlib.repr(value)}")
