"""A hub that attacks, fails or says nothing, on loopback."""

import json
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import huggingface_hub
import pytest
from huggingface_hub import constants

from mlx_rev import hub
from mlx_rev.errors import DataError
from tests.conftest import Run
from tests.hub import FakeHub, serving, use_endpoint, use_here

CONTENT = bytes(range(256)) * 1000


@pytest.fixture
def bad(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[type[FakeHub]]:
    """A hub that this process uses; a test sets what is bad about it."""
    files = {"model.bin": CONTENT, "config.json": b"{}"}
    handler = type("Bad", (FakeHub,), {"files": files, "uploaded": {}})
    with serving(handler, tmp_path / "home") as settings:
        use_here(settings, monkeypatch)
        yield handler
    huggingface_hub.close_session()


@pytest.fixture
def refused(
    tmp_path: Path, capfd: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> Callable[[Callable[[], Any]], str]:
    """The one line with which a download fails, by `fetch`; nothing else is said, and nothing is
    written outside the cache."""

    slept: list[float] = []
    monkeypatch.setattr(time, "sleep", slept.append)

    def refuse(fetch: Callable[[], Any]) -> str:
        with pytest.raises(DataError) as caught:
            fetch()
        assert sum(slept) < 3  # The library waits a second before it resumes; it can wait minutes.
        assert capfd.readouterr() == ("", "")
        cache = tmp_path / "home" / "a" / "b" / "hub"
        found = {path for path in tmp_path.rglob("*") if path.is_file()}
        assert all(path.is_relative_to(cache) for path in found), found
        text = str(caught.value)
        assert "\n" not in text
        return text

    return refuse


def download() -> Path:
    return hub.download("me/tale", "model.bin")


def snapshot() -> Path:
    return hub.fetch_model("hf:me/tale")


EVIL = [
    "../../../../planted",
    "{}/planted",
    '"../../../../planted"',
    'W/"../up"',
    "..",
    ".",
    "a\tb",
]


@pytest.mark.parametrize("value", EVIL)
@pytest.mark.parametrize(
    ("header", "name", "direct"),
    [
        ("ETag", "model.bin", True),
        ("ETag", "config.json", False),
        ("X-Linked-Etag", "model.bin", False),
        ("X-Linked-Etag", "config.json", False),
        ("X-Repo-Commit", "model.bin", False),
        ("X-Repo-Commit", "config.json", False),
    ],
)
def test_headers_cannot_name_files_outside_the_cache(
    bad: type[FakeHub],
    refused: Callable[..., str],
    tmp_path: Path,
    header: str,
    name: str,
    direct: bool,
    value: str,
) -> None:
    bad.more_headers, bad.direct = {header: value.format(tmp_path)}, direct
    assert "refused" in refused(lambda: hub.download("me/tale", name))


@pytest.mark.parametrize("direct", [False, True])
def test_files_of_every_kind_come(bad: type[FakeHub], tmp_path: Path, direct: bool) -> None:
    bad.direct = direct
    bad.files = {"model.bin": CONTENT, "config.json": b"{}", "data/api/x.json": b"no JSON"}
    for name, content in bad.files.items():
        assert hub.download("me/tale", name).read_bytes() == content
    blobs = tmp_path / "home" / "a" / "b" / "hub" / "models--me--tale" / "blobs"
    assert len(list(blobs.iterdir())) == 3
    assert {len(blob.name) for blob in blobs.iterdir()} == {40, 64}


def test_an_etag_that_a_cache_made_weak_is_that_of_the_file(bad: type[FakeHub]) -> None:
    bad.more_headers = {"ETag": f'W/"{"a" * 40}"'}
    assert hub.download("me/tale", "config.json").resolve().name == "a" * 40


@pytest.mark.parametrize("fetch", [download, snapshot])
def test_an_owner_who_must_grant_access_is_named(
    bad: type[FakeHub], refused: Callable[..., str], fetch: Callable[[], Path]
) -> None:
    bad.status, bad.more_headers = 401, {"X-Error-Code": "GatedRepo"}
    assert "its owner must grant you access first" in refused(fetch)


def test_a_missing_file_has_no_evil_commit(
    bad: type[FakeHub], refused: Callable[..., str], tmp_path: Path
) -> None:
    bad.more_headers = {"X-Repo-Commit": "../../../../planted"}
    assert "refused: commit" in refused(lambda: hub.download("me/tale", "no.bin"))


@pytest.mark.parametrize(
    "evil",
    [
        {"id": "me/tale", "sha": "../../../../planted", "siblings": []},
        {"id": "me/tale", "sha": "0" * 40, "siblings": [{"rfilename": "../../x.json"}]},
        [{"type": "file", "path": "../x.json", "size": 1, "oid": "0"}],
        [{"type": "file", "path": "/x.json", "size": 1, "oid": "0"}],
        [{"type": "file", "path": "a\x1b[2J.json", "size": 1, "oid": "0"}],
        [{"path": "x", "size": 1, "oid": "0", "lfs": {"oid": "../x", "size": 1}}],
    ],
)
def test_listings_cannot_name_files_outside_the_cache(
    bad: type[FakeHub], refused: Callable[..., str], evil: object
) -> None:
    bad.listing = json.dumps(evil).encode()
    text = refused(snapshot)
    assert "refused" in text
    assert "\x1b" not in text


def test_the_next_page_of_a_listing_cannot_either(
    bad: type[FakeHub], refused: Callable[..., str]
) -> None:
    entry = {"type": "file", "path": "../../../../planted.json", "size": 1, "oid": "0"}

    def answer(self: FakeHub, status: int, headers: dict[str, object], content: bytes) -> None:
        if "/tree/" in self.path:
            headers |= {"Link": f'<http://{self.headers["Host"]}/elsewhere>; rel="next"'}
        elif self.path == "/elsewhere":
            status, content = 200, json.dumps([entry]).encode()
        FakeHub._answer(self, status, headers, content)

    bad._answer = answer  # type: ignore[assignment]
    assert "refused: path" in refused(snapshot)


@pytest.mark.parametrize(
    "nonsense",
    [
        *(b"", b"null", b"5", b'"x"', b"[]", b"{}", b"[5]", b"<html>", b"\xff", b"[" * 99999),
        *(b'{"sha": 5}', b'{"sha": "%s"}' % (b"0" * 40), b'[{"path": 5}]', b'{"error": "no"}'),
    ],
)
def test_nonsense_is_one_line(
    bad: type[FakeHub], refused: Callable[..., str], nonsense: bytes
) -> None:
    bad.listing = nonsense
    assert "cannot download the model of me/tale" in refused(snapshot)


@pytest.mark.parametrize("nonsense", [b"5", b"[5]", b'[{"path": 5}]'])
def test_a_file_is_not_taken_for_one_that_is_alone(
    bad: type[FakeHub], refused: Callable[..., str], nonsense: bytes
) -> None:
    """Its tokenizer may be beside it."""
    bad.listing = nonsense
    assert "the list of files" in refused(lambda: hub.fetch_model("hf:me/tale/model.bin"))


@pytest.mark.parametrize("fetch", [download, snapshot])
@pytest.mark.parametrize("status", [408, 418, 429, 500, 502, 503, 504])
def test_an_error_is_one_line_at_once(
    bad: type[FakeHub], refused: Callable[..., str], status: int, fetch: Callable[[], Path]
) -> None:
    bad.status = status
    assert str(status) in refused(fetch)


@pytest.mark.parametrize("fetch", [download, snapshot])
def test_no_hub_is_one_line_at_once(
    bad: type[FakeHub],
    refused: Callable[..., str],
    monkeypatch: pytest.MonkeyPatch,
    fetch: Callable[[], Path],
) -> None:
    use_endpoint("http://user:secret@127.0.0.1:9", monkeypatch)
    text = refused(fetch)
    assert "the hub cannot be reached, and it is not in the local cache" in text
    assert "secret" not in text


@pytest.mark.parametrize("fetch", [download, snapshot, lambda: hub.fetch_model("hf:me/tale/x.bin")])
def test_a_silent_hub_is_waited_for_once(
    bad: type[FakeHub],
    refused: Callable[..., str],
    monkeypatch: pytest.MonkeyPatch,
    fetch: Callable[[], Path],
) -> None:
    assert hub.PATIENCE < 10
    monkeypatch.setattr(hub, "PATIENCE", 1.0)
    bad.silent, bad.requests = True, []
    assert "the hub does not answer" in refused(fetch)

    def asked() -> list[str]:
        # huggingface_hub also asks which programs there are that drive it, once a day.
        return [request for request in bad.requests if "me/tale" in request]

    while not asked():  # The hub's own thread may be late.
        threading.Event().wait(0.01)
    assert len(asked()) == 1


def test_a_download_that_stops_is_resumed_once(
    bad: type[FakeHub], refused: Callable[..., str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(hub, "PATIENCE", 0.5)
    bad.sends = 0.5
    assert "stopped sending" in refused(download)


def test_what_is_in_the_cache_needs_no_hub(bad: type[FakeHub]) -> None:
    first, model = download(), snapshot()
    bad.status = 500
    assert download() == first
    assert first.read_bytes() == CONTENT
    assert snapshot() == model
    assert (model / "config.json").read_bytes() == b"{}"


def test_the_hubs_library_is_left_as_it_was(bad: type[FakeHub]) -> None:
    verbosity = huggingface_hub.utils.logging.get_verbosity()
    before = huggingface_hub.get_session()
    download()
    after = huggingface_hub.get_session()
    assert type(after) is type(before)
    assert after.event_hooks == before.event_hooks
    assert after.timeout == before.timeout
    assert huggingface_hub.utils.logging.get_verbosity() == verbosity


def test_a_token_is_not_shown(bad: type[FakeHub], refused: Callable[..., str]) -> None:
    bad.status, bad.more_headers = 400, {"X-Error-Message": "the token hf_test is no good"}
    assert "error 400 (the token <token> is no good)" in refused(download)
    with pytest.raises(DataError) as caught:
        hub.push(Path(__file__).parent, "me/tale")
    assert "error 400 (the token <token> is no good)" in str(caught.value)


def test_a_cache_that_cannot_be_written_is_named(
    bad: type[FakeHub], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "file").write_text("in the way")
    monkeypatch.setattr(constants, "HF_HUB_CACHE", str(tmp_path / "file" / "hub"))
    with pytest.raises(DataError, match=r"file/hub cannot be written \(.*set HF_HOME"):
        download()


def test_a_forgotten_file_is_downloaded_anew(bad: type[FakeHub]) -> None:
    path = download()
    path.resolve().write_bytes(b"damaged")
    assert download().read_bytes() == b"damaged"
    hub.forget(path)
    assert download().read_bytes() == CONTENT


@pytest.mark.parametrize("reference", ["hf:me/tale/../x/model.safetensors", "hf:me/tale@../../x"])
def test_a_reference_stays_in_its_repository(bad: type[FakeHub], reference: str) -> None:
    with pytest.raises(DataError, match="expected hf:owner/repo"):
        hub.fetch_model(reference)


def test_the_command_says_it_in_a_line(
    run_process: Run,
    tmp_path: Path,
    command_environment: dict[str, str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    evil = {"X-Linked-Etag": "../../../../../planted"}
    handler = type("Bad", (FakeHub,), {"files": {"m.bin": CONTENT}, "more_headers": evil})
    with serving(handler, tmp_path / "a" / "b") as settings:
        for name, value in settings.items():
            monkeypatch.setitem(command_environment, name, value)
        done = run_process("tell", "The end.", "--model", "hf:me/tale/m.bin")
    assert done.returncode == 2
    assert done.stderr.count("\n") == 1
    assert "refused: ETag is '../../../../../planted'" in done.stderr
    assert not list(tmp_path.rglob("planted*"))
