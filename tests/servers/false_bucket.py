"""A bucket that answers as a test wants: a handler of HTTP requests where the S3 client looks for its server."""

from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from threading import Thread

import pytest


class QuietHandler(BaseHTTPRequestHandler):
    """Prints no line for a request."""

    def log_message(self, format: str, *args: object) -> None:
        pass


@contextmanager
def false_bucket(handler: type[QuietHandler], patch: pytest.MonkeyPatch) -> Iterator[None]:
    """While the context lasts, every s3:// address leads to the handler."""
    server = ThreadingHTTPServer(("127.0.0.1", 0), handler)
    Thread(target=server.serve_forever, daemon=True).start()
    for name, value in {
        "ENDPOINT_URL": f"http://127.0.0.1:{server.server_port}", "ACCESS_KEY_ID": "x", "SECRET_ACCESS_KEY": "y",
        "REGION": "us-east-1", "ALLOW_HTTP": "true",
    }.items():  # fmt: skip
        patch.setenv(f"AWS_{name}", value)
    try:
        yield
    finally:
        server.shutdown()
