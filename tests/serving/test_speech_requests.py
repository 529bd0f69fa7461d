"""Requests as OpenAI's clients send them, to a real server with the voice that ships; every error a sentence."""

import io
import json
import socket
from urllib.parse import quote

import numpy as np
import pytest
import soundfile as sf

from voxbeam.safety.made_voices import MADE_VOICES
from voxbeam.schemas.formats import CODEC_RATE
from voxbeam.serving.speech_request import FORMATS, encode
from voxbeam.serving.speech_server import SpeechServer

from tests.serving.asking import SPEECH, VOICES, ask, error, speech

JSON = {"Content_Type": "application/json"}


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
        ({"response_format": ""}, 400, "response_format is ''"),
        ({"response_format": 0}, 400, "response_format is 0"),
        ({"response_format": False}, 400, "response_format is False"),
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
        ("POST", SPEECH, b"{", JSON, 400),
        ("POST", SPEECH, b"[" * 60_000, JSON, 400),
        ("POST", SPEECH, json.dumps(speech(input="caf\u00e9"), ensure_ascii=False).encode("latin-1"), JSON, 400),
        ("POST", SPEECH, json.dumps(speech()).encode()[:-1] + b', "input": "Go away."}', JSON, 400),
        ("POST", SPEECH, b"{}", {"Content_Type": "text/plain"}, 415),
        ("POST", SPEECH, b" " * 70_000, JSON, 413),
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
