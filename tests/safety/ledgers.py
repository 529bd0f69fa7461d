"""Ledgers for tests: real keys and events, and a clock that tests set."""

from __future__ import annotations

import shutil
from collections.abc import Iterable, Mapping, Sequence
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import numpy as np
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from voxbeam.safety.enrol import Terms, put_grant, vouch
from voxbeam.safety.events import Event
from voxbeam.safety.keys import KeyRing
from voxbeam.safety.ledger import Ledger
from voxbeam.safety.sounds import enrolled_voice, sound_hash, voice_to_text
from voxbeam.safety.state import Use, refusal
from voxbeam.safety.tombstones import put_tombstones
from voxbeam.storage.store import Store

BEGIN = datetime(2026, 11, 26, 12, tzinfo=UTC)
PROMPT = Terms(scopes=("prompt",), purposes=("personal",))
USE = Use("prompt", "personal", "embedded")


class SetClock:
    """A clock that stands still until it is set."""

    def __init__(self) -> None:
        self.now = BEGIN

    def __call__(self) -> datetime:
        return self.now

    def pass_by(self, **span: float) -> None:
        self.now += timedelta(**span)


def new_ledger(folder: Path, clock: SetClock | None = None) -> Ledger:
    ledger = Ledger(str(folder / "ledger"), KeyRing(folder / "keys"), clock or SetClock())
    ledger.create("Test house")
    return ledger


def grant(ledger: Ledger, terms: Terms = PROMPT, *, name: str = "Ann Lee", **options: object) -> Event:
    """A grant that is verified, as a person in the room would be."""
    made = put_grant(ledger, name, terms, **options)
    vouch(ledger, made, "in-person")
    return made


def grant_voice(ledger: Ledger, speech_S: np.ndarray, terms: Terms = PROMPT, *, name: str = "Ann Lee") -> Event:
    """A grant bound to a voice, of which `speech_S` [S] at 24 kHz is a sample."""
    return grant(ledger, terms, name=name, personal={"name": name, "voice": voice_to_text(enrolled_voice(speech_S))})


def allow_prompts(waves: Iterable[np.ndarray], terms: Terms = PROMPT) -> Event:
    """A grant in the ledger of this test run for the prompts [S] at 24 kHz: the speaker's signature is made here."""
    ledger = Ledger()
    if not ledger.exists():
        ledger.create("Test house")
    return grant(ledger, terms, sounds=[sound_hash(wave) for wave in waves])


def files(ledger: Ledger) -> Sequence[Path]:
    """The files of a ledger's events, in order."""
    return sorted((Path(ledger.store.root) / "events").iterdir())


def put_tombstone(store: Store, recordings: Mapping[str, str | None], event: str, key: Ed25519PrivateKey, **options: Any) -> str:
    """The path of the one tombstone of a few recordings."""
    (path,) = put_tombstones(store, recordings, event, key, **options)
    return path


def why(ledger: Ledger, digest: str, use: Use = USE) -> str:
    """Why a grant covers no use now; "" if it does."""
    state = ledger.state()
    return refusal(state, state.grants[digest], use, ledger.clock())


def as_another_machine(ledger: Ledger, folder: Path) -> Ledger:
    """The same ledger and keys, on a machine that has seen nothing yet."""
    keys = folder / "other-keys"
    shutil.copytree(ledger.keys.folder, keys, ignore=shutil.ignore_patterns("seen"))
    return Ledger(ledger.store.root, KeyRing(keys), ledger.clock)
