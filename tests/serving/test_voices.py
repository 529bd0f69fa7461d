"""The voices of a server: a folder of them, and prompts that clients send."""

import io
import json
from pathlib import Path
from urllib.parse import quote, unquote

import numpy as np
import pytest
import soundfile as sf

from voxbeam.assets import PROMPT, PROMPT_TEXT
from voxbeam.safety.enrol import revoke
from voxbeam.safety.ledger import Ledger
from voxbeam.schemas.errors import SynthesisError
from voxbeam.schemas.formats import CODEC_RATE
from voxbeam.serving.speech_server import SpeechServer
from voxbeam.serving.voices import MAX_SENT, Voices, read_folder
from voxbeam.synthesis.prompt import Prompt

from tests.safety.ledgers import allow_prompts
from tests.serving.asking import READER, SPEECH, VOICES, ask, error, speech


@pytest.mark.parametrize("value", [np.nan, np.inf])
def test_a_prompt_of_no_numbers_is_refused(server: SpeechServer, value: float) -> None:
    file = io.BytesIO()
    sf.write(file, np.full(CODEC_RATE, value, np.float32), CODEC_RATE, format="WAV", subtype="FLOAT")
    status, _, content = ask(server, "POST", VOICES, file.getvalue(), Content_Type="audio/wav")
    assert status == 400 and "NaN or infinite" in error(content)["message"]


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


@pytest.mark.slow
def test_a_prompt_that_costs_words_is_told(server: SpeechServer) -> None:
    """With the voice, in the list, and with every sound in it."""
    wave_S = np.clip(20 * Prompt.read(PROMPT).wave_S, -1, 1)
    allow_prompts([wave_S])
    file = io.BytesIO()
    sf.write(file, wave_S, CODEC_RATE, format="WAV", subtype="FLOAT")
    status, _, made = ask(server, "POST", f"{VOICES}?prompt_text={quote(PROMPT_TEXT)}", file.getvalue(), Content_Type="audio/wav")
    voice = json.loads(made)
    assert status == 201 and "of the prompt is clipped" in voice["warnings"][0]
    status, headers, _ = ask(server, "POST", SPEECH, speech(voice=voice["id"], partial=True))
    assert status == 200 and voice["warnings"][0] in unquote(headers["Voxbeam-Problems"])
    listed = {each["id"]: each["warnings"] for each in json.loads(ask(server, "GET", VOICES)[2])["data"]}
    assert listed["af_bella"] == []


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
