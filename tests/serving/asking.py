"""Asks a server of speech, as its clients do."""

import http.client
import json

from voxbeam.assets import DEMO
from voxbeam.serving.speech_server import SpeechServer

KENNEDY = next((DEMO / "kennedy").rglob("*.flac"))
AUSTEN = next((DEMO / "austen_reader").rglob("*.flac"))
READER = next((DEMO / "sonnets_reader").rglob("*001.flac"))
SPEECH, VOICES = "/v1/audio/speech", "/v1/audio/voices"


def ask(
    server: SpeechServer, method: str, path: str, body: bytes | dict | None = None, **headers: str
) -> tuple[int, dict[str, str], bytes]:
    connection = http.client.HTTPConnection("127.0.0.1", server._server.port, timeout=60)
    content = json.dumps(body).encode() if isinstance(body, dict) else body
    kind = {"Content-Type": "application/json"} if isinstance(body, dict) else {}
    connection.request(method, path, content, {**kind, **{name.replace("_", "-"): value for name, value in headers.items()}})
    reply = connection.getresponse()
    return reply.status, dict(reply.headers), reply.read()


def speech(**changes: object) -> dict:
    fields = {"model": "embedded", "input": "Come in.", "voice": "af_bella", "response_format": "wav"} | changes
    return {name: value for name, value in fields.items() if value is not None}


def error(content: bytes) -> dict:
    return json.loads(content)["error"]
