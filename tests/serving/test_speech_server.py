"""The endpoint: requests as OpenAI's clients send them, to a real server with the voice that ships; every error a sentence."""

import http.client
import io
import json
import os
import signal
import socket
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from urllib.parse import quote

import numpy as np
import pytest
import soundfile as sf

from voxbeam.assets import DEMO, PROMPT, PROMPT_TEXT
from voxbeam.commands.exit_status import DONE, UNUSABLE
from voxbeam.commands.main import main
from voxbeam.models.threads import pin_threads
from voxbeam.safety.enrol import revoke
from voxbeam.safety.ledger import Ledger
from voxbeam.safety.made_voices import MADE_VOICES
from voxbeam.schemas.errors import SynthesisError
from voxbeam.schemas.formats import CODEC_RATE
from voxbeam.serving.speech_request import FORMATS, encode
from voxbeam.serving.speech_server import ServerConfig, SpeechServer
from voxbeam.serving.voices import MAX_SENT, Voices, read_folder
from voxbeam.synthesis.prompt import Prompt
from voxbeam.synthesis.synthesizer import Synthesizer

from tests.safety.ledgers import allow_prompts, grant_voice
from tests.servers.browser import open_page
from tests.servers.processes import wait_for

KENNEDY = next((DEMO / "kennedy").rglob("*.flac"))
AUSTEN = next((DEMO / "austen_reader").rglob("*.flac"))
READER = next((DEMO / "sonnets_reader").rglob("*001.flac"))
SPEECH, VOICES = "/v1/audio/speech", "/v1/audio/voices"


@pytest.fixture(scope="module")
def voices(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Voices]:
    """Of a server whose ledger is this module's own."""
    pin_threads()
    with pytest.MonkeyPatch.context() as environment:
        environment.setenv("VOXBEAM_LEDGER", str(tmp_path_factory.mktemp("serving") / "ledger"))
        first = Synthesizer.load(prompt=PROMPT, prompt_text=PROMPT_TEXT)
        Ledger().create("Test house")
        yield Voices(first, {"kennedy": Prompt.read(KENNEDY)}, 3.0)


@pytest.fixture
def server(voices: Voices) -> Iterator[SpeechServer]:
    server = SpeechServer(voices, ServerConfig(model="embedded", waiting=0))
    yield server
    server.close()


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


@pytest.mark.slow
def test_a_request_of_a_client(server: SpeechServer) -> None:
    """The same request gives the same sound, whole and in the voice that was named, with its watermark."""
    status, headers, content = ask(server, "POST", SPEECH, speech(), Authorization="Bearer none-is-needed")
    assert status == 200 and headers["Content-Type"] == "audio/wav"
    wave, rate = sf.read(io.BytesIO(content))
    assert rate == CODEC_RATE and 0.3 < len(wave) / rate < 4 and np.abs(wave).max() > 0.01
    assert float(headers["Voxbeam-Seconds"]) == pytest.approx(len(wave) / rate, abs=1e-3)
    assert headers["Voxbeam-Watermark"] == next(iter(MADE_VOICES.values())).digest[:8]
    status, headers, again = ask(server, "POST", SPEECH, speech(response_format="flac", voice={"id": "af_bella"}, speed=1.0))
    assert headers["Content-Type"] == "audio/flac" and np.array_equal(sf.read(io.BytesIO(again))[0], wave)
    status, headers, _ = ask(server, "POST", SPEECH, speech(input="Come in. [laughs]", seed=0))
    assert status == 200 and headers["Voxbeam-Problems"] == quote("'[laughs]' is not spoken")


@pytest.mark.parametrize("format", FORMATS)
def test_formats(format: str) -> None:
    wave_S = (0.3 * np.sin(np.arange(CODEC_RATE) / 20)).astype(np.float32)
    content, kind = encode(wave_S, format)
    assert kind.startswith("audio/")
    if format == "pcm":
        heard = np.frombuffer(content, "<i2") / 32768
    else:
        heard, rate = sf.read(io.BytesIO(content))
        assert rate == CODEC_RATE
    assert abs(len(heard) - CODEC_RATE) < 3000
    assert np.abs(np.fft.rfft(heard, CODEC_RATE)).argmax() == pytest.approx(CODEC_RATE / 20 / 2 / np.pi, abs=1)


def test_what_there_is(server: SpeechServer) -> None:
    (model,) = json.loads(ask(server, "GET", "/v1/models")[2])["data"]
    assert model["id"] == "embedded" and model["object"] == "model"
    found = {each["id"]: each for each in json.loads(ask(server, "GET", VOICES)[2])["data"]}
    assert found["af_bella"]["allowed"] and "ships with voxbeam" in found["af_bella"]["reason"]
    assert not found["kennedy"]["allowed"]


@pytest.mark.parametrize(
    ("changes", "status", "message"),
    [
        ({"model": "tts-1"}, 404, "there is no model 'tts-1'; this server has 'embedded'"),
        ({"voice": "alloy"}, 404, "there is no voice 'alloy'; the voices are af_bella, kennedy"),
        ({"voice": "kennedy"}, 403, "consent"),
        ({"voice": None}, 400, "voice is missing"),
        ({"voice": {"id": 3}}, 400, "id is missing"),
        ({"input": " "}, 400, "input is missing"),
        ({"input": "a" * 4097}, 400, "the limit is 4096"),
        ({"input": "Привет."}, 400, "Cyrillic"),
        ({"response_format": "aac"}, 400, "this server writes mp3, opus, flac, wav, pcm"),
        ({"response_format": ["wav"]}, 400, "response_format is"),
        ({"speed": 1.5}, 400, "at the rate of the voice"),
        ({"instructions": "Whisper."}, 400, "follows no instructions"),
        ({"stream_format": "sse"}, 400, "as a whole"),
        ({"seed": -1}, 400, "seed is a whole number"),
        ({"partial": 1}, 400, "true or false"),
        ({"sped": 1}, 400, "unknown field 'sped'"),
    ],
)
def test_a_wrong_request_is_told_what_is_wrong(server: SpeechServer, changes: dict, status: int, message: str) -> None:
    answered, _, content = ask(server, "POST", SPEECH, speech(**changes))
    assert answered == status and message in error(content)["message"]


@pytest.mark.parametrize(
    ("method", "path", "body", "headers", "status"),
    [
        ("POST", SPEECH, b"{", {"Content_Type": "application/json"}, 400),
        ("POST", SPEECH, b"[" * 60_000, {"Content_Type": "application/json"}, 400),
        ("POST", SPEECH, b"{}", {"Content_Type": "text/plain"}, 415),
        ("POST", SPEECH, b" " * 70_000, {"Content_Type": "application/json"}, 413),
        ("POST", SPEECH, {}, {"Origin": "http://evil.example"}, 403),
        ("POST", SPEECH, {}, {"Host": "evil.example"}, 403),
        ("GET", "/", None, {"Host": "evil.example"}, 403),
        ("GET", "/v1/audio/speech", None, {}, 404),
        ("GET", "/../pyproject.toml", None, {}, 404),
        ("POST", VOICES, b"no sound", {"Content_Type": "audio/wav"}, 400),
        ("POST", VOICES, b"no sound", {"Content_Type": "multipart/form-data"}, 415),
    ],
)
def test_what_is_no_request_is_refused(
    server: SpeechServer, method: str, path: str, body: bytes | dict | None, headers: dict[str, str], status: int
) -> None:
    answered, _, content = ask(server, method, path, body, **headers)
    assert answered == status and error(content)["message"]


@pytest.mark.parametrize(
    ("request_line", "status"),
    [
        (b"PUT / HTTP/1.1", 501),
        (b"GET http://[::1/ HTTP/1.1", 400),
        (b"GET /" + b"a" * 70_000 + b" HTTP/1.1", 414),
        (b"\x16\x03\x01 hello", 400),
        (b"GET / HTTP/9.9", 505),
        (b"G" * 5000 + b" / HTTP/1.1", 501),
    ],
)
def test_what_is_no_http_has_an_error_of_the_same_form(server: SpeechServer, request_line: bytes, status: int) -> None:
    with socket.create_connection(("127.0.0.1", server._server.port), timeout=20) as client:
        client.sendall(request_line + f"\r\nHost: 127.0.0.1:{server._server.port}\r\n\r\n".encode())
        answer = b""
        try:
            while block := client.recv(65536):
                answer += block
        except ConnectionError:
            pass  # the rest of a request that is too long was not read
    head, _, body = answer.partition(b"\r\n\r\n") if answer.startswith(b"HTTP/") else (b"", b"", answer)
    assert head.split(b" ")[1:2] in ([str(status).encode()], []) and len(error(body)["message"]) < 300


def test_the_type_of_a_body_is_read_as_http_has_it(server: SpeechServer) -> None:
    body = json.dumps(speech(voice="alloy")).encode()
    for kind, status in (("Application/JSON ; charset=utf-8", 404), ("application/jsonx", 415), ("", 415)):
        assert ask(server, "POST", SPEECH, body, Content_Type=kind)[0] == status


@pytest.mark.parametrize("value", [np.nan, np.inf])
def test_a_prompt_of_no_numbers_is_refused(server: SpeechServer, value: float) -> None:
    file = io.BytesIO()
    sf.write(file, np.full(CODEC_RATE, value, np.float32), CODEC_RATE, format="WAV", subtype="FLOAT")
    status, _, content = ask(server, "POST", VOICES, file.getvalue(), Content_Type="audio/wav")
    assert status == 400 and "NaN or infinite" in error(content)["message"]


def test_a_key(voices: Voices) -> None:
    with pytest.raises(ValueError, match="a key is needed"):
        SpeechServer(voices, ServerConfig(model="embedded"), host="0.0.0.0")
    server = SpeechServer(voices, ServerConfig(model="embedded", key="secret"))
    try:
        assert ask(server, "GET", "/")[0] == 200
        assert ask(server, "GET", "/v1/models")[0] == 401
        assert ask(server, "POST", SPEECH, speech(), Authorization="Bearer Secret")[0] == 401
        assert ask(server, "GET", "/v1/models", Authorization="Bearer secret")[0] == 200
    finally:
        server.close()


@pytest.mark.slow
def test_a_prompt_that_a_client_sends_needs_a_grant(server: SpeechServer) -> None:
    """Without one it is not kept; with one it speaks, until the grant is revoked."""
    content = READER.read_bytes()
    status, _, refused = ask(server, "POST", VOICES, content, Content_Type="audio/flac")
    assert status == 403 and error(refused)["code"] == "no_consent" and not server.voices._sent
    grant = allow_prompts([Prompt.read(READER).wave_S])
    status, _, made = ask(
        server, "POST", f"{VOICES}?prompt_text={quote('Shall I compare thee')}", content, Content_Type="audio/flac"
    )
    voice = json.loads(made)
    assert status == 201 and voice["seconds"] == 3.0
    kept = server.voices.get(voice["id"])
    assert kept is not None and kept.prompt.text == "Shall I compare thee"
    revoke(Ledger(), grant.digest, "asked to")
    status, _, refused = ask(server, "POST", SPEECH, speech(voice=voice["id"]))
    assert status == 403 and "revoked" in error(refused)["message"]


def test_only_the_last_prompts_are_kept(voices: Voices) -> None:
    files = []
    for number in range(MAX_SENT + 1):
        wave = np.random.default_rng(number).normal(0, 0.1, CODEC_RATE).astype(np.float32)
        file = io.BytesIO()
        sf.write(file, wave, CODEC_RATE, format="WAV", subtype="FLOAT")
        files.append(file.getvalue())
    allow_prompts([Prompt.read(io.BytesIO(content)).wave_S for content in files])
    names = [voices.add(content, "Hello.").name for content in files]
    assert [voices.get(name) is not None for name in names] == [False] + [True] * MAX_SENT
    with pytest.raises(SynthesisError, match="12 channels"):
        wide = io.BytesIO()
        sf.write(wide, np.zeros((100, 12)), CODEC_RATE, format="WAV")
        voices.add(wide.getvalue(), None)


@pytest.mark.slow
def test_one_speaks_and_who_closes_ends_it(voices: Voices) -> None:
    """With nobody allowed to wait, a second is told so; a client that leaves and a server that closes end the speaking."""
    server = SpeechServer(voices, ServerConfig(model="embedded", waiting=0))
    long = speech(input="The boy was there when the sun rose, and he opened the window to let in some fresh air.")
    leaving = socket.create_connection(("127.0.0.1", server._server.port))
    content = json.dumps(long).encode()
    head = f"POST {SPEECH} HTTP/1.1\r\nHost: 127.0.0.1:{server._server.port}\r\nContent-Type: application/json\r\n"
    leaving.sendall(f"{head}Content-Length: {len(content)}\r\n\r\n".encode() + content)
    wait_for(lambda: len(server.turns) == 1, 60, "a request that is spoken")
    status, headers, busy = ask(server, "POST", SPEECH, speech())
    assert status == 429 and headers["Retry-After"] and error(busy)["code"] == "busy"
    leaving.close()
    wait_for(lambda: len(server.turns) == 0, 60, "the end of it")
    answers: list[int] = []
    asking = threading.Thread(target=lambda: answers.append(ask(server, "POST", SPEECH, long)[0]))
    asking.start()
    wait_for(lambda: len(server.turns) == 1, 60, "a request that is spoken")
    server.close()
    asking.join(10)
    assert answers == [503]
    with pytest.raises(ConnectionError):
        ask(server, "GET", "/")


def test_a_folder_of_voices(tmp_path: Path) -> None:
    with pytest.raises(SynthesisError, match="0 sounds"):
        read_folder(tmp_path, 3.0)
    (tmp_path / "ann.flac").write_bytes(READER.read_bytes())
    (tmp_path / "ann.txt").write_text("From fairest creatures\n", encoding="utf-8")
    found = read_folder(tmp_path, 2.0)
    assert found["ann"].text == "From fairest creatures" and len(found["ann"].wave_S) == 2 * CODEC_RATE
    (tmp_path / "ann.wav").write_bytes(b"")
    with pytest.raises(SynthesisError, match="another voice ann"):
        read_folder(tmp_path, 2.0)


@pytest.mark.slow
def test_the_command_ends_with_ctrl_c(capsys: pytest.CaptureFixture) -> None:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    found: list[bytes] = []

    def use() -> None:
        while not found:
            try:
                connection = http.client.HTTPConnection("127.0.0.1", port)
                connection.request("GET", "/v1/models")
                found.append(connection.getresponse().read())
            except OSError:
                time.sleep(0.1)
        os.kill(os.getpid(), signal.SIGINT)

    thread = threading.Thread(target=use)
    thread.start()
    assert main(["serve", "--port", str(port)]) == DONE
    thread.join()
    told = capsys.readouterr()
    assert json.loads(found[0])["data"][0]["id"] == "embedded"
    assert f"Page: http://127.0.0.1:{port}/" in told.out and "GET /v1/models: done" in told.err
    assert main(["serve", "--host", "0.0.0.0"]) == UNUSABLE and "needs --key" in capsys.readouterr().err


@pytest.mark.browser
def test_the_page_speaks_and_says_what_it_may_not(server: SpeechServer, tmp_path: Path) -> None:
    """Typed text is heard; a file that nobody allowed is refused; what is recorded by the person of a grant speaks."""
    sound = tmp_path / "microphone.wav"
    wave, rate = sf.read(AUSTEN)
    sf.write(sound, wave[: 10 * rate], rate, subtype="PCM_16")
    grant_voice(Ledger(), Prompt.read(AUSTEN, None, 10.0).wave_S)
    microphone = [
        "--use-fake-device-for-media-stream",
        "--use-fake-ui-for-media-stream",
        f"--use-file-for-fake-audio-capture={sound}",
        "--autoplay-policy=no-user-gesture-required",
    ]
    with open_page(f"http://127.0.0.1:{server._server.port}/", microphone, viewport={"width": 800, "height": 900}) as opened:
        page = opened.page
        page.wait_for_selector("#speak:not([disabled])")
        assert page.inner_text("#model") == "embedded" and "kennedy is refused" in page.inner_text("#basis")
        page.fill("#text", "Come in.")
        page.click("#speak")
        opened.wait("document.querySelector('#audio').duration > 0.3", 180)  # a busy machine speaks slowly
        assert "watermark" in page.inner_text("#told") and page.inner_text("#message") == ""
        page.set_input_files("#file", str(KENNEDY))
        opened.wait("document.querySelector('#message').textContent.includes('no grant covers this prompt')", 60)
        assert page.input_value("#voice") == "af_bella"
        page.click("#record")
        opened.wait(
            "document.querySelector('#record').textContent === 'Record' && !document.querySelector('#speak').disabled", 60
        )
        if os.environ.get("VOXBEAM_SCREENSHOTS"):
            page.screenshot(path=Path(os.environ["VOXBEAM_SCREENSHOTS"]) / "serve.png")
        assert page.inner_text("#message") == "" and page.input_value("#voice").startswith("prompt-")
        assert "a grant of this voice" in page.inner_text("#basis")
        assert not opened.foreign
        assert not [line for line in opened.errors if "403" not in line]  # the browser tells of the refusal itself
