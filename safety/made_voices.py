"""Voices that nobody has: made sounds that ship with voxbeam and may be prompts, without a ledger and without a network.

This table is part of the program, and trusted as it. It binds each voice to one sound: a cut of it, or another recording of a
person who sounds like it, is not covered.
"""

from __future__ import annotations

import hashlib
from dataclasses import asdict, dataclass

from voxbeam.safety.envelope import canonical_json


@dataclass(frozen=True)
class MadeVoice:
    """One made voice."""

    name: str
    licence: str
    made_by: str
    sound: str
    """SHA-256 of the samples that a prompt of it has (`sounds.sound_hash`)"""

    @property
    def digest(self) -> str:
        """What names it in a permit."""
        return hashlib.sha256(canonical_json(asdict(self))).hexdigest()


MADE_VOICES = {
    voice.sound: voice
    for voice in (
        MadeVoice(
            name="af_bella",
            licence="Apache-2.0",
            made_by="Kokoro-82M",
            sound="9fee7ba528eb558d953494dfe6640f267d87bd7fbc0a36abb6d589be4364a45e",
        ),
    )
}
"""by the hash of the sound"""
