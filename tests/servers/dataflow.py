"""The part of Dataflow's REST interface that a submission talks to, on this machine: it takes a job, and says how it ended."""

import json
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

JOB = "2026-11-23_job"


@dataclass
class Service:
    """What jobs come to here, and those that came."""

    url: str = ""
    state: str = "JOB_STATE_DONE"
    error: str = ""
    jobs: list[dict[str, Any]] = field(default_factory=list)

    def answer(self, path: str) -> dict[str, Any]:
        if "/messages" in path:
            message = {"time": "2026-11-23T10:00:00Z", "messageImportance": "JOB_MESSAGE_ERROR", "messageText": self.error}
            return {"jobMessages": [message] if self.error else []}
        if "/metrics" in path:
            return {"metrics": []}
        return {"id": JOB, "name": "job", "currentState": self.state}


@contextmanager
def dataflow_service() -> Iterator[Service]:
    """Runs the service on a free port."""
    service = Service()

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self._say(service.answer(self.path))

        def do_POST(self) -> None:
            service.jobs.append(json.loads(self.rfile.read(int(self.headers["Content-Length"]))))
            self._say({"id": JOB, "name": "job", "currentState": "JOB_STATE_PENDING"})

        def _say(self, answer: dict[str, Any]) -> None:
            content = json.dumps(answer).encode()
            self.send_response(200)
            self.send_header("Content-Type", "application/json")
            self.send_header("Content-Length", str(len(content)))
            self.end_headers()
            self.wfile.write(content)

        def log_message(self, *_: Any) -> None: ...

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    service.url = f"http://localhost:{server.server_port}"
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    try:
        yield service
    finally:
        server.shutdown()
        thread.join()
