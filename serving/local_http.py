"""Pages and endpoints for the person at this machine, by Python's own HTTP server.

Requests of other web pages in the same browser are refused: those that name another host, as after DNS rebinding, and those with
another origin. How many connections there may be at once, how long a read may take and how large a body may be is bounded.
"""

from __future__ import annotations

import json
import socket
import threading
from collections.abc import Mapping
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

from voxbeam.schemas.errors import StorageError

MAX_CONNECTIONS = 64
"""at once; more are closed unheard"""
READ_S = 30.0
"""seconds that a client may be silent in the middle of a request"""
_HEADERS = {
    "Cache-Control": "no-store",
    "Content-Security-Policy": "default-src 'none'; script-src 'self'; style-src 'self'; connect-src 'self'; media-src blob:; "
    "img-src data:; base-uri 'none'; form-action 'none'; frame-ancestors 'none'",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Referrer-Policy": "no-referrer",
    "X-Content-Type-Options": "nosniff",
}
_KINDS = {".html": "text/html", ".js": "text/javascript", ".css": "text/css"}


class LocalHandler(BaseHTTPRequestHandler):
    """Base of the handlers: who may ask, how bodies are read, how answers are written."""

    hosts: frozenset[str]
    """`Host` headers that are this server's own; empty: any"""
    protocol_version = "HTTP/1.1"
    timeout = READ_S

    def is_foreign(self) -> bool:
        """Whether the request is for another host, or is made by a page of another origin."""
        host, origin = self.headers.get("Host", ""), self.headers.get("Origin")
        return bool(self.hosts and host not in self.hosts) or (origin is not None and origin.partition("://")[2] != host)

    def read_body(self, limit: int) -> bytes | None:
        """The body; None if its length is not told, is above the limit, or is not what comes."""
        size = self.headers.get("Content-Length", "")
        if not (size.isascii() and size.isdecimal()) or len(size) > 12 or int(size) > limit:
            return None
        content = self.rfile.read(int(size))
        return content if len(content) == int(size) else None

    def reply_file(self, path: Path) -> None:
        """A file of a page."""
        self.reply(path.read_bytes(), f"{_KINDS[path.suffix]}; charset=utf-8")

    def reply_json(self, tree: Any, status: int = 200, headers: Mapping[str, str] | None = None) -> None:
        self.reply(json.dumps(tree).encode(), "application/json", status, headers)

    def reply_empty(self, status: int) -> None:
        """No content, and the end of the connection: what else the client sends is not read."""
        self.close_connection = True
        self.reply(b"", "text/plain", status)

    def reply(self, content: bytes, kind: str, status: int = 200, headers: Mapping[str, str] | None = None) -> None:
        self.send_response(status)
        close = {"Connection": "close"} if self.close_connection else {}
        own = {"Content-Type": kind, "Content-Length": str(len(content))}
        for name, value in {**_HEADERS, **own, **close, **(headers or {})}.items():
            self.send_header(name, value)
        self.end_headers()
        self.wfile.write(content)

    def version_string(self) -> str:
        return "voxbeam"

    def log_message(self, format: str, *args: Any) -> None:
        """Addresses may contain a token: nothing is logged."""


def is_loopback(host: str) -> bool:
    """Whether only this machine reaches an address to listen on."""
    return host == "localhost" or host.startswith("127.")


class LocalServer:
    """Listens until `close`, and answers every connection in a thread. Port 0 is a free one.

    Raises StorageError for an address that cannot be listened on.
    """

    def __init__(self, handler: type[LocalHandler], port: int = 0, host: str = "127.0.0.1") -> None:
        try:
            self._server = _BoundedServer((host, port), handler)
        except OSError as error:
            reason = error.strerror or error
            raise StorageError(f"cannot listen on {host}:{port}: {reason}", remedy="choose another --port") from error
        self.port = self._server.server_port
        own = ("127.0.0.1", "localhost") if is_loopback(host) else ()
        handler.hosts = frozenset(f"{name}:{self.port}" for name in own)
        self._thread = threading.Thread(target=self._server.serve_forever, kwargs={"poll_interval": 0.1}, daemon=True)
        self._thread.start()

    def stop_accepting(self) -> None:
        """No further connection is answered; those that are open go on."""
        self._server.shutdown()
        self._thread.join()

    def close(self) -> None:
        if self._thread.is_alive():
            self.stop_accepting()
        self._server.server_close()


class _BoundedServer(ThreadingHTTPServer):
    """At most `MAX_CONNECTIONS` threads, which end with the process."""

    daemon_threads = True

    def __init__(self, address: tuple[str, int], handler: type[LocalHandler]) -> None:
        self._places = threading.BoundedSemaphore(MAX_CONNECTIONS)
        super().__init__(address, handler)

    def process_request(self, request: socket.socket | tuple[bytes, socket.socket], client_address: Any) -> None:
        if not self._places.acquire(blocking=False):
            self.shutdown_request(request)
            return
        super().process_request(request, client_address)

    def process_request_thread(self, request: socket.socket | tuple[bytes, socket.socket], client_address: Any) -> None:
        try:
            super().process_request_thread(request, client_address)
        finally:
            self._places.release()

    def handle_error(self, request: Any, client_address: Any) -> None:
        """A client that went away is no event."""
