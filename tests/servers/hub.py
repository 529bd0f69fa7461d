"""The few routes of the Hugging Face Hub that an upload of small files uses, on this machine. Keeps what comes."""

import base64
import json
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from threading import Thread


@dataclass
class Hub:
    """Its address, and the files of the last commit."""

    address: str = ""
    created: list[dict] = field(default_factory=list)
    files: dict[str, bytes] = field(default_factory=dict)
    summary: str = ""


@contextmanager
def hub(token: str) -> Iterator[Hub]:
    """A hub that one token may write to."""
    state = Hub()

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            content = self.rfile.read(int(self.headers.get("Content-Length", 0)))
            if self.headers.get("Authorization") != f"Bearer {token}":
                self.answer({"error": "Invalid username or password."}, 401)
            elif self.path == "/api/repos/create":
                state.created.append(json.loads(content))
                self.answer({"url": f"{state.address}/me/voice"})
            elif self.path == "/api/validate-yaml":
                self.answer({"errors": [], "warnings": []})
            elif "/preupload/" in self.path:
                names = [file["path"] for file in json.loads(content)["files"]]
                self.answer({"files": [{"path": name, "uploadMode": "regular", "shouldIgnore": False} for name in names]})
            elif "/commit/" in self.path:
                lines = [json.loads(line) for line in content.splitlines()]
                state.summary = lines[0]["value"]["summary"]
                state.files = {line["value"]["path"]: base64.b64decode(line["value"]["content"]) for line in lines[1:]}
                self.answer({"commitUrl": f"{state.address}/me/voice/commit/{'a' * 40}", "commitOid": "a" * 40})
            else:
                self.answer({"error": "not found"}, 404)

        def answer(self, tree: dict, status: int = 200) -> None:
            content = json.dumps(tree).encode()
            self.send_response(status)
            self.send_header("Content-Type", "application/json")
            self.send_header("Content-Length", str(len(content)))
            self.end_headers()
            self.wfile.write(content)

        def log_message(self, format: str, *args: object) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    state.address = f"http://127.0.0.1:{server.server_port}"
    Thread(target=server.serve_forever, kwargs={"poll_interval": 0.05}, daemon=True).start()
    try:
        yield state
    finally:
        server.shutdown()
        server.server_close()
