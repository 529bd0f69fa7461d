"""Server: the audit page for one person on this machine.

It listens on 127.0.0.1 only, every address contains a random token, and requests of other origins are refused
(`serving/local_http.py`), so neither another machine nor another page in the same browser reaches it.
"""

from __future__ import annotations

import json
import secrets
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

from voxbeam.audit.session import AuditSession
from voxbeam.schemas.errors import VoxbeamError
from voxbeam.serving.local_http import LocalHandler, LocalServer

PAGE = Path(__file__).with_name("page.html")
_MAX_BODY = 64 << 10
_FILES = {"": "page.html", "page.js": "page.js", "page.css": "page.css"}


class AuditServer:
    """Serves a session until somebody presses Finish, or `close` is called."""

    def __init__(self, session: AuditSession, port: int = 0) -> None:
        self._token = secrets.token_urlsafe(24)
        self.finished = threading.Event()
        """set when somebody pressed Finish"""
        handler: type[_Handler] = type("Handler", (_Handler,), {})
        handler.session, handler.token, handler.finished = session, self._token, self.finished
        self._server = LocalServer(handler, port)

    @property
    def address(self) -> str:
        """Of the page, with the token."""
        return f"http://127.0.0.1:{self._server.port}/{self._token}/"

    def close(self) -> None:
        self._server.close()


class _Handler(LocalHandler):
    """Answers the page's requests. Anything without the token does not exist."""

    session: AuditSession
    token: str
    finished: threading.Event

    def do_GET(self) -> None:
        path = self._path()
        if path is None:
            return
        if path in _FILES:
            self.reply_file(PAGE.with_name(_FILES[path]))
        elif path == "clips":
            self._json(self.session.state)
        elif path.startswith("audio/") and path.removeprefix("audio/").isdecimal():
            try:
                self.reply(self.session.audio(int(path.removeprefix("audio/"))), "audio/flac")
            except VoxbeamError as error:
                self._fail(error)
        else:
            self.reply_empty(404)

    def do_POST(self) -> None:
        path = self._path()
        if path is None:
            return
        content = self.read_body(_MAX_BODY) if self.headers.get("Content-Type") == "application/json" else None
        try:
            body = json.loads(content or b"")
        except (ValueError, RecursionError):
            self.reply_empty(400)
            return
        if path == "answer" and _is_answer(body):
            self._json(lambda: self.session.answer(body["clip"], body["answer"], body.get("correction")))
        elif path == "undo":
            self._json(lambda: {"clip": self.session.undo()})
        elif path == "finish":
            self._json(lambda: None)
            self.finished.set()
        else:
            self.reply_empty(400)

    def _path(self) -> str | None:
        """What is asked for below the token; None, after an answer, for a request of somebody else."""
        _, token, path = (*self.path.split("/", 2), "", "")[:3]
        if self.is_foreign() or not secrets.compare_digest(token.encode(), self.token.encode()):
            self.reply_empty(404)
            return None
        return path

    def _json(self, result: Callable[[], Any]) -> None:
        try:
            content = result()
        except VoxbeamError as error:
            self._fail(error)
        else:
            self.reply_json(content)

    def _fail(self, error: VoxbeamError) -> None:
        self.reply_json({"error": str(error)}, 409)


def _is_answer(body: object) -> bool:
    return (
        isinstance(body, dict)
        and type(body.get("clip")) is int
        and isinstance(body.get("answer"), str)
        and isinstance(body.get("correction"), str | None)
    )
