"""A small Hugging Face hub on loopback."""

import base64
import hashlib
import json
import ssl
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest
from huggingface_hub import constants


class FakeHub(BaseHTTPRequestHandler):
    """As much of the hub as downloads and uploads of one repository need.

    The attributes that follow `uploaded` make it a bad one.
    """

    repository = "models/me/tale"
    files: dict[str, bytes]
    uploaded: dict[str, bytes]
    more_headers: dict[str, str] = {}  # noqa: RUF012
    """Of the answers for files; they take the place of the usual ones."""
    status = 200
    """Of all answers."""
    commit = "0" * 40
    listing: bytes | None = None
    """What is answered in place of JSON."""
    silent = False
    """Never answers."""
    requests: list[str] = []  # noqa: RUF012
    """All requests."""
    sends = 1.0
    """The share of a file after which it is silent."""

    def do_HEAD(self) -> None:
        if not self._fails():
            self._resolve(body=False)

    def _fails(self) -> bool:
        """Whether the hub is silent, or answers with an error."""
        self.requests.append(f"{self.command} {self.path}")
        if self.silent:
            threading.Event().wait(60)
        if self.status != 200:
            self.send_response(self.status)
            for name, value in self.more_headers.items():
                self.send_header(name, value)
            self.send_header("Content-Length", "0")
            self.end_headers()
        return self.status != 200

    def do_GET(self) -> None:
        if self._fails():
            return
        path = self.path.partition("?")[0]
        if path.startswith(f"/api/{self.repository}/tree/"):
            entries = [{"type": "file", "path": name, "size": 1, "oid": "0"} for name in self.files]
            self._json(entries)
        elif path.startswith(f"/api/{self.repository}"):
            siblings = [{"rfilename": name} for name in self.files]
            self._json({"id": "me/tale", "sha": self.commit, "siblings": siblings})
        else:
            self._resolve(body=True)

    def do_POST(self) -> None:
        if self._fails():
            return
        content = self.rfile.read(int(self.headers["Content-Length"]))
        if self.path == "/api/repos/create":
            self._json({"url": f"http://{self.headers['Host']}/me/tale", "name": "me/tale"})
        elif self.path.endswith("/preupload/main"):
            names = [file["path"] for file in json.loads(content)["files"]]
            modes = [
                {"path": name, "uploadMode": "regular", "shouldIgnore": False} for name in names
            ]
            self._json({"files": modes})
        elif "/commit/main" in self.path:
            for line in content.splitlines():
                entry = json.loads(line)
                if entry["key"] == "file":
                    data = base64.b64decode(entry["value"]["content"])
                    self.uploaded[entry["value"]["path"]] = data
            commit = "1" * 40
            url = f"http://{self.headers['Host']}/me/tale/commit/{commit}"
            self._json({"commitUrl": url, "commitOid": commit, "pullRequestUrl": None})
        else:
            self._json({})

    def _resolve(self, *, body: bool) -> None:
        prefix = f"/{self.repository.removeprefix('models/')}/resolve/"
        name = self.path.removeprefix(prefix).partition("/")[2]
        if not self.path.startswith(prefix) or name not in self.files:
            self.send_response(404)
            code = "EntryNotFound" if self.path.startswith(prefix) else "RepoNotFound"
            self.send_header("X-Error-Code", code)
            for header, value in self.more_headers.items():
                self.send_header(header, value)
            self.send_header("Content-Length", "0")
            self.end_headers()
            return
        content = self.files[name]
        start = int(self.headers.get("Range", "bytes=0-").removeprefix("bytes=")[:-1])
        headers = {
            "ETag": f'"{hashlib.sha256(content).hexdigest()}"',
            "X-Repo-Commit": self.commit,
            "Content-Length": str(len(content) - start),
        }
        self.send_response(206 if start else 200)
        for header, value in {**headers, **self.more_headers}.items():
            self.send_header(header, value)
        self.end_headers()
        if body:
            stop = int(len(content) * self.sends)
            self.wfile.write(content[start:stop])
            if stop < len(content):
                self.wfile.flush()
                threading.Event().wait(60)

    def _json(self, content: object) -> None:
        data = json.dumps(content).encode() if self.listing is None else self.listing
        self.send_response(200)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(data)))
        self.end_headers()
        self.wfile.write(data)

    def log_message(self, format: str, *arguments: object) -> None:
        pass


def use_here(settings: dict[str, str], monkeypatch: pytest.MonkeyPatch) -> None:
    """Let this process use a hub: what `serving` gives means something to huggingface_hub only
    when it is imported."""
    use_endpoint(settings["HF_ENDPOINT"], monkeypatch)
    monkeypatch.setattr(constants, "HF_HUB_CACHE", str(Path(settings["HF_HOME"], "a", "b", "hub")))
    monkeypatch.setattr(constants, "HF_HUB_DISABLE_XET", True)
    for name in ("HF_TOKEN", "NO_PROXY"):
        monkeypatch.setenv(name, settings[name])
    # Each new client reads all certificates, of which none is needed here.
    monkeypatch.setattr(ssl.SSLContext, "load_verify_locations", lambda *_, **__: None)


def use_endpoint(endpoint: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """What HF_ENDPOINT does before huggingface_hub is imported."""
    template = constants.HUGGINGFACE_CO_URL_TEMPLATE
    monkeypatch.setattr(
        constants, "HUGGINGFACE_CO_URL_TEMPLATE", template.replace(constants.ENDPOINT, endpoint)
    )
    monkeypatch.setattr(constants, "ENDPOINT", endpoint)


@contextmanager
def serving(handler: type[FakeHub], cache: Path) -> Iterator[dict[str, str]]:
    """Serve a hub; gives the environment of programs that use it, with their cache."""
    with ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield {
            "HF_ENDPOINT": f"http://127.0.0.1:{server.server_port}",
            "HF_HOME": str(cache),
            "HF_TOKEN": "hf_test",
            "HF_HUB_DISABLE_XET": "1",
            "NO_PROXY": "127.0.0.1",
        }
        server.shutdown()
