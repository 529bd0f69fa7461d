"""The audit page: its server refuses everybody else, and a person gets through an audit with single keys in a real browser."""

import http.client
import io
import json
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import numpy as np
import pytest
import soundfile as sf

from voxbeam.audit.open import open_audit
from voxbeam.audit.result import read_results
from voxbeam.audit.server import AuditServer
from voxbeam.audit.session import AuditSession
from voxbeam.corpus import Corpus
from voxbeam.schemas.errors import VoxbeamError

from tests.servers.browser import open_page
from tests.spoken_release import spoken_release

SCREENSHOTS = os.environ.get("VOXBEAM_SCREENSHOTS")
"""folder for pictures of the page, to look at"""


@pytest.fixture
def session(spoken: Corpus) -> AuditSession:
    return open_audit(spoken, who="Ann")


@pytest.fixture
def server(session: AuditSession) -> Iterator[AuditServer]:
    server = AuditServer(session)
    yield server
    server.close()


def ask(server: AuditServer, method: str, path: str, body: object = None, **headers: str) -> tuple[int, bytes]:
    """Status and content of an answer; `path` is below the token, or whole if it begins with a slash."""
    parts = urlsplit(server.address)
    connection = http.client.HTTPConnection("127.0.0.1", parts.port or 0, timeout=10)
    content = None if body is None else json.dumps(body)
    connection.putrequest(method, path if path.startswith("/") else parts.path + path, skip_host=True)
    sent = {"Host": parts.netloc, **({"Content-Type": "application/json"} if content is not None else {})}
    for name, value in {**sent, **{name.replace("_", "-"): value for name, value in headers.items()}}.items():
        connection.putheader(name, value)
    if content is not None:
        connection.putheader("Content-Length", str(len(content)))
    connection.endheaders(content.encode() if content else None)
    reply = connection.getresponse()
    return reply.status, reply.read()


def test_the_codes_of_a_further_codec_are_heard(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path / "config"))
    uri = spoken_release(tmp_path, per_recording=1, moved=True).uri
    first, moved = (open_audit(Corpus(uri, codec_name=name), who="Ann", sound="codes") for name in (None, "moved"))
    waves = [sf.read(io.BytesIO(session.audio(0)))[0] for session in (first, moved)]
    assert np.array_equal(*waves), "the two sound alike"
    with pytest.raises(VoxbeamError, match=r"a codec is named \(moved\), but the audio is the FLAC that was kept"):
        open_audit(Corpus(uri, codec_name="moved"), who="Ann")


def test_clips_and_their_sound(server: AuditServer, session: AuditSession) -> None:
    status, content = ask(server, "GET", "clips")
    state = json.loads(content)
    assert status == 200 and len(state["clips"]) == 12 and set(state["clips"][0]) == {"text", "ms", "answer", "correction"}
    status, content = ask(server, "GET", "audio/0")
    wave, rate = sf.read(io.BytesIO(content))
    assert (status, rate, len(wave)) == (200, 24_000, state["clips"][0]["ms"] * 24)
    assert ask(server, "GET", "audio/12")[0] == 409 and ask(server, "GET", "audio/-1")[0] == 404


@pytest.mark.parametrize("sound", ["codes", "sources"])
def test_sound_that_is_not_kept(spoken: Corpus, sound: str) -> None:
    kept, other = (open_audit(spoken, who="Ann", sound=each).audio(1) for each in ("kept", sound))
    waves = [sf.read(io.BytesIO(content))[0] for content in (kept, other)]
    assert len(waves[0]) == len(waves[1]) and np.corrcoef(*waves)[0, 1] > (0.99 if sound == "sources" else 0.3)


@pytest.mark.parametrize(
    ("method", "path", "headers", "status"),
    [
        ("GET", "/", {}, 404),
        ("GET", "/clips", {}, 404),
        ("GET", "/wrong-token/clips", {}, 404),
        ("GET", "clips", {"Host": "evil.example"}, 404),
        ("GET", "clips", {"Origin": "http://evil.example"}, 404),
        ("GET", "../page.html", {}, 404),
        ("GET", "server.py", {}, 404),
        ("POST", "undo", {"Origin": "null"}, 404),
        ("POST", "undo", {"Content_Type": "text/plain"}, 400),
        ("POST", "nothing", {}, 400),
        ("POST", "answer", {}, 400),
    ],
)
def test_everybody_else_is_refused(server: AuditServer, method: str, path: str, headers: dict[str, str], status: int) -> None:
    body = {"clip": "0", "answer": "right"} if method == "POST" else None
    assert ask(server, method, path, body, **headers) == (status, b"")


def test_an_answer_that_is_none_is_refused(server: AuditServer, session: AuditSession) -> None:
    assert ask(server, "POST", "answer", {"clip": 0, "answer": "perfect"})[0] == 409
    assert ask(server, "POST", "answer", {"clip": 99, "answer": "right"})[0] == 409
    assert session.answered == 0


def picture(page: Any, name: str) -> None:
    if SCREENSHOTS:
        page.screenshot(path=Path(SCREENSHOTS) / f"audit-{name}.png")


@pytest.mark.browser
def test_a_person_audits_with_single_keys(server: AuditServer, session: AuditSession) -> None:
    with open_page(server.address, viewport={"width": 900, "height": 700}) as opened:
        page = opened.page
        page.wait_for_selector("#begin:not([disabled])")
        picture(page, "start")
        page.keyboard.press("Enter")
        opened.wait("document.querySelector('#audio').currentTime > 0.2")  # it plays by itself
        texts = [clip["text"] for clip in session.state()["clips"]]
        assert page.inner_text("#text") == " ".join(texts[0].split())
        opened.wait("sounds.size === 2")  # the next one is there before it is asked for
        picture(page, "clip")
        for number, key in enumerate("123456"):
            page.keyboard.press(key)
            opened.wait(f"current === {number + 1}")
        page.keyboard.press("u")
        opened.wait("current === 5")
        assert page.inner_text("#progress") == "5 of 12 clips"
        page.keyboard.press("e")
        page.fill("#correction", "what they say: 1 2 3 u e")
        picture(page, "correct")
        page.keyboard.press("Enter")
        opened.wait("current === 6")
        page.click("[data-answer=noise]")
        opened.wait("current === 7")
        page.keyboard.press("Space")
        page.reload()  # an audit goes on where it was
        page.wait_for_selector("#begin:not([disabled])")
        assert page.inner_text("#progress") == "7 of 12 clips"
        page.click("#begin")
        opened.wait("current === 7")
        for number in range(7, 12):
            opened.wait(f"current === {number}")
            page.keyboard.press("1")
        page.wait_for_selector("#end:not([hidden])")
        picture(page, "end")
        assert page.inner_text("#summary").startswith("All 12 clips are answered; 6 of them have an error")
        page.keyboard.press("Enter")
        opened.wait("document.querySelector('#finish').hidden")
        assert server.finished.wait(5)
        assert not opened.errors and not opened.foreign
    (result,) = read_results(session.corpus.store, session.corpus.release)
    said = {clip.key: result.answers[clip.key] for clip in session.plan.clips}
    assert [answer.answer for answer in said.values()] == [
        "right", "wrong_text", "two_voices", "cut_word", "noise", "wrong_text", "noise", *["right"] * 5,
    ]  # fmt: skip
    assert list(said.values())[5].correction == "what they say: 1 2 3 u e" and not result.wrong


@pytest.mark.browser
def test_a_page_whose_server_fails_says_so(server: AuditServer, session: AuditSession) -> None:
    """Sound that is gone, and an answer that cannot be kept: the page stays on the clip and shows the error."""
    with open_page(server.address, color_scheme="dark", viewport={"width": 400, "height": 800}) as opened:
        page = opened.page
        page.wait_for_selector("#begin:not([disabled])")
        page.keyboard.press("Enter")
        opened.wait("current === 0")
        folder = Path(session.corpus.store.root) / "audits"
        folder.rename(folder.with_name("elsewhere"))
        folder.write_text("a file in the place of the folder")
        page.keyboard.press("1")
        opened.wait("document.querySelector('#message').textContent !== ''")
        picture(page, "error")
        assert page.evaluate("current") == 0 and page.inner_text("#progress") == "0 of 12 clips"
        folder.unlink()
        folder.with_name("elsewhere").rename(folder)
        page.keyboard.press("1")
        opened.wait("current === 1")
        assert session.answered == 1
