"""A hub on loopback: enough of the protocol for the real huggingface_hub client, and faults on demand.

Small files are served directly. Large ones (`.safetensors`) redirect to a blob store on another port, like the real
hub's on another host; there, a transfer can be cut or corrupted.
"""

from __future__ import annotations

import base64
import hashlib
import json
import re
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

TOKEN = "hf_right"


@dataclass
class Repository:
    """Files by commit, commits by branch or tag."""

    private: bool = False
    commits: dict[str, dict[str, bytes]] = field(default_factory=dict)
    refs: dict[str, str] = field(default_factory=dict)

    def commit(self, files: dict[str, bytes], ref: str = "main") -> str:
        content = {**self.commits.get(self.refs.get(ref, ""), {}), **files}
        digest = hashlib.sha1(repr((len(self.commits), sorted(content.items()))).encode()).hexdigest()
        self.commits[digest] = content
        self.refs[ref] = digest
        return digest

    def commit_folder(self, folder: Path, ref: str = "main") -> str:
        return self.commit({file.name: file.read_bytes() for file in folder.iterdir()}, ref)


@dataclass
class Request:
    method: str
    path: str
    headers: dict[str, str]
    """Headers, by name in lower case."""


class Hub:
    """State of the server: repositories, faults, and requests."""

    def __init__(self) -> None:
        self.repositories: dict[str, Repository] = {}
        self.requests: list[Request] = []
        self.blobs: dict[str, bytes] = {}
        self.status: int | None = None
        """Answer everything with this status."""
        self.cut_after: int | None = None
        """Close the connection in the middle of the next blob, after this many bytes."""
        self.status_after_cut: int | None = None
        """The `status` after that."""
        self.corrupt = False
        """Flip the last bit of every blob."""
        self.url = self.store = ""

    def repository(self, name: str, **options: Any) -> Repository:
        return self.repositories.setdefault(name, Repository(**options))

    def asked(self, method: str, part: str) -> list[Request]:
        """Requests so far with this method and this part in the path."""
        return [request for request in self.requests if request.method == method and part in request.path]


@contextmanager
def running_hub() -> Iterator[Hub]:
    """Run a hub and its blob store on two free ports until the end of the block."""
    hub = Hub()
    servers = [ThreadingHTTPServer(("127.0.0.1", 0), type("Handler", (_Handler,), {"hub": hub})) for _ in range(2)]
    hub.url, hub.store = (f"http://127.0.0.1:{server.server_port}" for server in servers)
    threads = [threading.Thread(target=server.serve_forever, args=(0.01,), daemon=True) for server in servers]
    for thread in threads:
        thread.start()
    try:
        yield hub
    finally:
        for server, thread in zip(servers, threads, strict=True):
            server.shutdown()
            server.server_close()
            thread.join()


class _Handler(BaseHTTPRequestHandler):
    hub: Hub
    protocol_version = "HTTP/1.1"

    def log_message(self, *_: Any) -> None: ...

    def do_HEAD(self) -> None:
        self._answer()

    def do_GET(self) -> None:
        self._answer()

    def do_POST(self) -> None:
        self._answer()

    def do_PUT(self) -> None:
        self._answer()

    def _answer(self) -> None:
        body = self._body()
        path = self.path.split("?")[0]
        self.hub.requests.append(Request(self.command, path, {k.lower(): v for k, v in self.headers.items()}))
        if self.hub.status is not None:
            return self._reply(self.hub.status)
        for pattern, action in _ROUTES:
            if match := re.fullmatch(pattern, f"{self.command} {path}"):
                return action(self, body, **match.groupdict())
        return self._reply(404)

    def _body(self) -> bytes:
        if self.headers.get("Transfer-Encoding") != "chunked":
            return self.rfile.read(int(self.headers.get("Content-Length") or 0))
        parts = []
        while size := int(self.rfile.readline(), 16):
            parts.append(self.rfile.read(size))
            self.rfile.readline()
        self.rfile.readline()
        return b"".join(parts)

    def _reply(self, status: int, content: bytes = b"", **headers: str) -> None:
        self.send_response(status)
        for name, value in {"Content_Length": str(len(content)), **headers}.items():
            self.send_header(name.replace("_", "-"), value)
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(content)

    def _json(self, value: Any, status: int = 200) -> None:
        self._reply(status, json.dumps(value).encode(), Content_Type="application/json")

    def _authorized(self) -> bool:
        return self.headers.get("Authorization") == f"Bearer {TOKEN}"

    def _readable(self, name: str) -> Repository | None:
        """The repository, or None after sending an error: as on the hub, 401 hides private repositories."""
        repository = self.hub.repositories.get(name)
        if repository is not None and (self._authorized() or not repository.private):
            return repository
        if self._authorized():
            self._reply(404, X_Error_Code="RepoNotFound", X_Error_Message="Repository not found")
        else:
            self._reply(401, X_Error_Message="Invalid username or password.")
        return None

    def resolve(self, _: bytes, name: str, revision: str, file: str) -> None:
        if (repository := self._readable(name)) is None:
            return
        commit = repository.refs.get(revision, revision)
        if commit not in repository.commits:
            return self._reply(404, X_Error_Code="RevisionNotFound")
        if (content := repository.commits[commit].get(file)) is None:
            return self._reply(404, X_Error_Code="EntryNotFound", X_Repo_Commit=commit)
        if not file.endswith(".safetensors"):
            etag = hashlib.sha1(b"blob %d\0%s" % (len(content), content)).hexdigest()  # as in git
            return self._reply(200, content, ETag=f'"{etag}"', X_Repo_Commit=commit)
        oid = hashlib.sha256(content).hexdigest()
        self.hub.blobs[oid] = content
        linked = {"X_Linked_ETag": f'"{oid}"', "X_Linked_Size": str(len(content))}
        return self._reply(302, Location=f"{self.hub.store}/blobs/{oid}", X_Repo_Commit=commit, **linked)

    def blob(self, _: bytes, oid: str) -> None:
        content = self.hub.blobs[oid]
        if self.hub.corrupt:
            content = content[:-1] + bytes([content[-1] ^ 1])
        start = int((self.headers.get("Range") or "bytes=0-").removeprefix("bytes=").split("-")[0])
        part = content[start:]
        if self.hub.cut_after is None or self.command == "HEAD":
            ranged = {"Content_Range": f"bytes {start}-{len(content) - 1}/{len(content)}"} if start else {}
            return self._reply(206 if start else 200, part, **ranged)
        self.send_response(200)
        self.send_header("Content-Length", str(len(part)))
        self.end_headers()
        self.wfile.write(part[: self.hub.cut_after])
        self.hub.cut_after, self.hub.status = None, self.hub.status_after_cut
        self.close_connection = True

    def create(self, body: bytes) -> None:
        if not self._authorized():
            return self._reply(401, X_Error_Message="Invalid username or password.")
        wanted = json.loads(body)
        name = f"{wanted['organization']}/{wanted['name']}"
        known = name in self.hub.repositories
        repository = self.hub.repository(name, private=wanted.get("visibility") == "private")
        if not known:
            repository.commit({".gitattributes": b""})
        return self._json({"url": f"{self.hub.url}/{name}", "id": name}, 409 if known else 200)

    def branch(self, _: bytes, name: str, branch: str) -> None:
        repository = self.hub.repositories[name]
        known = branch in repository.refs
        repository.refs.setdefault(branch, repository.refs["main"])
        self._reply(409 if known else 200)

    def validate(self, body: bytes) -> None:
        content = json.loads(body)["content"]
        self._json({"errors": [] if content.startswith("---\n") else [{"message": "no metadata"}], "warnings": []})

    def preupload(self, body: bytes, name: str, revision: str) -> None:
        files = json.loads(body)["files"]
        modes = {file["path"]: "lfs" if file["path"].endswith(".safetensors") else "regular" for file in files}
        self._json({"files": [{"path": p, "uploadMode": mode, "shouldIgnore": False} for p, mode in modes.items()]})

    def batch(self, body: bytes, name: str) -> None:
        objects = json.loads(body)["objects"]
        for item in objects:
            item["actions"] = {"upload": {"href": f"{self.hub.store}/upload/{item['oid']}"}}
        self._json({"transfer": "basic", "objects": objects})

    def upload(self, body: bytes, oid: str) -> None:
        right = hashlib.sha256(body).hexdigest() == oid
        if right:
            self.hub.blobs[oid] = body
        self._reply(200 if right else 400)

    def commit(self, body: bytes, name: str, revision: str) -> None:
        repository, files, message = self.hub.repositories[name], {}, ""
        for line in map(json.loads, body.splitlines()):
            value = line["value"]
            if line["key"] == "header":
                message = value["summary"]
            elif line["key"] == "file":
                files[value["path"]] = base64.b64decode(value["content"])
            elif line["key"] == "lfsFile":
                files[value["path"]] = self.hub.blobs[value["oid"]]
        commit = repository.commit(files, revision)
        url = f"{self.hub.url}/{name}/commit/{commit}"
        self._json({"commitUrl": url, "commitOid": commit, "commitMessage": message})


_NAME = r"(?P<name>[^/]+/[^/]+)"
_API = rf"/api/models/{_NAME}"
_ROUTES = (
    (rf"(?:HEAD|GET) /{_NAME}/resolve/(?P<revision>[^/]+)/(?P<file>.+)", _Handler.resolve),
    (r"(?:HEAD|GET) /blobs/(?P<oid>\w+)", _Handler.blob),
    (r"POST /api/repos/create", _Handler.create),
    (r"POST /api/validate-yaml", _Handler.validate),
    (rf"POST {_API}/branch/(?P<branch>[^/]+)", _Handler.branch),
    (rf"POST {_API}/preupload/(?P<revision>[^/]+)", _Handler.preupload),
    (rf"POST {_API}/commit/(?P<revision>[^/]+)", _Handler.commit),
    (r"POST /(?P<name>[^/]+/[^/]+)\.git/info/lfs/objects/batch", _Handler.batch),
    (r"PUT /upload/(?P<oid>\w+)", _Handler.upload),
)
