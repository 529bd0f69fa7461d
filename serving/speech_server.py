"""Server: an HTTP endpoint that speaks, for clients of OpenAI's speech route and for its own page.

    POST /v1/audio/speech    JSON with model, input, voice, response_format → the sound
    GET  /v1/models          the model
    GET  /v1/audio/voices    the voices, and whether they may be used
    POST /v1/audio/voices    a sound file as a prompt, kept in memory; ?prompt_text= its transcript → its id
    GET  /                   a page to type a text and hear it

One request is spoken at a time, a few wait, further ones are told to come back. A client that goes away, and a server that is
closed, end what is being spoken with its current frame.
"""

from __future__ import annotations

import logging
import secrets
import select
import socket
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass
from http import HTTPStatus
from pathlib import Path
from urllib.parse import parse_qs, quote, urlsplit

from voxbeam.safety.blocks import require_not_blocked
from voxbeam.schemas.errors import ConsentError, SynthesisError, VoxbeamError
from voxbeam.schemas.formats import CODEC_RATE
from voxbeam.serving.local_http import LocalHandler, LocalServer, is_loopback
from voxbeam.serving.speech_request import FORMATS, MAX_BODY, MAX_INPUT, RequestError, encode, parse_request
from voxbeam.serving.turns import TooManyWaitError, Turns
from voxbeam.serving.voices import MAX_PROMPT_BYTES, Voices
from voxbeam.synthesis.candidates import Speech
from voxbeam.synthesis.synthesizer import Synthesizer
from voxbeam.synthesis.text import split_sentences

PAGE_FILES = Path(__file__).with_name("page_files")
_FILES = {"/": "page.html", "/page.js": "page.js", "/page.css": "page.css"}
_MAX_SHOWN = 200
"""characters of a request that is none which its error repeats"""
_CLOSE_S = 20.0
"""how long `close` waits for the requests that it ends"""


@dataclass(frozen=True, kw_only=True)
class ServerConfig:
    """How a server answers."""

    model: str
    """name of its model"""
    candidates: int = 1
    """takes of a sentence, of which the best is kept"""
    seed: int = 0
    """of a request that names none"""
    waiting: int = 8
    """requests that may wait for their turn"""
    prompt_seconds: float = 3.0
    key: str | None = None
    """what clients must send as `Authorization: Bearer KEY`; None: nothing"""


class SpeechServer:
    """Speaks until `close`. `on_event` is told every request in one line, without its text; it is called in several threads.

    Raises StorageError for an address that cannot be listened on, ValueError for one that others reach without a key.
    """

    def __init__(
        self,
        voices: Voices,
        config: ServerConfig,
        *,
        host: str = "127.0.0.1",
        port: int = 0,
        on_event: Callable[[str], None] | None = None,
    ) -> None:
        if config.key is None and not is_loopback(host):
            raise ValueError(f"{host} is open to other machines: a key is needed, so that not everybody speaks in these voices")
        self.voices, self.config, self.on_event = voices, config, on_event or (lambda line: None)
        self.turns, self.stopping = Turns(config.waiting), threading.Event()
        self._open, self._ended = 0, threading.Condition()
        self.began = int(time.time())
        handler: type[_Handler] = type("Handler", (_Handler,), {"speech": self})
        self._server = LocalServer(handler, port, host)
        self.address = f"http://{host}:{self._server.port}/"

    def close(self) -> None:
        """Ends what is spoken and who waits, with status 503, and listens no longer."""
        self.stopping.set()
        self._server.stop_accepting()
        with self._ended:
            self._ended.wait_for(lambda: not self._open, _CLOSE_S)
        self._server.close()

    def speak(self, content: bytes, client: socket.socket) -> tuple[bytes, str, dict[str, str]]:
        """The sound that a request asks for, its media type and headers of its own. Raises RequestError and VoxbeamError."""
        request = parse_request(content, self.config.model, self.config.seed)
        voice = self.voices.get(request.voice)
        if voice is None:
            names = ", ".join(self.voices.names)
            raise RequestError(
                404, f"there is no voice {request.voice!r}; the voices are {names}, and prompts sent lately", "voice", "no_voice"
            )
        require_not_blocked(voice.run_uri)
        voice.require_consent()
        split_sentences(request.text)  # what cannot be spoken need not wait

        def require_wanted() -> None:
            if self.stopping.is_set():
                raise RequestError(503, "the server is being closed", code="closing")
            if _is_gone(client):
                raise RequestError(499, "the client has gone", code="gone")

        try:
            with self.turns.turn(require_wanted):
                speech = self._speak(voice, request.text, request.seed, require_wanted)
        except TooManyWaitError:
            raise RequestError(429, f"{self.turns.waiting} requests wait already; try again later", code="busy") from None
        if speech.failed and not request.partial:
            why = "; ".join((*speech.failed, *speech.warnings))
            raise RequestError(422, f"not all was spoken: {why}; try another seed", "input", "incomplete")
        sound, kind = encode(speech.wave_S, request.format)
        headers = {
            "Voxbeam-Seconds": f"{len(speech.wave_S) / CODEC_RATE:.3f}",
            "Voxbeam-Watermark": f"{voice.require_consent().mark:08x}",
        }
        if told := (*speech.problems, *speech.warnings):
            headers["Voxbeam-Problems"] = quote("; ".join(told))
        return sound, kind, headers

    def _speak(self, voice: Synthesizer, text: str, seed: int, require_wanted: Callable[[], None]) -> Speech:
        voice.each_frame = require_wanted  # a voice speaks in one turn at a time
        try:
            return voice.speak(text, candidates=self.config.candidates, seed=seed)
        finally:
            voice.each_frame = None

    def count(self, change: int) -> None:
        """Counts the requests that are being answered."""
        with self._ended:
            self._open += change
            self._ended.notify_all()


class _Handler(LocalHandler):
    """Answers requests. Every error has OpenAI's form."""

    speech: SpeechServer

    def do_GET(self) -> None:
        self._answer(self._get)

    def do_POST(self) -> None:
        self._answer(self._post)

    def _get(self, path: str) -> None:
        server = self.speech
        if path in _FILES:
            self.reply_file(PAGE_FILES / _FILES[path])
            return
        self._require_key()
        if path == "/v1/models":
            model = {"id": server.config.model, "object": "model", "created": server.began, "owned_by": "voxbeam"}
            self.reply_json({"object": "list", "data": [model]})
        elif path == "/v1/audio/voices":
            limits = {"prompt_seconds": server.config.prompt_seconds, "max_input": MAX_INPUT, "formats": FORMATS}
            self.reply_json({"object": "list", "data": server.voices.describe(), **limits})
        else:
            raise RequestError(404, f"there is no {path}", code="not_found")

    def _post(self, path: str) -> None:
        self._require_key()
        if path == "/v1/audio/speech":
            content = self._body(MAX_BODY, "application/json")
            sound, kind, headers = self.speech.speak(content, self.connection)
            self.reply(sound, kind, headers=headers)
        elif path == "/v1/audio/voices":
            content = self._body(MAX_PROMPT_BYTES, "audio/", "application/octet-stream")
            text = parse_qs(urlsplit(self.path).query).get("prompt_text", [""])[0].strip()
            sent = self.speech.voices.add(content, text or None)
            tree = {"id": sent.name, "object": "voice", "name": sent.name, "allowed": True, "reason": sent.permit.basis}
            self.reply_json({**tree, "seconds": sent.seconds, "warnings": sent.warnings}, 201)
        else:
            raise RequestError(404, f"there is no {path}", code="not_found")

    def _answer(self, handle: Callable[[str], None]) -> None:
        """Answers with what `handle` does, or with its error; tells the server's owner either."""
        path, began, server = "", time.monotonic(), self.speech
        server.count(1)
        try:
            path = _path(self.path)
            if self.is_foreign():
                raise RequestError(403, "this server answers no other page and no other host name", code="foreign")
            if server.stopping.is_set():
                raise RequestError(503, "the server is being closed", code="closing")
            handle(path)
            status = "done"
        except (ConnectionError, TimeoutError):
            self.close_connection, status = True, "the client has gone"
        except RequestError as error:
            status = self._fail(error)
        except ConsentError as error:
            status = self._fail(RequestError(403, str(error), "voice", "no_consent"))
        except SynthesisError as error:
            status = self._fail(RequestError(400, str(error), code="unusable"))
        except VoxbeamError as error:
            status = self._fail(RequestError(500, str(error)))
        except Exception as error:
            logging.getLogger(__name__).debug("traceback", exc_info=True)
            status = self._fail(RequestError(500, f"{type(error).__name__}: {error}"))
        finally:
            server.count(-1)
        if path not in _FILES:
            server.on_event(f"{self.command} {path}: {status}, {time.monotonic() - began:.1f} s")

    def send_error(self, code: int, message: str | None = None, explain: str | None = None) -> None:
        """What is no HTTP, or a method that no route has: the base class would answer with a page."""
        shown = (message or HTTPStatus(code).phrase)[:_MAX_SHOWN]
        self._fail(RequestError(code, f"the request cannot be read: {shown}", code="unreadable"))

    def _fail(self, error: RequestError) -> str:
        self.close_connection = True  # a body may be unread
        try:
            self.reply_json(error.document(), error.status, {"Retry-After": "5"} if error.status in (429, 503) else None)
        except OSError:
            return "the client has gone"
        return f"{error.status}, {error.message}"

    def _require_key(self) -> None:
        key, given = self.speech.config.key, self.headers.get("Authorization", "")
        if key is not None and not secrets.compare_digest(given.encode(), f"Bearer {key}".encode()):
            raise RequestError(401, "the key of this server is missing or wrong (Authorization: Bearer KEY)", code="wrong_key")

    def _body(self, limit: int, *kinds: str) -> bytes:
        kind = self.headers.get("Content-Type", "")
        name = kind.partition(";")[0].strip().lower()
        if not any(name.startswith(one) if one.endswith("/") else name == one for one in kinds):
            raise RequestError(415, f"the content is of type {kind!r}, not {' or '.join(kinds)}")
        content = self.read_body(limit)
        if content is None:
            raise RequestError(413, f"the body has no Content-Length, or more than {limit:,} bytes, or was cut off")
        return content


def _path(target: str) -> str:
    try:
        return urlsplit(target).path
    except ValueError as error:
        raise RequestError(400, f"the address of the request is none: {error}", code="unreadable") from error


def _is_gone(client: socket.socket) -> bool:
    """Whether the other side has closed the connection."""
    try:
        poller = select.poll()
        poller.register(client, select.POLLIN)
        return bool(poller.poll(0)) and client.recv(1, socket.MSG_PEEK) == b""
    except OSError:
        return True
