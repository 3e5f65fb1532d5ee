"""A small Hugging Face hub on loopback."""

import base64
import hashlib
import json
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path


class FakeHub(BaseHTTPRequestHandler):
    """As much of the hub as downloads and uploads of one repository need."""

    repository = "models/me/tale"
    files: dict[str, bytes]
    uploaded: dict[str, bytes]

    def do_HEAD(self) -> None:
        self._resolve(body=False)

    def do_GET(self) -> None:
        path = self.path.partition("?")[0]
        if path.startswith(f"/api/{self.repository}/tree/"):
            entries = [{"type": "file", "path": name, "size": 1, "oid": "0"} for name in self.files]
            self._json(entries)
        elif path.startswith(f"/api/{self.repository}"):
            siblings = [{"rfilename": name} for name in self.files]
            self._json({"id": "me/tale", "sha": "0" * 40, "siblings": siblings})
        else:
            self._resolve(body=True)

    def do_POST(self) -> None:
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
            self.send_header("Content-Length", "0")
            self.end_headers()
            return
        content = self.files[name]
        self.send_response(200)
        self.send_header("ETag", f'"{hashlib.sha256(content).hexdigest()}"')
        self.send_header("X-Repo-Commit", "0" * 40)
        self.send_header("Content-Length", str(len(content)))
        self.end_headers()
        if body:
            self.wfile.write(content)

    def _json(self, content: object) -> None:
        data = json.dumps(content).encode()
        self.send_response(200)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(data)))
        self.end_headers()
        self.wfile.write(data)

    def log_message(self, format: str, *arguments: object) -> None:
        pass


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
