"""Server: the audit page for one person on this machine, by Python's own HTTP server.

It listens on 127.0.0.1 only, every address contains a random token, and requests of other origins are refused, so neither another
machine nor another page in the same browser reaches it.
"""

from __future__ import annotations

import json
import secrets
import threading
from collections.abc import Callable
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

from voxbeam.audit.session import AuditSession
from voxbeam.schemas.errors import StorageError, VoxbeamError

PAGE = Path(__file__).with_name("page.html")
_MAX_BODY = 64 << 10
_HEADERS = {
    "Cache-Control": "no-store",
    "Content-Security-Policy": "default-src 'none'; script-src 'self'; style-src 'self'; connect-src 'self'; media-src blob:; "
    "img-src data:; base-uri 'none'; form-action 'none'; frame-ancestors 'none'",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Referrer-Policy": "no-referrer",
    "X-Content-Type-Options": "nosniff",
}
_FILES = {"": ("page.html", "text/html"), "page.js": ("page.js", "text/javascript"), "page.css": ("page.css", "text/css")}


class AuditServer:
    """Serves a session until somebody presses Finish, or `close` is called."""

    def __init__(self, session: AuditSession, port: int = 0) -> None:
        self._token = secrets.token_urlsafe(24)
        self.finished = threading.Event()
        """set when somebody pressed Finish"""
        handler: type[_Handler] = type("Handler", (_Handler,), {})
        handler.session, handler.token, handler.finished = session, self._token, self.finished
        try:
            self._server = ThreadingHTTPServer(("127.0.0.1", port), handler)
            handler.port = self.port = self._server.server_port
        except OSError as error:
            raise StorageError(f"cannot listen on 127.0.0.1:{port}: {error.strerror}", remedy="choose another --port") from error
        self._server.daemon_threads = True
        self._thread = threading.Thread(target=self._server.serve_forever, kwargs={"poll_interval": 0.1}, daemon=True)
        self._thread.start()

    @property
    def address(self) -> str:
        """Of the page, with the token."""
        return f"http://127.0.0.1:{self.port}/{self._token}/"

    def close(self) -> None:
        self._server.shutdown()
        self._server.server_close()
        self._thread.join()


class _Handler(BaseHTTPRequestHandler):
    """Answers the page's requests. Anything without the token does not exist."""

    session: AuditSession
    port: int
    token: str
    finished: threading.Event
    protocol_version = "HTTP/1.1"

    def do_GET(self) -> None:
        path = self._path()
        if path is None:
            return
        if path in _FILES:
            name, kind = _FILES[path]
            self._reply(PAGE.with_name(name).read_bytes(), f"{kind}; charset=utf-8")
        elif path == "clips":
            self._json(self.session.state)
        elif path.startswith("audio/") and path.removeprefix("audio/").isdecimal():
            try:
                self._reply(self.session.audio(int(path.removeprefix("audio/"))), "audio/flac")
            except VoxbeamError as error:
                self._fail(error)
        else:
            self._empty(404)

    def do_POST(self) -> None:
        path = self._path()
        if path is None:
            return
        size = self.headers.get("Content-Length", "")
        if self.headers.get("Content-Type") != "application/json" or not size.isdecimal() or int(size) > _MAX_BODY:
            self._empty(400)
            return
        try:
            body = json.loads(self.rfile.read(int(size)))
        except ValueError:
            self._empty(400)
            return
        if path == "answer" and _is_answer(body):
            self._json(lambda: self.session.answer(body["clip"], body["answer"], body.get("correction")))
        elif path == "undo":
            self._json(lambda: {"clip": self.session.undo()})
        elif path == "finish":
            self._json(lambda: None)
            self.finished.set()
        else:
            self._empty(400)

    def _path(self) -> str | None:
        """What is asked for below the token; None, after an answer, for a request of somebody else."""
        own = f"127.0.0.1:{self.port}"
        _, token, path = (*self.path.split("/", 2), "", "")[:3]
        foreign = self.headers.get("Host") != own or self.headers.get("Origin", f"http://{own}") != f"http://{own}"
        if foreign or not secrets.compare_digest(token.encode(), self.token.encode()):
            self._empty(404)
            return None
        return path

    def _json(self, result: Callable[[], Any]) -> None:
        try:
            content = json.dumps(result()).encode()
        except VoxbeamError as error:
            self._fail(error)
        else:
            self._reply(content, "application/json")

    def _fail(self, error: VoxbeamError) -> None:
        self._reply(json.dumps({"error": str(error)}).encode(), "application/json", 409)

    def _empty(self, status: int) -> None:
        self.close_connection = True
        self._reply(b"", "text/plain", status)

    def _reply(self, content: bytes, kind: str, status: int = 200) -> None:
        self.send_response(status)
        for name, value in {**_HEADERS, "Content-Type": kind, "Content-Length": str(len(content))}.items():
            self.send_header(name, value)
        self.end_headers()
        self.wfile.write(content)

    def version_string(self) -> str:
        return "voxbeam"

    def log_message(self, format: str, *args: Any) -> None:
        """Addresses contain the token: nothing is logged."""


def _is_answer(body: object) -> bool:
    return (
        isinstance(body, dict)
        and type(body.get("clip")) is int
        and isinstance(body.get("answer"), str)
        and isinstance(body.get("correction"), str | None)
    )
