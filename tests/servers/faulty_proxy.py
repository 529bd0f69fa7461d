"""A proxy in front of an HTTP server that fails requests, cuts connections and stalls, by a seeded plan."""

import http.client
import random
import socket
import threading
import time
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import urlparse


@dataclass(frozen=True, kw_only=True)
class Faults:
    """Share of requests that meet each fault; the rest pass."""

    refuse: float = 0.0
    """answered 503 without reaching the server"""
    cut: float = 0.0
    """connection closed before the server hears of it"""
    lose: float = 0.0
    """done by the server, but the answer never arrives"""
    stall: float = 0.0
    """held for `stall_s` first"""
    stall_s: float = 2.0
    no_conditions: bool = False
    """a refused create is answered as if it had been done: a store without conditional create"""
    seed: int = 0


@dataclass(frozen=True)
class Request:
    """A request as its watcher sees it."""

    method: str
    path: str
    """below the server, without query"""
    status: int | None
    """of the server's answer, which the client has not got yet; None before the server hears of the request"""
    length: int = 0
    """bytes of the answer's body"""


class FaultyProxy(ThreadingHTTPServer):
    """Listens on a free port of 127.0.0.1 until closed; `counts` says how often each fault struck.

    `watch` is called before a request is passed on, and again when the server has answered it: what it does happens just then.
    """

    daemon_threads = True

    def __init__(self, target: str, faults: Faults, watch: Callable[[Request], None] = lambda request: None) -> None:
        super().__init__(("127.0.0.1", 0), _Handler)
        self.target, self.faults, self.watch = urlparse(target), faults, watch
        self.counts: Counter[str] = Counter()
        self._random, self._lock = random.Random(faults.seed), threading.Lock()
        threading.Thread(target=self.serve_forever, daemon=True).start()

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.server_address[1]}"

    def draw(self) -> str:
        """The fate of the next request."""
        with self._lock:
            point = self._random.random()
            fate = "pass"
            for name in ("refuse", "cut", "lose", "stall"):
                share = getattr(self.faults, name)
                if point < share:
                    fate = name
                    break
                point -= share
            self.counts[fate] += 1
        return fate

    def handle_error(self, request: Any, client_address: Any) -> None:
        """A client that hangs up is part of the play."""

    def __exit__(self, *args: object) -> None:
        self.shutdown()
        super().__exit__(*args)


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    server: FaultyProxy

    def _pass_on(self) -> None:
        body = self.rfile.read(int(self.headers.get("content-length") or 0))
        fate = self.server.draw()
        if fate == "cut":
            self._hang_up()
            return
        if fate == "refuse":
            self.send_response(503)
            self.send_header("content-length", "0")
            self.end_headers()
            return
        if fate == "stall":
            time.sleep(self.server.faults.stall_s)
        path = urlparse(self.path).path
        self.server.watch(Request(self.command, path, None))
        connection = http.client.HTTPConnection(self.server.target.hostname or "", self.server.target.port, timeout=60)
        try:
            # every header as it came, Host included: the signature covers it
            connection.putrequest(self.command, self.path, skip_host=True, skip_accept_encoding=True)
            for name, value in self.headers.items():
                connection.putheader(name, value)
            connection.endheaders(body)
            answer = connection.getresponse()
            content = answer.read()
        finally:
            connection.close()
        self.server.watch(Request(self.command, path, answer.status, len(content)))
        if fate == "lose":
            self._hang_up()
            return
        if self.server.faults.no_conditions and answer.status == http.HTTPStatus.PRECONDITION_FAILED:
            self.send_response(http.HTTPStatus.OK)
            self.send_header("etag", '"overwritten"')
            content = b""
        else:
            self.send_response_only(answer.status, answer.reason)
            for name, value in answer.getheaders():
                if name.lower() not in ("transfer-encoding", "connection", "content-length"):
                    self.send_header(name, value)
        length = answer.getheader("content-length") if self.command == "HEAD" else str(len(content))
        self.send_header("content-length", length or "0")
        self.end_headers()
        self.wfile.write(content)

    do_GET = do_PUT = do_POST = do_HEAD = do_DELETE = _pass_on

    def _hang_up(self) -> None:
        self.close_connection = True
        self.connection.shutdown(socket.SHUT_RDWR)

    def log_message(self, format: str, *args: object) -> None:
        pass
