"""A hub on loopback: lists files, serves them by ranges, and fails in every way that is asked."""

from __future__ import annotations

import gzip
import hashlib
import json
import re
import threading
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from urllib.parse import urlsplit

COMMIT = "0123456789abcdef0123456789abcdef01234567"


@dataclass
class Trouble:
    """What goes wrong with one file.

    Attributes:
        breaks: Bytes after which the connection is closed, one number per request.
        stalls: Nothing comes after half of it, for so many requests.
        wrong: Other bytes of the same length.
        longer: It grew since it was listed.
        status: Answered instead, for so many requests.
        leads: It is somewhere else, at this address.
        shifted: Asked to go on, it sends another part than it was asked for.
        packed: It is sent compressed, though nobody asked for that.
    """

    breaks: list[int] = field(default_factory=list)
    stalls: int = 0
    wrong: bool = False
    longer: bool = False
    status: list[int] = field(default_factory=list)
    leads: str = ""
    shifted: bool = False
    packed: bool = False


class FakeHub:
    """The content, the mischief, and what was asked.

    Attributes:
        repositories: Owner and name -> file name -> content.
        lfs: Names of files that lie in the storage behind the hub, listed with their SHA-256.
        renamed: Old owner and name -> new.
        token: What must be sent, if anything.
        ranges: Whether it goes on in the middle of a file.
        nonsense: The list of files, if it is to be this.
        asked: Path, Range and Authorization of every request.
    """

    def __init__(self):
        self.repositories: dict[str, dict[str, bytes]] = {}
        self.lfs = {"model.safetensors"}
        self.renamed: dict[str, str] = {}
        self.trouble: dict[str, Trouble] = {}
        self.listing: dict[str, dict] = {}
        self.token: str | None = None
        self.ranges = True
        self.commit = COMMIT
        self.nonsense: bytes | None = None
        self.asked: list[tuple[str, str | None, str | None]] = []
        self.released = threading.Event()
        hub = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def do_GET(self):
                hub.answer(self)

            def log_message(self, *args):
                pass

        self.server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.server.daemon_threads = True
        self.port = self.server.server_address[1]
        self.endpoint = f"http://127.0.0.1:{self.port}"
        self.thread = threading.Thread(
            target=self.server.serve_forever, kwargs={"poll_interval": 0.02}
        )
        self.thread.start()

    def close(self):
        self.released.set()
        self.server.shutdown()
        self.thread.join()
        self.server.server_close()

    def paths(self, part=""):
        """The paths that were asked for."""
        return [path for path, _, _ in self.asked if part in path]

    def answer(self, request):
        path = urlsplit(request.path).path
        said = request.headers.get("Authorization")
        self.asked.append((path, request.headers.get("Range"), said))
        if found := re.fullmatch(r"/storage/([^/]+/[^/]+)/(.+)", path):
            self.send_file(request, *found.groups())
            return
        api = re.fullmatch(r"/api/models/([^/]+/[^/]+)(?:/tree/(\w+)(?:/(.+))?)?", path)
        file = re.fullmatch(r"/([^/]+/[^/]+)/resolve/(\w+)/(.+)", path)
        repository = (api or file).group(1)
        if repository in self.renamed:
            new = path.replace(repository, self.renamed[repository], 1)
            self.send(request, 307, b"moved", Location=new)
        elif self.token and said != f"Bearer {self.token}":
            self.send(request, 401, b"{}", **{"X-Error-Code": "GatedRepo"})
        elif repository not in self.repositories:
            self.send(request, 401, b"{}", **{"X-Error-Code": "RepoNotFound"})
        elif (api or file).group(2) not in (None, self.commit):
            self.send(request, 404, b"{}", **{"X-Error-Code": "RevisionNotFound"})
        elif api and api.group(2) is None:
            self.send(request, 200, json.dumps({"id": repository, "sha": self.commit}).encode())
        elif api:
            listed = json.dumps(self.tree(repository, api.group(3) or "")).encode()
            self.send(request, 200, listed if self.nonsense is None else self.nonsense)
        elif file.group(3) in self.lfs:
            # Another host by name, as the hub's storage is.
            storage = f"http://localhost:{self.port}/storage/{repository}/{file.group(3)}"
            self.send(request, 302, b"", Location=storage)
        else:
            self.send_file(request, repository, file.group(3))

    def tree(self, repository, folder=""):
        rows = [{"type": "directory", "path": "assets", "oid": "0" * 40, "size": 0}]
        for name, content in self.repositories[repository].items():
            if name.rpartition("/")[0] != folder:
                continue
            git = hashlib.sha1(f"blob {len(content)}\0".encode() + content).hexdigest()
            row = {"type": "file", "path": name, "size": len(content), "oid": git}
            if name in self.lfs:
                row["oid"] = "f" * 40  # of the pointer, not of the content
                sha256 = hashlib.sha256(content).hexdigest()
                row["lfs"] = {"oid": sha256, "size": len(content), "pointerSize": 130}
            rows.append(row | self.listing.get(name, {}))
        return rows

    def send_file(self, request, repository, name):
        content = self.repositories[repository][name]
        trouble = self.trouble.get(name, Trouble())
        if trouble.status:
            self.send(request, trouble.status.pop(0), b"")
            return
        if trouble.leads:
            self.send(request, 302, b"", Location=trouble.leads)
            return
        if trouble.wrong:
            content = bytes(byte ^ 1 for byte in content)
        if trouble.longer:
            content += b"more"
        begin, headers, status = 0, {}, 200
        if self.ranges and (found := re.match(r"bytes=(\d+)-", request.headers.get("Range") or "")):
            begin, status = int(found.group(1)) + trouble.shifted, 206
            headers["Content-Range"] = f"bytes {begin}-{len(content) - 1}/{len(content)}"
        body = content[begin:]
        if trouble.packed:  # as a proxy does that does not know how much will come
            self.send_packed(request, status, body)
            return
        request.send_response(status)
        request.send_header("Content-Length", str(len(body)))
        for key, value in headers.items():
            request.send_header(key, value)
        request.end_headers()
        if trouble.stalls:
            trouble.stalls -= 1
            request.wfile.write(body[: len(body) // 2])
            request.wfile.flush()
            self.released.wait(10)
            request.close_connection = True
        elif trouble.breaks:
            request.wfile.write(body[: trouble.breaks.pop(0)])
            request.close_connection = True
        else:
            request.wfile.write(body)

    @staticmethod
    def send_packed(request, status, body):
        request.send_response(status)
        request.send_header("Transfer-Encoding", "chunked")
        request.send_header("Content-Encoding", "gzip")
        request.end_headers()
        packed = gzip.compress(body)
        request.wfile.write(b"%x\r\n" % len(packed) + packed + b"\r\n0\r\n\r\n")

    @staticmethod
    def send(request, status, body, **headers):
        request.send_response(status)
        for key, value in headers.items():
            request.send_header(key, value)
        request.send_header("Content-Length", str(len(body)))
        request.end_headers()
        request.wfile.write(body)
