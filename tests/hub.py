"""A small Hugging Face hub on loopback."""

import base64
import hashlib
import json
import ssl
import threading
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from urllib.parse import quote

import pytest
from huggingface_hub import constants


class FakeHub(BaseHTTPRequestHandler):
    """As much of the hub as downloads and uploads of one repository need. It answers as
    huggingface.co does: a file in LFS is on another host; one that is not has another address,
    below /api/; JSON and errors have ETags with slashes.

    The attributes that follow `direct` make it a bad one.
    """

    repository = "models/me/tale"
    files: dict[str, bytes]
    uploaded: dict[str, bytes]
    in_lfs: tuple[str, ...] = (".bin", ".gguf", ".gz", ".model", ".parquet", ".safetensors", ".zst")
    """How the names of files in LFS end."""
    direct = False
    """Whether files are where they are asked for, as those of a private repository are."""
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
            self._error(self.status, {})
        return self.status != 200

    def do_GET(self) -> None:
        if self._fails():
            return
        path = self.path.partition("?")[0]
        if path.startswith(f"/api/{self.repository}/tree/"):
            self._json([self._entry(name) for name in self.files])
        elif path.startswith(f"/api/{self.repository}"):
            siblings = [{"rfilename": name} for name in self.files]
            card = {"configs": [{"data_files": [{"split": "train", "path": ["./a/*", "../b"]}]}]}
            about = {"id": "me/tale", "sha": self.commit, "siblings": siblings, "cardData": card}
            self._json(about)
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

    def _entry(self, name: str) -> dict[str, object]:
        content = self.files[name]
        entry = {"type": "file", "path": name, "size": len(content), "oid": _git_hash(content)}
        if not name.endswith(self.in_lfs):
            return entry
        about = {"oid": _sha256(content), "size": len(content), "pointerSize": 134}
        return {**entry, "lfs": about}

    def _resolve(self, *, body: bool) -> None:
        """Say where a file is, or give it, if this is the place that was said."""
        path = self.path.partition("?")[0]
        named = self.repository.removeprefix("models/")
        places = (f"/{named}/resolve/", f"/api/resolve-cache/{self.repository}/", "/cdn/")
        place = next((each for each in places if path.startswith(each)), None)
        name = path.removeprefix(place or "").partition("/")[2]
        if place is None or name not in self.files:
            code = "RepoNotFound" if place is None else "EntryNotFound"
            commit = {} if place is None else {"X-Repo-Commit": self.commit}
            self._error(404, {"X-Error-Code": code, **commit, **self.more_headers})
            return
        content = self.files[name]
        in_lfs = name.endswith(self.in_lfs)
        etag = f'"{_sha256(content) if in_lfs else _git_hash(content)}"'
        if place == "/cdn/":  # A store knows nothing of repositories.
            self._give(name, {"ETag": '"0123/45-2"'}, body=body)
        elif place != places[0] or self.direct:
            about = {"ETag": etag, "X-Repo-Commit": self.commit}
            self._give(name, {**about, **self.more_headers}, body=body)
        else:
            about = {"X-Linked-Etag": etag, "X-Linked-Size": len(content)}
            there = (
                f"http://localhost:{self.server.server_address[1]}/cdn/{self.commit}/{name}"
                if in_lfs
                else f"{places[1]}{self.commit}/{name}?{quote(path, safe='')}=&etag={quote(etag)}"
            )
            about |= {"X-Repo-Commit": self.commit, "Location": there}
            said = f"Redirecting to {there}".encode()
            self._answer(302 if in_lfs else 307, {**about, **self.more_headers}, said)

    def _give(self, name: str, headers: dict[str, str], *, body: bool) -> None:
        """Give a file, or what was asked for of it."""
        content = self.files[name]
        start = int(self.headers.get("Range", "bytes=0-").removeprefix("bytes=")[:-1])
        self.send_response(206 if start else 200)
        for header, value in {"Content-Length": len(content) - start, **headers}.items():
            self.send_header(header, str(value))
        self.end_headers()
        if body:
            stop = int(len(content) * self.sends)
            self.wfile.write(content[start:stop])
            if stop < len(content):
                self.wfile.flush()
                threading.Event().wait(60)

    def _error(self, status: int, headers: dict[str, str]) -> None:
        said = b'{"error":"Something is wrong."}'
        self._answer(status, {"ETag": _weak(said), **headers, **self.more_headers}, said)

    def _json(self, content: object) -> None:
        data = json.dumps(content).encode() if self.listing is None else self.listing
        self._answer(200, {"Content-Type": "application/json", "ETag": _weak(data)}, data)

    def _answer(self, status: int, headers: Mapping[str, object], content: bytes) -> None:
        self.send_response(status)
        for header, value in {**headers, "Content-Length": len(content)}.items():
            self.send_header(header, str(value))
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(content)

    def log_message(self, format: str, *arguments: object) -> None:
        pass


def _sha256(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()


def _git_hash(content: bytes) -> str:
    """What names a file that is not in LFS."""
    return hashlib.sha1(b"blob %d\0" % len(content) + content).hexdigest()


def _weak(content: bytes) -> str:
    """An ETag as the hub's server has it for JSON and errors; a third of them have a slash."""
    digest = base64.b64encode(hashlib.sha1(content).digest()).decode()
    return f'W/"{len(content):x}-{digest[:26]}/"'


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
        threading.Thread(target=server.serve_forever, args=(0.01,), daemon=True).start()
        yield {
            "HF_ENDPOINT": f"http://127.0.0.1:{server.server_port}",
            "HF_HOME": str(cache),
            "HF_TOKEN": "hf_test",
            "HF_HUB_DISABLE_XET": "1",
            "NO_PROXY": "127.0.0.1,localhost",
        }
        server.shutdown()
