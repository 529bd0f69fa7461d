"""A server that speaks Google Cloud Storage's XML API, as far as a corpus needs it, over a dictionary.

Written after the API's documentation: no emulator in a package registry implements that API (docs/dev/what-did-not-work.md). A
test against it shows what the client sends and how it handles the answers, but nothing about Google's own servers.
"""

import hashlib
import itertools
import json
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from email.utils import formatdate
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from urllib.parse import parse_qs, unquote, urlsplit
from xml.sax.saxutils import escape

Headers = dict[str, str]


class _Bucket(ThreadingHTTPServer):
    daemon_threads = True

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), _Handler)
        self.objects: dict[str, tuple[int, bytes]] = {}
        """generation and content"""
        self.parts: dict[str, dict[int, bytes]] = {}
        self.generations = itertools.count(1)
        self.lock = threading.Lock()

    def create(self, name: str, content: bytes, condition: str | None) -> tuple[int, Headers]:
        """Status and headers of an upload; `condition` is the generation that must be there, 0 for none."""
        with self.lock:
            there = self.objects.get(name, (0, b""))[0]
            if condition is not None and int(condition) != there:
                return 412, {}
            generation = next(self.generations)
            self.objects[name] = generation, content
            return 200, self.described(generation, content)

    def described(self, generation: int, content: bytes) -> Headers:
        return {
            "ETag": f'"{hashlib.md5(content).hexdigest()}"',
            "Last-Modified": formatdate(usegmt=True),
            "x-goog-generation": str(generation),
        }


class _Handler(BaseHTTPRequestHandler):
    server: _Bucket
    protocol_version = "HTTP/1.1"

    def _answer(self, status: int, headers: Headers | None = None, content: bytes = b"") -> None:
        self.send_response(status)
        for name, value in (headers or {}).items():
            self.send_header(name, value)
        if status != 204:
            self.send_header("Content-Length", str(len(content)))
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(content)

    def _asked(self) -> tuple[str, dict[str, str], bytes]:
        """Object, query and body."""
        parts = urlsplit(self.path)
        query = {name: values[0] for name, values in parse_qs(parts.query, keep_blank_values=True).items()}
        name = unquote(parts.path).removeprefix("/corpora").removeprefix("/")
        return name, query, self.rfile.read(int(self.headers.get("Content-Length", 0)))

    def do_PUT(self) -> None:
        name, query, body = self._asked()
        if "uploadId" in query:
            self.server.parts[query["uploadId"]][int(query["partNumber"])] = body
            self._answer(200, {"ETag": f'"{query["partNumber"]}"'})
            return
        if source := self.headers.get("x-goog-copy-source"):
            body = self.server.objects[unquote(source).removeprefix("/").removeprefix("corpora/")][1]
        self._answer(*self.server.create(name, body, self.headers.get("x-goog-if-generation-match")))

    def do_POST(self) -> None:
        name, query, _ = self._asked()
        if "uploads" in query:
            upload = str(next(self.server.generations))
            self.server.parts[upload] = {}
            self._xml(
                "InitiateMultipartUploadResult", f"<Bucket>corpora</Bucket><Key>{escape(name)}</Key><UploadId>{upload}</UploadId>"
            )
            return
        parts = self.server.parts.pop(query["uploadId"])
        _, headers = self.server.create(name, b"".join(parts[number] for number in sorted(parts)), None)
        self._xml("CompleteMultipartUploadResult", f"<Key>{escape(name)}</Key><ETag>{headers['ETag']}</ETag>", headers)

    def do_GET(self) -> None:
        name, query, _ = self._asked()
        if "list-type" in query:
            self._list(query.get("prefix", ""))
            return
        if name not in self.server.objects:
            self._answer(404)
            return
        generation, content = self.server.objects[name]
        headers = self.server.described(generation, content)
        if self.headers.get("If-Match", headers["ETag"]) != headers["ETag"]:
            self._answer(412)
        elif span := self.headers.get("Range"):
            start, _, end = span.removeprefix("bytes=").partition("-")
            first, last = int(start), min(int(end or len(content)), len(content) - 1)
            self._answer(206, headers | {"Content-Range": f"bytes {first}-{last}/{len(content)}"}, content[first : last + 1])
        else:
            self._answer(200, headers, content)

    do_HEAD = do_GET

    def do_DELETE(self) -> None:
        name, _, _ = self._asked()
        self._answer(204 if self.server.objects.pop(name, None) else 404)

    def _list(self, prefix: str) -> None:
        found = ((name, *self.server.objects[name]) for name in sorted(self.server.objects) if name.startswith(prefix))
        rows = (
            f"<Contents><Key>{escape(name)}</Key><Size>{len(content)}</Size><Generation>{generation}</Generation>"
            f'<LastModified>2026-01-01T00:00:00.000Z</LastModified><ETag>"{generation}"</ETag></Contents>'
            for name, generation, content in found
        )
        self._xml("ListBucketResult", "<IsTruncated>false</IsTruncated>" + "".join(rows))

    def _xml(self, root: str, inside: str, headers: Headers | None = None) -> None:
        content = f'<?xml version="1.0" encoding="UTF-8"?><{root}>{inside}</{root}>'.encode()
        self._answer(200, (headers or {}) | {"Content-Type": "application/xml"}, content)

    def log_message(self, *_: object) -> None:
        """Quiet."""


@contextmanager
def gcs_server() -> Iterator[dict[str, str]]:
    """Starts the server with one bucket, `corpora`; gives a client's environment."""
    server = _Bucket()
    threading.Thread(target=server.serve_forever, daemon=True).start()
    key = {"gcs_base_url": f"http://127.0.0.1:{server.server_port}", "disable_oauth": True}
    try:
        yield {
            "GOOGLE_SERVICE_ACCOUNT_KEY": json.dumps(key | dict.fromkeys(("client_email", "private_key", "private_key_id"), ""))
        }
    finally:
        server.shutdown()
        server.server_close()
