"""Events of a consent ledger: their kinds, and what each one says.

An event is the payload of an envelope: `type`, `ledger`, `seq`, `previous` (SHA-256 of the envelope before it), `at`, `nonce`,
`kind` and `body`. Lists are sorted and without repeats, times are whole seconds in UTC. Nothing is left to be guessed: a field
too many or too few, an empty scope or a wildcard is an error.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any

from voxbeam.safety.envelope import Envelope
from voxbeam.schemas.errors import LedgerError

EVENT_TYPE = "voxbeam.consent/1"
SCOPES = ("commercial", "finetune", "prompt", "redistribute", "train")
"""what a person can allow"""
LICENCE_SCOPES = ("commercial", "redistribute", "train")
"""what the licence of a recording can allow: never to speak in the voice that is in it"""
COMMERCIAL = "commercial"
"""the purpose that needs the scope of the same name"""
ANY_MODEL = "any"
MAX_TERM = timedelta(days=366)
"""a grant ends after twelve months, and must be renewed"""
NO_EVENT = "0" * 64
"""`previous` of the first event"""

_HEX32, _HEX64 = re.compile(r"[0-9a-f]{32}"), re.compile(r"[0-9a-f]{64}")
_TIME = "%Y-%m-%dT%H:%M:%SZ"
Check = Callable[[Any], bool]


@dataclass(frozen=True)
class Event:
    """A signed event."""

    ledger: str
    seq: int
    previous: str
    at: datetime
    nonce: str
    kind: str
    body: Mapping[str, Any]
    signers: frozenset[str]
    digest: str
    """SHA-256 of its envelope: its name"""


def to_time(text: str) -> datetime:
    """The time of an event. Raises ValueError for any other way to write one."""
    time = datetime.strptime(text, _TIME).replace(tzinfo=UTC)
    if time.strftime(_TIME) != text:
        raise ValueError(f"{text!r} is no time such as 2026-11-26T12:00:00Z")
    return time


def from_time(time: datetime) -> str:
    """A time as events write it: seconds, in UTC, the rest cut off."""
    return time.astimezone(UTC).strftime(_TIME)


def _is_hex32(value: Any) -> bool:
    return isinstance(value, str) and bool(_HEX32.fullmatch(value))


def _is_hex64(value: Any) -> bool:
    return isinstance(value, str) and bool(_HEX64.fullmatch(value))


def _is_text(value: Any) -> bool:
    return isinstance(value, str) and 0 < len(value) <= 10_000 and value == value.strip()


def _is_name(value: Any) -> bool:
    """A name in a list: no wildcard, which would allow what nobody thought of."""
    return _is_text(value) and not set(value) & set("*?[]")


def _is_time(value: Any) -> bool:
    try:
        return isinstance(value, str) and bool(to_time(value))
    except ValueError:
        return False


def _list_of(check: Check, *, empty: bool = False) -> Check:
    def checked(value: Any) -> bool:
        return (
            isinstance(value, list)
            and (empty or bool(value))
            and all(map(check, value))
            and all(isinstance(one, str) for one in value)
            and value == sorted(set(value))
        )

    return checked


_SCOPES = _list_of(lambda value: value in SCOPES)
_NAMES, _SOUNDS = _list_of(_is_name), _list_of(_is_hex64, empty=True)
_MAYBE_TEXT: Check = lambda value: value is None or _is_text(value)  # noqa: E731

FIELDS: dict[str, dict[str, Check]] = {
    "open": {"operator": _is_hex64, "organisation": _is_text},
    "key": {"operator": _is_hex64, "retire": _list_of(_is_hex64, empty=True)},
    "grant": {
        "subject": _is_hex32, "subject_key": _is_hex64, "scopes": _SCOPES, "purposes": _NAMES, "models": _NAMES,
        "not_before": _is_time, "expires": _is_time, "sounds": _SOUNDS, "sealed": _MAYBE_TEXT,
    },
    "verify": {"grant": _is_hex64, "method": _is_name, "challenge": _is_hex32, "evidence": _is_hex64},
    "narrow": {"grant": _is_hex64, "scopes": _SCOPES, "purposes": _NAMES, "models": _NAMES, "expires": _is_time},
    "renew": {"grant": _is_hex64, "expires": _is_time},
    "revoke": {"grant": _is_hex64, "reason": _MAYBE_TEXT},
    "takedown": {"subject": _is_hex32, "recordings_hmac": _list_of(_is_hex32, empty=True), "reason": _MAYBE_TEXT},
    "licence": {
        "work": _is_text, "licence": _is_text, "scopes": _SCOPES, "recordings": _list_of(_is_name, empty=True),
        "sounds": _SOUNDS, "made_by": _MAYBE_TEXT,
    },
}  # fmt: skip
"""kind → the fields of its body, and what each must be"""
_EARLIER_FIELDS: dict[str, dict[str, Check]] = {
    "takedown": {"subject": _is_hex32, "recordings": _list_of(_is_name, empty=True), "reason": _MAYBE_TEXT}
}
"""the same of events by an earlier voxbeam, which named recordings in clear"""


def parse_event(envelope: Envelope, where: str) -> Event:
    """The event of an envelope. Raises LedgerError, naming `where` and the field, for anything else."""
    tree = envelope.payload
    if tree.keys() != {"type", "ledger", "seq", "previous", "at", "nonce", "kind", "body"} or tree["type"] != EVENT_TYPE:
        raise _wrong(where, "it is no event of this version")
    kind, body, seq = tree["kind"], tree["body"], tree["seq"]
    known = [fields[kind] for fields in (FIELDS, _EARLIER_FIELDS) if isinstance(kind, str) and kind in fields]
    fields = next((one for one in known if isinstance(body, dict) and body.keys() == one.keys()), None)
    if fields is None:
        raise _wrong(where, f"it is no event of the kind {kind!r}")
    for name, check in fields.items():
        if not check(body[name]):
            raise _wrong(where, f"{kind}: {name} must not be {str(body[name])[:80]!r}")
    for name, fits in (("ledger", _is_hex32), ("nonce", _is_hex32), ("previous", _is_hex64), ("at", _is_time)):
        if not fits(tree[name]):
            raise _wrong(where, f"{name} must not be {str(tree[name])[:80]!r}")
    if type(seq) is not int or seq < 1:
        raise _wrong(where, f"seq must not be {seq!r}")
    _check_meaning(kind, body, where)
    return Event(
        tree["ledger"], seq, tree["previous"], to_time(tree["at"]), tree["nonce"], kind, body, envelope.signers, envelope.digest
    )


def _check_meaning(kind: str, body: Mapping[str, Any], where: str) -> None:
    """What concerns several fields at once."""
    if kind == "grant":
        begin, end = to_time(body["not_before"]), to_time(body["expires"])
        if not begin < end <= begin + MAX_TERM:
            raise _wrong(where, "a grant ends after it begins, and within twelve months")
    if kind == "licence":
        made = body["made_by"] is not None
        if too_much := set(body["scopes"]) - set(LICENCE_SCOPES) - ({"prompt"} if made else set()):
            raise _wrong(where, f"a licence cannot allow {', '.join(sorted(too_much))}: only the speaker can")
        if "prompt" in body["scopes"] and not body["sounds"]:
            raise _wrong(where, "a made voice is named by the hashes of its sounds")


def _wrong(where: str, why: str) -> LedgerError:
    return LedgerError(f"{where}: {why}", remedy="restore the ledger from a copy that nobody changed")
