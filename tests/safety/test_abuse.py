"""Abuse that no other test here tries: made consent, takedowns while somebody speaks, and tombstones that are taken away."""

from pathlib import Path

import numpy as np
import pytest

from voxbeam.assets import PROMPT
from voxbeam.safety import enrol
from voxbeam.safety.gate import ConsentGate
from voxbeam.safety.keys import KeyRing
from voxbeam.safety.ledger import Ledger
from voxbeam.safety.sounds import sound_hash
from voxbeam.safety.tombstones import read_feeds, read_tombstones, require_no_tombstones
from voxbeam.safety.watermark import mark_sound
from voxbeam.schemas.errors import ConsentError, LedgerError, StorageError
from voxbeam.storage.store import Store
from voxbeam.synthesis.recording import Recording

from tests.pipeline.factories import small_release
from tests.safety.ledgers import grant, new_ledger, put_tombstone


@pytest.fixture(scope="module")
def speech() -> np.ndarray:
    """Three seconds that no grant covers by itself."""
    return Recording.read(PROMPT).wave_S[:-6000]


def test_consent_that_voxbeam_spoke_is_no_consent(tmp_path: Path, speech: np.ndarray) -> None:
    """By the public key, which everybody has, and by a key of one's own."""
    keys = KeyRing(tmp_path / "keys")
    keys.folder.mkdir()
    twice = np.concatenate([speech, speech])
    enrol.require_unmarked(twice, keys)
    marked = mark_sound(twice, 0x1234ABCD, keys.watermark())
    (keys.folder / "watermark.key").write_text("ab" * 32)
    (keys.folder / "watermark.key").chmod(0o600)
    for sound in (marked, mark_sound(twice, 7, keys.watermark())):
        with pytest.raises(ConsentError, match="the recording is made speech"):
            enrol.require_unmarked(sound, keys)


def test_a_takedown_stops_who_is_speaking(tmp_path: Path, speech: np.ndarray) -> None:
    ledger = new_ledger(tmp_path)
    made = grant(ledger, sounds=[sound_hash(speech)])
    gate = ConsentGate(ledger)
    permit = gate.require(speech, "embedded")
    gate.recheck(permit, "embedded")
    enrol.take_down(ledger, made.body["subject"], ["talk-1"])
    for ask in (lambda: gate.recheck(permit, "embedded"), lambda: gate.require(speech, "embedded")):
        with pytest.raises(ConsentError, match="no grant covers this prompt"):
            ask()


def test_a_ledger_that_goes_away_while_somebody_speaks_denies(tmp_path: Path, speech: np.ndarray) -> None:
    ledger = new_ledger(tmp_path)
    grant(ledger, sounds=[sound_hash(speech)])
    permit = ConsentGate(ledger).require(speech, "embedded")
    Path(ledger.store.root).rename(tmp_path / "gone")
    for opened in (ledger, Ledger(ledger.store.root, ledger.keys, ledger.clock)):
        try:
            ConsentGate(opened).recheck(permit, "embedded")
        except ConsentError:
            continue
        pytest.fail("speech went on without a ledger")


def test_a_tombstone_in_the_middle_is_missed(tmp_path: Path) -> None:
    store, _ = small_release(tmp_path / "corpus")
    key = KeyRing(tmp_path / "keys").operator(make=True)
    for name in ("r", "somebody", "somebody-else"):
        put_tombstone(store, {name: None}, "", key)
    (tmp_path / "corpus" / "tombstones" / "000001.json").unlink()
    with pytest.raises(LedgerError, match=r"tombstone 1 of .* is missing"):
        read_feeds(store)


def test_a_feed_without_a_corpus_is_an_error_and_no_permission(tmp_path: Path) -> None:
    store, release = small_release(tmp_path / "corpus")
    with pytest.raises(StorageError, match="there is no corpus at"):
        read_feeds(store, [Store(str(tmp_path / "slip"))])
    require_no_tombstones(store, release, read_feeds(store, [store]))
    assert not read_tombstones(store)
