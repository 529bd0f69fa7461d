"""The gate before a prompt: real voices, real ledgers; whatever is not covered, or cannot be checked, is refused."""

from datetime import timedelta
from pathlib import Path

import numpy as np
import pytest
import soundfile as sf
import soxr

from voxbeam.assets import PROMPT
from voxbeam.commands.exit_status import UNUSABLE
from voxbeam.commands.main import main
from voxbeam.models.threads import pin_threads
from voxbeam.safety import enrol
from voxbeam.safety.enrol import Terms
from voxbeam.safety.gate import ConsentGate
from voxbeam.safety.keys import KeyRing
from voxbeam.safety.ledger import Ledger
from voxbeam.safety.sounds import MIN_SIMILARITY, Voiceprint, enrolled_voice, sound_hash
from voxbeam.schemas.errors import ConsentError
from voxbeam.schemas.formats import CODEC_RATE
from voxbeam.synthesis.recording import Recording
from voxbeam.synthesis.synthesizer import Synthesizer

from tests.safety.ledgers import BEGIN, SetClock, allow_prompts, files, grant, grant_voice, new_ledger

DEMO = Path(__file__).resolve().parents[2] / "assets" / "demo"


def speech_of(name: str, start: float, seconds: float) -> np.ndarray:
    (path,) = (DEMO / name).rglob("*.flac") if name != "sonnets_reader" else [next((DEMO / name).rglob("*001.flac"))]
    wave_S = Recording.read(path).wave_S
    return wave_S[round(start * CODEC_RATE) : round((start + seconds) * CODEC_RATE)]


@pytest.fixture(scope="module", autouse=True)
def one_thread() -> None:
    pin_threads()


@pytest.fixture(scope="module")
def kennedy() -> np.ndarray:
    """Seven seconds that enrol a voice."""
    return speech_of("kennedy", 0, 7.5)


@pytest.fixture(scope="module")
def prompt() -> np.ndarray:
    """Three other seconds of the same person."""
    return speech_of("kennedy", 7.8, 3)


def test_a_voice_that_ships_needs_no_ledger(tmp_path: Path) -> None:
    gate = ConsentGate(Ledger(str(tmp_path / "none"), KeyRing(tmp_path / "keys")))
    wave_S = Recording.read(PROMPT).wave_S
    permit = gate.require(wave_S, "embedded")
    assert "made voice af_bella" in permit.basis and not list(tmp_path.iterdir())
    gate.recheck(permit, "embedded")
    with pytest.raises(ConsentError, match="there is no consent ledger"):
        gate.require(wave_S[1:], "embedded")


def test_a_sound_that_a_grant_names_is_let_through(tmp_path: Path, prompt: np.ndarray) -> None:
    ledger = new_ledger(tmp_path)
    made = grant(ledger, sounds=[sound_hash(prompt)])
    permit = ConsentGate(ledger).require(prompt, "embedded")
    assert permit.event == made.digest and permit.mark == int(made.digest[:8], 16)
    with pytest.raises(ConsentError, match="nobody in the ledger is known"):
        ConsentGate(ledger).require(prompt[1:], "embedded")


def test_a_voice_that_a_grant_enrolled_is_let_through_and_others_are_not(
    tmp_path: Path, kennedy: np.ndarray, prompt: np.ndarray
) -> None:
    ledger = new_ledger(tmp_path)
    made = grant_voice(ledger, kennedy)
    gate = ConsentGate(ledger)
    assert gate.require(prompt, "embedded").event == made.digest
    for other in ("austen_reader", "sonnets_reader", "michael"):
        with pytest.raises(ConsentError, match="nobody in the ledger is known to have this voice"):
            gate.require(speech_of(other, 2, 3), "embedded")


def test_the_right_words_in_the_wrong_voice_and_the_right_voice_under_another_name(
    tmp_path: Path, kennedy: np.ndarray, prompt: np.ndarray
) -> None:
    """A grant of somebody else does not cover a voice, whatever it says; nor does one that was revoked."""
    ledger = new_ledger(tmp_path)
    grant_voice(ledger, speech_of("austen_reader", 0, 12), name="John Kennedy")
    with pytest.raises(ConsentError, match="known to have this voice"):
        ConsentGate(ledger).require(prompt, "embedded")
    made = grant_voice(ledger, kennedy, name="John Kennedy")
    enrol.revoke(ledger, made.digest)
    with pytest.raises(ConsentError, match="revoked"):
        ConsentGate(ledger).require(prompt, "embedded")


def test_two_people_in_a_clip_are_not_one(tmp_path: Path, kennedy: np.ndarray, prompt: np.ndarray) -> None:
    ledger = new_ledger(tmp_path)
    grant_voice(ledger, kennedy)
    half = len(prompt) // 2
    for clip in (
        np.concatenate([prompt[:half], speech_of("austen_reader", 2, 1.5)]),
        np.concatenate([prompt, speech_of("austen_reader", 2, 3)]),
    ):
        with pytest.raises(ConsentError, match="known to have this voice"):
            ConsentGate(ledger).require(clip, "embedded")


def test_a_prompt_cut_from_a_corpus_without_a_grant_is_refused(tmp_path: Path, prompt: np.ndarray) -> None:
    """The corpus's licence is in the ledger, names this very recording, and allows training: not a prompt."""
    ledger = new_ledger(tmp_path)
    body = {
        "work": "Inaugural address", "licence": "LicenseRef-Public-Domain", "scopes": ["redistribute", "train"],
        "recordings": ["ask_not"], "sounds": [sound_hash(prompt)], "made_by": None,
    }  # fmt: skip
    ledger.append("licence", body, [ledger.keys.operator()])
    with pytest.raises(ConsentError, match="no grant covers this prompt"):
        ConsentGate(ledger).require(prompt, "embedded")


@pytest.mark.parametrize(
    ("terms", "purpose", "model", "why"),
    [
        (Terms(scopes=("train", "finetune")), "personal", "embedded", "does not allow prompt"),
        (Terms(purposes=("a game",)), "personal", "embedded", "it is for a game, not for personal"),
        (Terms(purposes=("commercial",)), "commercial", "embedded", "does not allow commercial"),
        (Terms(models=("embedded",)), "personal", "/runs/other", "not for /runs/other"),
    ],
)
def test_a_use_that_the_grant_does_not_cover(
    tmp_path: Path, kennedy: np.ndarray, prompt: np.ndarray, terms: Terms, purpose: str, model: str, why: str
) -> None:
    ledger = new_ledger(tmp_path)
    grant_voice(ledger, kennedy, terms)
    with pytest.raises(ConsentError, match=why):
        ConsentGate(ledger, purpose).require(prompt, model)


def test_expired_by_a_second(tmp_path: Path, prompt: np.ndarray) -> None:
    ledger = new_ledger(tmp_path, clock := SetClock())
    grant(ledger, sounds=[sound_hash(prompt)])
    gate = ConsentGate(ledger)
    clock.now = BEGIN + enrol.TERM - timedelta(seconds=1)
    permit = gate.require(prompt, "embedded")
    clock.pass_by(seconds=1)
    with pytest.raises(ConsentError, match="it expired at 2027-11-26T12:00:00Z"):
        gate.require(prompt, "embedded")
    with pytest.raises(ConsentError, match="it expired at 2027-11-26T12:00:00Z"):
        gate.recheck(permit, "embedded")


def test_a_shredded_voice_opens_nothing(tmp_path: Path, kennedy: np.ndarray, prompt: np.ndarray) -> None:
    ledger = new_ledger(tmp_path)
    made = grant_voice(ledger, kennedy)
    ConsentGate(ledger).require(prompt, "embedded")
    (Path(ledger.store.root) / "vault" / made.body["subject"]).unlink()
    with pytest.raises(ConsentError, match="known to have this voice"):
        ConsentGate(ledger).require(prompt, "embedded")


def test_keys_that_are_missing_are_a_refusal(tmp_path: Path, kennedy: np.ndarray, prompt: np.ndarray) -> None:
    ledger = new_ledger(tmp_path)
    grant_voice(ledger, kennedy)
    (ledger.keys.folder / "vault.key").unlink()
    with pytest.raises(ConsentError, match="there is no usable key"):
        ConsentGate(ledger).require(prompt, "embedded")


def test_revoked_while_speaking(tmp_path: Path) -> None:
    """A stream stops before its next chunk, a text before its next sentence."""
    prompt = Recording.read(PROMPT).wave_S[: -CODEC_RATE // 4]  # no voice that ships: another sound
    made = allow_prompts([prompt])
    voice = Synthesizer.load(prompt=PROMPT, prompt_text="The commission has concluded that both of these", prompt_seconds=2.735)
    assert np.array_equal(voice.prompt.wave_S, prompt)
    chunks = voice.stream("Good morning to you all, and welcome to this house.", chunk_frames=20)
    assert len(next(chunks))
    enrol.revoke(Ledger(), made.digest)
    with pytest.raises(ConsentError, match="it was revoked"):
        next(chunks)
    with pytest.raises(ConsentError, match="it was revoked"):
        voice.say("Good morning.")


def test_the_command_refuses_before_it_loads_a_model(
    tmp_path: Path, prompt: np.ndarray, capsys: pytest.CaptureFixture[str]
) -> None:
    sf.write(tmp_path / "p.wav", prompt, CODEC_RATE)
    new_ledger(tmp_path)
    words = ["--prompt", str(tmp_path / "p.wav"), "--text", "Hi.", "--out", str(tmp_path / "hi.wav")]
    assert main(["generate", "no-such-run", *words, "--ledger", str(tmp_path / "ledger")]) == UNUSABLE
    printed = capsys.readouterr().err
    assert "no grant covers this prompt" in printed and "voxbeam consent own-voice" in printed
    assert main(["generate", "no-such-run", *words, "--ledger", str(tmp_path / "absent")]) == UNUSABLE
    assert "there is no consent ledger" in capsys.readouterr().err
    assert not (tmp_path / "hi.wav").exists()


def test_a_damaged_ledger_refuses_every_prompt_but_those_that_ship(tmp_path: Path, prompt: np.ndarray) -> None:
    ledger = new_ledger(tmp_path)
    grant(ledger, sounds=[sound_hash(prompt)])
    files(ledger)[0].write_bytes(b"{}")
    gate = ConsentGate(Ledger(ledger.store.root, ledger.keys, ledger.clock))
    with pytest.raises(ConsentError, match="no signed statement"):
        gate.require(prompt, "embedded")
    gate.require(Recording.read(PROMPT).wave_S, "embedded")


def test_enrolment_needs_enough_speech_and_a_voice_is_near_itself(kennedy: np.ndarray, prompt: np.ndarray) -> None:
    with pytest.raises(ConsentError, match="too short"):
        enrolled_voice(kennedy[: 4 * CODEC_RATE])
    assert Voiceprint(prompt).similarity(enrolled_voice(kennedy)) > MIN_SIMILARITY
    noise = np.random.default_rng(0).normal(0, 0.1, 3 * CODEC_RATE).astype(np.float32)
    assert not Voiceprint(soxr.resample(noise, CODEC_RATE, CODEC_RATE)).is_voice(enrolled_voice(kennedy))


def test_sounds_that_are_no_speech_are_nobodys_voice(kennedy: np.ndarray) -> None:
    voice_E, rng, n = enrolled_voice(kennedy), np.random.default_rng(0), 3 * CODEC_RATE
    times = np.arange(n) / CODEC_RATE
    sounds = {
        "silence": np.zeros(n), "noise": rng.normal(0, 0.1, n), "faint noise": rng.normal(0, 1e-4, n), "dc": np.full(n, 0.5),
        "tone": 0.3 * np.sin(2 * np.pi * 220 * times), "buzz": 0.2 * np.sign(np.sin(2 * np.pi * 120 * times)),
        "impulse": np.eye(1, n, n // 2)[0], "nan": np.full(n, np.nan), "inf": np.full(n, np.inf), "nothing": np.zeros(1),
    }  # fmt: skip
    admitted = [name for name, sound in sounds.items() if Voiceprint(sound.astype(np.float32)).is_voice(voice_E)]
    assert admitted == []


def test_a_voice_played_backward_is_refused_and_told(tmp_path: Path, kennedy: np.ndarray, prompt: np.ndarray) -> None:
    """To the encoder it is the same voice; what is said is heard by nobody."""
    ledger = new_ledger(tmp_path)
    grant_voice(ledger, kennedy)
    backward = prompt[::-1].copy()
    assert Voiceprint(backward).is_voice(enrolled_voice(kennedy)), "it would pass"
    with pytest.raises(ConsentError, match="sounds like speech played backward"):
        ConsentGate(ledger).require(backward, "embedded")


def test_narrowed_while_speaking(tmp_path: Path, prompt: np.ndarray) -> None:
    """By another process, as it is while a server runs: the next sentence is refused, in whatever way the grant is less."""
    for change in ({"scopes": ["train"]}, {"purposes": ["research"]}):
        folder = tmp_path / next(iter(change))
        folder.mkdir()
        ledger = new_ledger(folder)
        terms = Terms(scopes=("prompt", "train"), purposes=("personal", "research"))
        made = grant(ledger, terms, sounds=[sound_hash(prompt)])
        gate = ConsentGate(Ledger(ledger.store.root, ledger.keys, ledger.clock))
        permit = gate.require(prompt, "embedded")
        gate.recheck(permit, "embedded")
        enrol.narrow(ledger, made.digest, **change)
        with pytest.raises(ConsentError, match="no grant covers this prompt"):
            gate.recheck(permit, "embedded")
