"""The gate before a prompt: whoever wants to speak in a voice is let through by a grant that covers it, or not at all.

A prompt is covered by a made voice that ships with voxbeam, by a made voice that a ledger names, by a grant that names its sound,
or by one whose enrolled voice it is. Every error on the way is a refusal. There is no way around the gate but another program.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import datetime

import numpy as np
from numpy.typing import NDArray

from voxbeam.safety.keys import KeyRing, key_folder
from voxbeam.safety.ledger import Ledger
from voxbeam.safety.made_voices import MADE_VOICES
from voxbeam.safety.sounds import Voiceprint, sound_hash, voice_from_text
from voxbeam.safety.state import Grant, State, Use, active_grants, refusal
from voxbeam.safety.vault import unseal
from voxbeam.safety.watermark import Mark, Marker, mark_sound, read_mark
from voxbeam.schemas.errors import ConsentError
from voxbeam.schemas.formats import CODEC_RATE
from voxbeam.storage.address import resolve_address

PERSONAL = "personal"
"""the purpose if none is named: for oneself, and published nowhere"""
MAX_PROMPT_S = 60.0
"""longer sounds are no prompts, and take long to compare"""
_MADE = "made voice"


@dataclass(frozen=True)
class Permit:
    """Why a prompt may be used."""

    event: str
    """SHA-256 of the event that allows it, in hex; of the entry of a voice that ships, which is in no ledger"""
    basis: str
    """in words"""

    @property
    def mark(self) -> int:
        """What names the event in the watermark: its first 32 bits."""
        return int(self.event[:8], 16)


def model_name(run_uri: str) -> str:
    """A model as grants name it: `embedded`, or the absolute address of a run."""
    return run_uri if run_uri == "embedded" else resolve_address(run_uri)


@dataclass
class ConsentGate:
    """The gate with a ledger and the purpose of this use.

    Args:
        ledger: the ledger to ask; None: that of this machine (`$VOXBEAM_LEDGER`). It is not opened for voices that ship.
        purpose: what the speech is for, as grants name it.
    """

    ledger: Ledger | None = None
    purpose: str = PERSONAL
    _voices: dict[str, NDArray[np.float32] | None] = field(default_factory=dict, repr=False)

    def require(self, wave_S: NDArray[np.float32], model: str, *, within: NDArray[np.float32] | None = None) -> Permit:
        """Why a sound [S] at 24 kHz may be the prompt of a model now; `within` is the recording that it is a part of, if any.

        Raises ConsentError if it may not, or if that is not known.
        """
        use = Use("prompt", self.purpose, model_name(model))
        names = {sound_hash(sound_S) for sound_S in (wave_S, within) if sound_S is not None}
        if made := [MADE_VOICES[name] for name in names if name in MADE_VOICES]:
            return Permit(made[0].digest, f"{_MADE} {made[0].name} ({made[0].licence}), which ships with voxbeam")
        try:
            return self._from_ledger(wave_S, names, use)
        except ConsentError:
            raise
        except Exception as error:
            raise ConsentError(
                f"consent for the prompt could not be checked ({type(error).__name__}: {error})",
                remedy="nothing is spoken in a voice whose consent cannot be checked",
            ) from error

    def recheck(self, permit: Permit, model: str) -> None:
        """Raises ConsentError once a permit holds no longer: while speech is made, its grant can end or be revoked."""
        if any(made.digest == permit.event for made in MADE_VOICES.values()):
            return
        ledger = self._opened()
        state, now = ledger.state_and_time()
        if permit.event in state.licences:
            return
        grant = state.grants.get(permit.event)
        if grant is None:
            raise _refused([f"grant {permit.event[:12]} is not in the ledger"])
        if why := refusal(state, grant, Use("prompt", self.purpose, model_name(model)), now):
            raise _refused([f"grant {permit.event[:12]}: {why}"])

    def marker(self, permit: Permit) -> Marker:
        """What marks speech that a permit allows, chunk by chunk."""
        return Marker(permit.mark, self._mark_key())

    def mark(self, wave_S: NDArray[np.float32], permit: Permit) -> NDArray[np.float32]:
        """Speech [S] that a permit allows, with a mark that names the permit's event."""
        return mark_sound(wave_S, permit.mark, self._mark_key())

    def read_mark(self, wave_S: NDArray[np.float32]) -> Mark | None:
        """The mark that a sound [S] has by the key of this machine."""
        return read_mark(wave_S, self._mark_key())

    def _mark_key(self) -> bytes:
        return (self.ledger.keys if self.ledger else KeyRing(key_folder())).watermark()

    def _opened(self) -> Ledger:
        if self.ledger is None:
            self.ledger = Ledger()
        return self.ledger

    def _from_ledger(self, wave_S: NDArray[np.float32], names: set[str], use: Use) -> Permit:
        ledger = self._opened()
        state, now = ledger.state_and_time()
        for licence in state.licences.values():
            if "prompt" in licence.scopes and names & licence.sounds and licence.made_by:
                return Permit(licence.digest, f"{_MADE} {licence.work} ({licence.licence}), by {licence.made_by}")
        named = [grant for grant in state.grants.values() if names & grant.sounds]
        for grant in named:
            if not refusal(state, grant, use, now):
                return Permit(grant.digest, "a grant that names this sound")
        if len(wave_S) > MAX_PROMPT_S * CODEC_RATE:
            raise ConsentError(f"the prompt is longer than {MAX_PROMPT_S:g} s", remedy="use a part of it (--prompt-seconds)")
        return self._by_voice(wave_S, state, use, now, named)

    def _by_voice(self, wave_S: NDArray[np.float32], state: State, use: Use, now: datetime, named: list[Grant]) -> Permit:
        """The grant whose enrolled voice is nearest, among those that cover the use."""
        print_ = Voiceprint(wave_S)
        voices = [(grant, self._voice(grant)) for grant in state.grants.values()]
        heard = [(grant, voice_E) for grant, voice_E in voices if voice_E is not None and print_.is_voice(voice_E)]
        mine = [(print_.similarity(voice_E), grant) for grant, voice_E in heard if not print_.is_backward(voice_E)]
        if heard and not mine:
            raise ConsentError("the prompt sounds like speech played backward", remedy="give the recording as it was spoken")
        active = {grant.digest for grant in active_grants(state, use, now)}
        covering = [pair for pair in mine if pair[1].digest in active]
        if covering:
            similarity, grant = max(covering, key=lambda pair: (pair[0], pair[1].digest))
            return Permit(grant.digest, f"a grant of this voice (similarity {similarity:.2f})")
        found = {grant.digest: grant for grant in (*named, *(grant for _, grant in mine))}
        raise _refused([f"grant {digest[:12]}: {refusal(state, grant, use, now)}" for digest, grant in found.items()])

    def _voice(self, grant: Grant) -> NDArray[np.float32] | None:
        """The enrolled voice of a grant; None if it has none, or once it is shredded."""
        if grant.digest not in self._voices:
            self._voices[grant.digest] = enrolled_voice_of(self._opened(), grant)
        return self._voices[grant.digest]


def enrolled_voice_of(ledger: Ledger, grant: Grant) -> NDArray[np.float32] | None:
    """The enrolled voice [E] of a grant; None if it has none, or once it is shredded."""
    personal = unseal(ledger.store, ledger.keys, grant.subject, grant.sealed) if grant.sealed is not None else None
    voice = personal.get("voice") if personal else None
    return voice_from_text(voice) if isinstance(voice, str) else None


def _refused(reasons: list[str]) -> ConsentError:
    if not reasons:
        return ConsentError(
            "no grant covers this prompt: nobody in the ledger is known to have this voice",
            remedy="if it is yours: `voxbeam consent own-voice --name NAME --recording say.wav`; if it is not, ask its owner",
        )
    return ConsentError(
        "no grant covers this prompt: " + "; ".join(reasons), remedy="ask its owner for a grant that covers this use"
    )
