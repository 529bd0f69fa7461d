"""Speech that leaves the synthesizer carries its mark, and `voxbeam detect` says which event allowed it."""

from pathlib import Path

import numpy as np
import pytest
import soundfile as sf

from voxbeam.assets import PROMPT, PROMPT_TEXT
from voxbeam.commands.exit_status import DONE, WRONG
from voxbeam.commands.main import main
from voxbeam.models.threads import pin_threads
from voxbeam.safety.gate import ConsentGate
from voxbeam.safety.keys import KeyRing, key_folder
from voxbeam.safety.ledger import Ledger
from voxbeam.safety.lookup import describe_event
from voxbeam.safety.made_voices import MADE_VOICES
from voxbeam.safety.sounds import sound_hash
from voxbeam.safety.watermark import mark_sound, read_mark
from voxbeam.schemas.formats import CODEC_RATE
from voxbeam.synthesis.recording import Recording
from voxbeam.synthesis.synthesizer import Synthesizer

from tests.safety.ledgers import files, grant, new_ledger

TEXT = "Good morning, and welcome to this house."


def named(payload: int) -> bool:
    return any(made.digest.startswith(f"{payload:08x}") for made in MADE_VOICES.values())


@pytest.mark.slow
def test_whatever_is_spoken_is_marked(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    pin_threads()
    voice = Synthesizer.load(prompt=PROMPT, prompt_text=PROMPT_TEXT)
    said = voice.say(TEXT)
    for sound in (said, np.concatenate(list(voice.stream(TEXT)))):
        mark = read_mark(sound)
        assert mark is not None and named(mark.payload)
    path = tmp_path / "said.ogg"
    sf.write(path, said, CODEC_RATE)
    assert main(["detect", str(path)]) == DONE
    assert "the made voice af_bella, which ships with voxbeam" in capsys.readouterr().out
    assert main(["detect", str(PROMPT)]) == WRONG
    assert "no watermark was found" in capsys.readouterr().out


def test_a_mark_leads_to_its_event(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (path,) = (Path(PROMPT).parents[1] / "demo" / "kennedy").rglob("*.flac")
    speech = Recording.read(path, 6).wave_S
    ledger = new_ledger(tmp_path)
    made = grant(ledger, sounds=[sound_hash(speech)])
    gate = ConsentGate(ledger)
    sf.write(tmp_path / "said.wav", gate.mark(speech, gate.require(speech, "embedded")), CODEC_RATE)
    assert main(["detect", str(tmp_path / "said.wav"), "--ledger", str(tmp_path / "none")]) == DONE
    assert "there is no ledger here" in capsys.readouterr().out
    assert describe_event(int(made.digest[:8], 16), ledger) == f"event 2 (grant) of 2026-11-26T12:00:00Z: {made.digest[:12]}"
    assert describe_event(1, ledger).startswith("no event of the ledger") and "evaluation" in describe_event(0, ledger)
    files(ledger)[0].write_bytes(b"{}")
    other = Ledger(ledger.store.root, ledger.keys, ledger.clock)
    assert describe_event(1, other).startswith("the event cannot be looked up")


def test_a_key_of_ones_own_marks_what_others_do_not_read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("VOXBEAM_KEYS", str(tmp_path))
    speech = np.random.default_rng(0).normal(0, 0.1, 3 * CODEC_RATE).astype(np.float32)
    path = tmp_path / "watermark.key"
    path.write_text("ab" * 32)
    path.chmod(0o600)
    key = KeyRing(key_folder()).watermark()
    marked = mark_sound(speech, 7, key)
    assert read_mark(marked) is None and read_mark(marked, key).payload == 7
