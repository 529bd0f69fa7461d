"""Enrolment: a statement with fresh words, said in time by one person; everything else grants nothing."""

import contextlib
import io
import re
import threading
from dataclasses import replace
from datetime import timedelta
from pathlib import Path

import numpy as np
import pytest
import soundfile as sf
import soxr

from voxbeam.commands.exit_status import DONE, UNUSABLE
from voxbeam.commands.main import main
from voxbeam.models.codec import EMBEDDED_WEIGHTS, load_codec
from voxbeam.models.speech_metrics import WhisperTranscriber, normalize_words
from voxbeam.models.spoken_form import spoken_form
from voxbeam.safety.challenge import WORDS, Challenge, heard_problem, new_challenge
from voxbeam.safety.enrol import Terms, enrol_own_voice
from voxbeam.safety.gate import ConsentGate
from voxbeam.safety.keys import KeyRing
from voxbeam.safety.ledger import Ledger
from voxbeam.schemas.errors import ConsentError
from voxbeam.schemas.formats import CODEC_RATE

from tests.safety.ledgers import BEGIN, SetClock
from tests.speech import RATE, tts_voice

CHALLENGE = Challenge("0" * 32, ("river", "candle", "tiger", "violin"), BEGIN, "Joe", "voxbeam", ("personal",))


def heard(text: str) -> list[str]:
    return normalize_words(spoken_form(text).text)


@pytest.fixture(scope="module")
def spoken() -> np.ndarray:
    """The statement, by a voice from a package."""
    return soxr.resample(tts_voice()(CHALLENGE.statement), RATE, CODEC_RATE)


@pytest.mark.parametrize(
    ("change", "problem"),
    [
        (("", ""), ""),
        (("speak in my", "speak with my"), ""),
        (("tiger", "spider"), "'tiger' was not heard"),
        (("river, candle", "candle, river"), "was not heard in its place"),
        (("consent", "do not consent"), "'not' was heard"),
        (("consent", "content"), "'I … consent' were not heard"),
        (("The purpose is personal. Today is", "What a fine day it is for a walk, so let us"), "heard otherwise"),
    ],
)
def test_what_is_heard_is_the_statement_or_not(change: tuple[str, str], problem: str) -> None:
    assert CHALLENGE.statement.endswith("Today is November 26, 2026. My words are river, candle, tiger, violin.")
    found = heard_problem(CHALLENGE, heard(CHALLENGE.statement.replace(*change)))
    assert problem in found and bool(problem) == bool(found)


def test_challenges_are_fresh_and_short_lived() -> None:
    one, two = (new_challenge("Joe", "voxbeam", ("personal",), BEGIN) for _ in range(2))
    assert one.words != two.words and one.identifier != two.identifier and len(set(WORDS)) == len(WORDS)
    assert not one.late(BEGIN + timedelta(seconds=120)) and one.late(BEGIN + timedelta(seconds=121))
    assert one.late(BEGIN - timedelta(seconds=1))


@pytest.mark.slow
def test_own_voice_is_enrolled_and_a_replay_is_not(tmp_path: Path, spoken: np.ndarray) -> None:
    """A prompt of the same voice is then let through; the same recording, an old statement and another purpose are not."""
    ledger = Ledger(str(tmp_path / "ledger"), KeyRing(tmp_path / "keys"), clock := SetClock())
    transcriber = WhisperTranscriber("embedded-base")
    clock.pass_by(seconds=121)
    with pytest.raises(ConsentError, match="not said within 120 s"):
        enrol_own_voice(ledger, CHALLENGE, spoken, Terms(), transcriber)
    clock.now = BEGIN
    with pytest.raises(ConsentError, match="purposes are not those of the statement"):
        enrol_own_voice(ledger, CHALLENGE, spoken, Terms(purposes=("a game",)), transcriber)
    other = replace(CHALLENGE, words=("river", "candle", "tiger", "anchor"))
    with pytest.raises(ConsentError, match="'anchor' was not heard"):
        enrol_own_voice(ledger, other, spoken, Terms(), transcriber)
    codec = load_codec(EMBEDDED_WEIGHTS)
    with pytest.raises(ConsentError, match="passed through voxbeam's codec"):
        enrol_own_voice(ledger, CHALLENGE, codec.decode([codec.encode([spoken])[0]])[0], Terms(), transcriber)
    assert not ledger.exists()
    grant = enrol_own_voice(ledger, CHALLENGE, spoken, Terms(), transcriber)
    prompt = soxr.resample(tts_voice()("The birch canoe slid on the smooth planks."), RATE, CODEC_RATE)
    assert ConsentGate(ledger).require(prompt, "embedded").event == grant.digest
    for challenge in (CHALLENGE, replace(CHALLENGE, identifier="1" * 32)):
        with pytest.raises(ConsentError, match="used before"):
            enrol_own_voice(ledger, challenge, spoken, Terms(), transcriber)


@pytest.mark.slow
def test_the_commands_of_the_ledger(tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    """own-voice shows a statement and waits for a recording of it; then the grant is shown, exported, narrowed and revoked."""
    duckdb = pytest.importorskip("duckdb")
    monkeypatch.setenv("VOXBEAM_LEDGER", str(tmp_path / "ledger"))
    monkeypatch.setenv("VOXBEAM_KEYS", str(tmp_path / "keys"))
    said = tmp_path / "say.wav"
    speak = tts_voice()

    def own_voice() -> int:
        done, screen = threading.Event(), io.StringIO()

        def answer() -> None:
            statement = None
            while statement is None and not done.wait(0.1):
                statement = re.search(r"(?m)^    (I, Joe, .*)\n", screen.getvalue())
            if statement is not None:
                sf.write(tmp_path / "part.wav", speak(statement[1]), RATE)
                (tmp_path / "part.wav").rename(said)

        said.unlink(missing_ok=True)
        thread = threading.Thread(target=answer)
        thread.start()
        with contextlib.redirect_stdout(screen):
            status = main(["consent", "own-voice", "--name", "Joe", "--recording", str(said)])
        done.set()
        thread.join()
        return status

    # the words are random: Whisper does not hear each of them in a synthetic voice, and then others are asked for
    assert any(own_voice() == DONE for _ in range(3))
    capsys.readouterr()
    assert main(["consent", "own-voice", "--name", "Joe", "--recording", str(said)]) == UNUSABLE
    assert main(["consent", "grant", "--name", "Ann", "--scope", "train", "--purpose", "research"]) == DONE
    printed = capsys.readouterr()
    assert "is there already" in printed.err
    digest = printed.out.split()[-1]
    assert main(["consent", "show"]) == main(["consent", "rotate-key"]) == main(["consent", "revoke", digest]) == DONE
    assert "4 events, all in order" in capsys.readouterr().out
    assert main(["consent", "renew", digest]) == UNUSABLE
    assert "Remedy: nothing was added" in capsys.readouterr().err
    table = tmp_path / "consent.parquet"
    assert main(["consent", "export", "--out", str(table)]) == DONE
    rows = duckdb.sql(f"SELECT kind, scopes, expires > recorded_at FROM '{table}' ORDER BY seq").fetchall()
    assert [row[0] for row in rows] == ["open", "grant", "verify", "grant", "key", "revoke"]
    assert rows[1][1:] == (["prompt"], True)
    assert b"Joe" not in table.read_bytes() + b"".join(path.read_bytes() for path in (tmp_path / "ledger").rglob("*.json"))
