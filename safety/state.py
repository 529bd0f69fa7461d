"""What a ledger allows: a pure function of its events, and of a time.

`fold` reads events in order and stops with LedgerError at the first that is out of order, or that its signers may not make.
`decide` says which grant covers a use at a time, or why none does. Neither reads a clock or a file.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from copy import copy
from dataclasses import dataclass, field, fields, replace
from datetime import datetime

from voxbeam.safety.events import ANY_MODEL, COMMERCIAL, MAX_TERM, NO_EVENT, Event, from_time, to_time
from voxbeam.schemas.errors import LedgerError


@dataclass(frozen=True)
class Grant:
    """What one person has allowed, as it is after all events about it."""

    digest: str
    """of the event that made it"""
    subject: str
    subject_key: str
    scopes: frozenset[str]
    purposes: frozenset[str]
    models: frozenset[str]
    not_before: datetime
    expires: datetime
    sounds: frozenset[str]
    sealed: str | None
    verified: bool = False
    revoked: datetime | None = None


@dataclass(frozen=True)
class Licence:
    """What the licence of recordings allows, or that of a voice that no person has."""

    digest: str
    work: str
    licence: str
    scopes: frozenset[str]
    recordings: frozenset[str]
    sounds: frozenset[str]
    made_by: str | None


@dataclass
class State:
    """What is known after some events."""

    ledger: str = ""
    last: Event | None = None
    operators: set[str] = field(default_factory=set)
    retired: set[str] = field(default_factory=set)
    grants: dict[str, Grant] = field(default_factory=dict)
    licences: dict[str, Licence] = field(default_factory=dict)
    taken_down: dict[str, datetime] = field(default_factory=dict)
    """subject → when"""
    tombstones: dict[str, str] = field(default_factory=dict)
    """pseudonym of a recording → the event that took it down"""
    clear_tombstones: dict[str, str] = field(default_factory=dict)
    """the same by the name of the recording, of events of an earlier voxbeam"""
    used: set[str] = field(default_factory=set)
    """nonces, challenges and recordings of consent: each is good once"""


@dataclass(frozen=True)
class Use:
    """What somebody wants to do with a voice."""

    scope: str
    purpose: str
    model: str


def fold(events: Iterable[Event], state: State | None = None) -> State:
    """The state after events, which go on where `state` ended; that itself stays as it is. Raises LedgerError."""
    known = State() if state is None else state
    state = replace(known, **{one.name: copy(getattr(known, one.name)) for one in fields(known)})
    for event in events:
        _require_order(state, event)
        _APPLY[event.kind](state, event)
        state.last = event
    return state


def _require_order(state: State, event: Event) -> None:
    last = state.last
    expected = (last.seq + 1, last.digest, state.ledger) if last else (1, NO_EVENT, event.ledger)
    if (event.seq, event.previous, event.ledger) != expected:
        raise _wrong(event, "it does not follow the event before it: one was changed, moved or taken out")
    if (event.kind == "open") != (last is None):
        raise _wrong(event, "a ledger begins with its opening, and has only one")
    if last and event.at < last.at:
        raise _wrong(event, "it is older than the event before it")
    if event.kind != "open" and event.signers & state.retired:
        raise _wrong(event, "it is signed with a key that was retired")
    _use_once(state, event, event.nonce, "its nonce")


def _use_once(state: State, event: Event, value: str, what: str) -> None:
    if value in state.used:
        raise _wrong(event, f"{what} was used before")
    state.used.add(value)


def _require_signed(
    state: State, event: Event, *, operator: bool = True, subject: str | None = None, either: bool = False
) -> None:
    by_operator, by_subject = bool(event.signers & state.operators), subject in event.signers
    known = state.operators | ({subject} if subject else set())
    right = (by_operator or by_subject) if either else (by_operator or not operator) and (by_subject or subject is None)
    if not right or not event.signers <= known:
        who = "the operator or the speaker" if either else "the operator" + (" and the speaker" if subject else "")
        raise _wrong(event, f"it must be signed by {who}, and by nobody else")


def _open(state: State, event: Event) -> None:
    state.ledger, state.operators = event.ledger, {event.body["operator"]}
    _require_signed(state, event)


def change_keys(state: State, event: Event) -> None:
    """Applies an event of the kind `key`. Raises LedgerError unless an operator signed it, and retires keys that sign."""
    _require_signed(state, event)
    retire = set(event.body["retire"])
    if not retire <= state.operators or event.body["operator"] in state.retired | retire:
        raise _wrong(event, "it retires a key that does not sign here, or brings one back")
    state.operators = (state.operators | {event.body["operator"]}) - retire
    state.retired |= retire


def _grant(state: State, event: Event) -> None:
    body = event.body
    _require_signed(state, event, subject=body["subject_key"])
    if body["subject_key"] in state.operators:
        raise _wrong(event, "the operator cannot sign as the speaker")
    state.grants[event.digest] = Grant(
        digest=event.digest,
        subject=body["subject"],
        subject_key=body["subject_key"],
        scopes=frozenset(body["scopes"]),
        purposes=frozenset(body["purposes"]),
        models=frozenset(body["models"]),
        not_before=to_time(body["not_before"]),
        expires=to_time(body["expires"]),
        sounds=frozenset(body["sounds"]),
        sealed=body["sealed"],
    )


def _granted(state: State, event: Event) -> Grant:
    grant = state.grants.get(event.body["grant"])
    if grant is None:
        raise _wrong(event, "it is about a grant that is not in this ledger")
    return grant


def _verify(state: State, event: Event) -> None:
    grant = _granted(state, event)
    _require_signed(state, event)
    _use_once(state, event, event.body["challenge"], "its challenge")
    _use_once(state, event, event.body["evidence"], "its recording of the statement")
    state.grants[grant.digest] = replace(grant, verified=True)


def _narrow(state: State, event: Event) -> None:
    grant, body = _granted(state, event), event.body
    _require_signed(state, event, subject=grant.subject_key, either=True)
    less = replace(
        grant,
        scopes=frozenset(body["scopes"]),
        purposes=frozenset(body["purposes"]),
        models=frozenset(body["models"]),
        expires=to_time(body["expires"]),
    )
    models_fit = less.models <= grant.models or ANY_MODEL in grant.models
    if not (less.scopes <= grant.scopes and less.purposes <= grant.purposes and models_fit and less.expires <= grant.expires):
        raise _wrong(event, "it allows more than the grant that it narrows")
    state.grants[grant.digest] = less


def _renew(state: State, event: Event) -> None:
    grant, expires = _granted(state, event), to_time(event.body["expires"])
    _require_signed(state, event, subject=grant.subject_key)
    if grant.revoked is not None:
        raise _wrong(event, "it renews a grant that was revoked")
    if not event.at < expires <= event.at + MAX_TERM:
        raise _wrong(event, "a grant is renewed for at most twelve months from now")
    state.grants[grant.digest] = replace(grant, expires=expires)


def _revoke(state: State, event: Event) -> None:
    grant = _granted(state, event)
    _require_signed(state, event, subject=grant.subject_key, either=True)
    state.grants[grant.digest] = replace(grant, revoked=grant.revoked or event.at)


def _takedown(state: State, event: Event) -> None:
    _require_signed(state, event)
    subject = event.body["subject"]
    state.taken_down[subject] = event.at
    state.tombstones |= dict.fromkeys(event.body.get("recordings_hmac", ()), event.digest)
    state.clear_tombstones |= dict.fromkeys(event.body.get("recordings", ()), event.digest)
    for grant in [one for one in state.grants.values() if one.subject == subject]:
        state.grants[grant.digest] = replace(grant, revoked=grant.revoked or event.at)


def _licence(state: State, event: Event) -> None:
    body = event.body
    _require_signed(state, event)
    state.licences[event.digest] = Licence(
        event.digest,
        body["work"],
        body["licence"],
        frozenset(body["scopes"]),
        frozenset(body["recordings"]),
        frozenset(body["sounds"]),
        body["made_by"],
    )


_APPLY: Mapping[str, Callable[[State, Event], None]] = {
    "open": _open, "key": change_keys, "grant": _grant, "verify": _verify, "narrow": _narrow, "renew": _renew, "revoke": _revoke,
    "takedown": _takedown, "licence": _licence,
}  # fmt: skip


def refusal(state: State, grant: Grant, use: Use, at: datetime) -> str:
    """Why a grant does not cover a use at a time; "" if it does."""
    if state.last is None or at < state.last.at:
        return "the clock of this machine is behind the newest event of the ledger"
    if grant.revoked is not None:
        return f"it was revoked at {from_time(grant.revoked)}"
    if at < grant.not_before:
        return f"it begins at {from_time(grant.not_before)}"
    if at >= grant.expires:
        return f"it expired at {from_time(grant.expires)}"
    needed = {use.scope} | ({COMMERCIAL} if use.purpose == COMMERCIAL else set())
    if missing := needed - grant.scopes:
        return f"it does not allow {' and '.join(sorted(missing))}, but {', '.join(sorted(grant.scopes))}"
    if use.purpose not in grant.purposes:
        return f"it is for {', '.join(sorted(grant.purposes))}, not for {use.purpose}"
    if use.model not in grant.models and ANY_MODEL not in grant.models:
        return f"it is for the models {', '.join(sorted(grant.models))}, not for {use.model}"
    if use.scope == "prompt" and not grant.verified:
        return "nobody has verified it"
    return ""


def active_grants(state: State, use: Use, at: datetime) -> list[Grant]:
    """The grants that cover a use at a time, whoever's voice it is."""
    return [grant for grant in state.grants.values() if not refusal(state, grant, use, at)]


def _wrong(event: Event, why: str) -> LedgerError:
    return LedgerError(
        f"event {event.seq} of the consent ledger ({event.kind}) is not valid: {why}",
        remedy="restore the ledger from a copy that nobody changed; until then nothing is allowed",
    )
