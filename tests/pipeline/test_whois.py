"""Where a voice is: real voices in a release, found by sound; near ones are shown and stay."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import soundfile as sf

from voxbeam.commands.exit_status import DONE, WRONG
from voxbeam.commands.main import main
from voxbeam.models.speech_metrics import embed_speaker
from voxbeam.models.threads import pin_threads
from voxbeam.pipeline.takedown.find import find_person
from voxbeam.pipeline.takedown.voice_search import embed_sound, find_voices
from voxbeam.pipeline.takedown.whois import whois
from voxbeam.safety import enrol
from voxbeam.safety.enrol import Terms
from voxbeam.schemas.errors import ConsentError, NotInCorpusError
from voxbeam.schemas.formats import CODEC_RATE
from voxbeam.schemas.identity import VoiceRow
from voxbeam.schemas.release import Release
from voxbeam.storage.store import Store

from tests.pipeline.factories import small_release
from tests.safety.ledgers import grant_voice, new_ledger
from tests.safety.test_gate import speech_of


@pytest.fixture(scope="module")
def kennedy() -> np.ndarray:
    """Five seconds [S] that are in no corpus."""
    pin_threads()
    return speech_of("kennedy", 0, 5.2)


@pytest.fixture(scope="module")
def corpus(tmp_path_factory: pytest.TempPathFactory, kennedy: np.ndarray) -> tuple[Store, Release]:
    """Release 1, in which r is spoken by Kennedy, from other seconds, and q by a reader."""
    voices = {"r": embed_speaker(speech_of("kennedy", 5.4, 5.5)), "q": embed_speaker(speech_of("austen_reader", 2, 8))}

    def with_voices(rows: list[VoiceRow]) -> list[VoiceRow]:
        return [replace(row, embedding=voices[row.recording].astype(np.float16).tobytes(), speech_ms=6000) for row in rows]

    return small_release(tmp_path_factory.mktemp("voices") / "corpus", tables={"voices": with_voices})


def test_a_voice_is_found_by_its_sound(corpus: tuple[Store, Release], kennedy: np.ndarray) -> None:
    found = find_voices(*corpus, embed_sound(kennedy))
    assert [one.voice for one in found.matches] == ["r_v1"] and found.matches[0].similarity >= found.threshold
    assert found.identities[0][0] == "speaker_r" and found.identities[0][1] > found.identities[1][1]
    person = find_person(*corpus, sounds=[kennedy])
    assert list(person.hashes) == ["r"] and "r_v1 has this voice" in person.recordings[0].why[0]
    with pytest.raises(NotInCorpusError, match="no voice of release 000001"):
        find_person(*corpus, sounds=[speech_of("sonnets_reader", 2, 8)])
    with pytest.raises(ConsentError, match="too short to find a voice by"):
        embed_sound(kennedy[: 4 * CODEC_RATE])


def test_a_near_voice_is_shown_and_never_taken(tmp_path: Path, kennedy: np.ndarray) -> None:
    """A second voice that lies between the sound and somebody else."""
    near = embed_speaker(kennedy)
    other = embed_speaker(speech_of("austen_reader", 2, 8))

    def mixed(share: float) -> bytes:
        value = (1 - share) * near + share * other
        return (value / np.linalg.norm(value)).astype(np.float16).tobytes()

    def with_voices(share: float) -> Release:
        rows = {"r": mixed(0.0), "q": mixed(share)}
        tables = {"voices": lambda some: [replace(row, embedding=rows[row.recording]) for row in some]}
        return small_release(tmp_path / f"{share:.2f}", tables=tables)[1]

    seen = []
    for share in (0.3, 0.75, 0.9):
        release = with_voices(share)
        person = find_person(Store(str(tmp_path / f"{share:.2f}")), release, sounds=[kennedy])
        assert "r" in person.hashes and not {one.recording for one in person.near} & person.hashes.keys()
        seen.append("taken" if "q" in person.hashes else "near" if person.near else "other")
    assert seen == ["taken", "near", "other"]


def test_a_person_under_another_name_is_shown_as_left(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Nobody gives a sound: the voices of the release itself tell. Somebody else is not shown."""
    rows = {"r": embed_speaker(speech_of("kennedy", 0, 5.2)), "q": embed_speaker(speech_of("kennedy", 5.4, 5.5))}

    def with_voices(some: list[VoiceRow]) -> list[VoiceRow]:
        return [replace(row, embedding=rows[row.recording].astype(np.float16).tobytes()) for row in some]

    store, release = small_release(tmp_path / "corpus", tables={"voices": with_voices})
    for who in ({"speakers": ["speaker_r"]}, {"recordings": ["r"]}):
        (near,) = find_person(store, release, **who).near
        assert near.voice == "q_v1" and near.similarity > 0.49 and near.probability > 0.5
    rows["q"] = embed_speaker(speech_of("austen_reader", 2, 8))
    assert not find_person(*small_release(tmp_path / "other", tables={"voices": with_voices}), speakers=["speaker_r"]).near
    words = ["takedown", "--corpus", store.root, "--speaker", "speaker_r", "--out", str(tmp_path / "statement.json")]
    assert main(words) == DONE
    assert f"Near voices left in release 000002: q_v1 ({near.similarity:.2f})" in " ".join(capsys.readouterr().out.split())


def test_whois(
    tmp_path: Path,
    corpus: tuple[Store, Release],
    kennedy: np.ndarray,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    store, _ = corpus
    monkeypatch.setenv("VOXBEAM_KEYS", str(tmp_path / "keys"))
    monkeypatch.setenv("VOXBEAM_LEDGER", str(tmp_path / "ledger"))
    ledger = new_ledger(tmp_path)
    made = grant_voice(ledger, speech_of("kennedy", 5.4, 5.5), Terms(scopes=("prompt", "train")), name="John")
    grant_voice(ledger, speech_of("austen_reader", 2, 8), name="Jane")
    found = whois(store, kennedy, ledger)
    (place,) = found.places
    assert place.recording == "r" and place.samples == {1: [f"r_{start:08d}_{start + 2000:08d}" for start in (0, 3000, 7000)]}
    assert place.ms == 6000 and [path.split("/")[1] for path in place.shards[1]] == ["train"]
    assert place.basis.startswith("missing") and [(g.digest, why) for g, _, why in found.grants] == [(made.digest, "")]
    enrol.revoke(ledger, made.digest)
    assert "revoked" in whois(store, kennedy, ledger).grants[0][2]
    other = speech_of("sonnets_reader", 2, 8)
    for speech, status, told in ((kennedy, DONE, "1 recordings have this voice"), (other, WRONG, "0 recordings have this")):
        sf.write(tmp_path / "me.wav", speech, CODEC_RATE)
        assert main(["whois", str(tmp_path / "me.wav"), "--corpus", store.root]) == status
        printed = capsys.readouterr().out
        assert told in printed and "Identity speaker_" in printed
