"""The server: its key, its page, one request at a time, and its end."""

import http.client
import json
import os
import signal
import socket
import threading
import time
from pathlib import Path

import pytest
import soundfile as sf

from voxbeam.commands.exit_status import DONE, UNUSABLE
from voxbeam.commands.main import main
from voxbeam.safety.ledger import Ledger
from voxbeam.serving.speech_server import ServerConfig, SpeechServer
from voxbeam.serving.voices import Voices
from voxbeam.synthesis.prompt import Prompt

from tests.safety.ledgers import grant_voice
from tests.servers.browser import open_page
from tests.servers.processes import wait_for
from tests.serving.asking import AUSTEN, KENNEDY, SPEECH, ask, error, speech


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
