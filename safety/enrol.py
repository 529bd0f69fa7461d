"""Grants: enrolling the person at the machine by a spoken statement, and grants, changes and licences by whoever has the keys.

Shapes: S samples at 24 kHz.
"""

from __future__ import annotations

import secrets
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import timedelta

import numpy as np
from numpy.typing import NDArray

from voxbeam.models.speech_metrics import WhisperTranscriber, normalize_words
from voxbeam.models.spoken_form import spoken_form
from voxbeam.safety.basis import is_open
from voxbeam.safety.challenge import Challenge, heard_problem
from voxbeam.safety.codec_trace import require_no_codec
from voxbeam.safety.events import ANY_MODEL, Event, from_time
from voxbeam.safety.keys import PUBLIC_KEY, KeyRing, public_hex
from voxbeam.safety.ledger import Ledger
from voxbeam.safety.sounds import enrolled_voice, sound_hash, voice_to_text
from voxbeam.safety.vault import seal, shred
from voxbeam.safety.watermark import read_mark
from voxbeam.schemas.errors import ConsentError

TERM = timedelta(days=365)
"""how long a grant lasts if nothing else is said"""
_TAKEN_DOWN_AT_ONCE = 10_000
"""recordings that an event names; an envelope has no more than a MiB"""


@dataclass(frozen=True, kw_only=True)
class Terms:
    """What a person allows."""

    scopes: Sequence[str] = ("prompt",)
    purposes: Sequence[str] = ("personal",)
    models: Sequence[str] = (ANY_MODEL,)
    term: timedelta = TERM


def enrol_own_voice(
    ledger: Ledger, challenge: Challenge, recording_S: NDArray[np.float32], terms: Terms, transcriber: WhisperTranscriber
) -> Event:
    """The grant of the person who said the statement just now; speech in this voice is allowed from now on.

    Raises ConsentError, granting nothing, for a recording that came too late, was used before or says something else.
    """
    if challenge.late(ledger.clock()):
        raise ConsentError("the statement was not said within 120 s", remedy="run the command again: it shows a new one")
    if tuple(terms.purposes) != challenge.purposes:
        raise ConsentError(
            "the purposes are not those of the statement", remedy="run the command again: it shows a new statement"
        )
    evidence = sound_hash(recording_S)
    if ledger.exists() and {challenge.identifier, evidence} & ledger.state().used:
        raise ConsentError("this recording of a statement was used before", remedy="say the statement that is shown now")
    require_unmarked(recording_S, ledger.keys)
    require_no_codec(recording_S)
    heard = normalize_words(spoken_form(transcriber.transcribe(recording_S, beam_size=5)).text)
    if problem := heard_problem(challenge, heard):
        raise ConsentError(
            f"the recording is not the statement: {problem}", remedy=f"say it again, clearly; heard was: {' '.join(heard)[:300]}"
        )
    voice_E = enrolled_voice(recording_S)
    if not ledger.exists():
        ledger.create(challenge.organisation)
    personal = {"name": challenge.name, "statement": challenge.statement, "voice": voice_to_text(voice_E)}
    grant = put_grant(ledger, challenge.name, terms, personal=personal)
    body = {"grant": grant.digest, "method": "own-voice", "challenge": challenge.identifier, "evidence": evidence}
    ledger.append("verify", body, [ledger.keys.operator()])
    return grant


def require_unmarked(recording_S: NDArray[np.float32], keys: KeyRing) -> None:
    """Raises ConsentError for a recording with the watermark of speech that voxbeam made, here or elsewhere."""
    for key in dict.fromkeys((keys.watermark(), PUBLIC_KEY)):
        if (mark := read_mark(recording_S, key)) is not None:
            raise ConsentError(
                f"the recording is made speech: it carries the watermark {mark.payload:08x}",
                remedy="the person must say the statement; `voxbeam detect` shows what allowed the speech",
            )


def put_grant(
    ledger: Ledger, name: str, terms: Terms, *, personal: dict[str, str] | None = None, sounds: Sequence[str] = ()
) -> Event:
    """A grant of a person whose key is on this machine, and is made if it is not; for prompts it must still be verified."""
    subject = ledger.keys.pseudonym(name, make=True)
    speaker, now = ledger.keys.subject(subject, make=True), ledger.clock()
    body = {
        "subject": subject,
        "subject_key": public_hex(speaker),
        "scopes": sorted(set(terms.scopes)),
        "purposes": sorted(set(terms.purposes)),
        "models": sorted(set(terms.models)),
        "not_before": from_time(now),
        "expires": from_time(now + terms.term),
        "sounds": sorted(set(sounds)),
        "sealed": seal(ledger.store, ledger.keys, subject, personal) if personal is not None else None,
    }
    return ledger.append("grant", body, [ledger.keys.operator(), speaker])


def vouch(ledger: Ledger, grant: Event, method: str = "operator") -> Event:
    """The operator's word that the person behind a grant agreed, without a spoken statement."""
    body = {"grant": grant.digest, "method": method, "challenge": secrets.token_hex(16), "evidence": secrets.token_hex(32)}
    return ledger.append("verify", body, [ledger.keys.operator()])


def put_licence(ledger: Ledger, work: str, licence: str, recordings: Sequence[str]) -> Event:
    """That an open licence allows to train on recordings and to pass them on. Raises ConsentError for another licence."""
    if not is_open(licence):
        raise ConsentError(
            f"{licence!r} is not known as an open licence", remedy="ask the speakers for grants, or name an SPDX one"
        )
    scopes = ["redistribute", "train"]
    body = {
        "work": work,
        "licence": licence,
        "scopes": scopes,
        "recordings": sorted(set(recordings)),
        "sounds": [],
        "made_by": None,
    }
    return ledger.append("licence", body, [ledger.keys.operator()])


def narrow(ledger: Ledger, digest: str, *, scopes: Sequence[str] = (), purposes: Sequence[str] = ()) -> Event:
    """A grant that allows only these scopes and purposes from now on; of what is not named, all stays."""
    grant = ledger.state().grants[find_grant(ledger, digest)]
    body = {
        "grant": grant.digest,
        "scopes": sorted(set(scopes) or grant.scopes),
        "purposes": sorted(set(purposes) or grant.purposes),
        "models": sorted(grant.models),
        "expires": from_time(grant.expires),
    }
    return ledger.append("narrow", body, [ledger.keys.operator()])


def renew(ledger: Ledger, digest: str, term: timedelta = TERM) -> Event:
    """A grant for another term from now, signed again by its speaker."""
    grant = ledger.state().grants[find_grant(ledger, digest)]
    body = {"grant": grant.digest, "expires": from_time(ledger.clock() + term)}
    return ledger.append("renew", body, [ledger.keys.operator(), ledger.keys.subject(grant.subject)])


def revoke(ledger: Ledger, digest: str, reason: str | None = None) -> Event:
    """Ends a grant now. The speaker's key signs if it is here, else the operator's."""
    grant = ledger.state().grants[find_grant(ledger, digest)]
    keys = ledger.keys
    signer = keys.subject(grant.subject) if keys.has_subject(grant.subject) else keys.operator()
    return ledger.append("revoke", {"grant": grant.digest, "reason": reason}, [signer])


def take_down(ledger: Ledger, subject: str, recordings: Sequence[str] = (), reason: str | None = None) -> Event:
    """Ends all grants of a subject, names the recordings that must go by pseudonyms, and shreds the subject's personal data.

    Of many recordings, several events are added; returns the last one.
    """
    hidden = sorted({ledger.keys.recording_pseudonym(recording, make=True) for recording in recordings})
    for start in range(0, max(1, len(hidden)), _TAKEN_DOWN_AT_ONCE):
        body = {"subject": subject, "recordings_hmac": hidden[start : start + _TAKEN_DOWN_AT_ONCE], "reason": reason}
        event = ledger.append("takedown", body, [ledger.keys.operator()])
    shred(ledger.store, subject)
    return event


def find_subject(ledger: Ledger, name: str) -> str:
    """The pseudonym of a person. Raises ConsentError if the ledger has no grant of them: a slip would end none."""
    subject = ledger.keys.pseudonym(name)
    if subject not in {grant.subject for grant in ledger.state().grants.values()}:
        raise ConsentError(
            f"the ledger {ledger.store.root} has no grant of {name!r}, whose grants are to end",
            remedy="write the name as it was when the grant was made; leave out --name for a person who never made one",
        )
    return subject


def find_grant(ledger: Ledger, digest: str) -> str:
    """The digest of the grant that begins with these characters. Raises ConsentError unless there is exactly one."""
    found = [known for known in ledger.state().grants if digest and known.startswith(digest)]
    if len(found) != 1:
        raise ConsentError(
            f"{len(found) or 'no'} grants of the ledger begin with {digest!r}", remedy="`voxbeam consent show` lists them"
        )
    return found[0]
