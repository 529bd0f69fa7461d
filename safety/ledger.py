"""The consent ledger: signed events in a folder or bucket, one object each, that are only ever added.

`events/00000001.json` and so on are put if absent, so of two writers one succeeds and the other signs again behind it. Whoever
reads checks everything: form, signatures, order, rights of the signers, and what this machine saw before. An event that does not
fit makes the whole ledger unusable, and what asks it is refused.
"""

from __future__ import annotations

import hashlib
import os
import re
import secrets
import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from datetime import UTC, datetime
from typing import Any

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from voxbeam.safety.envelope import open_envelope, seal_envelope
from voxbeam.safety.events import EVENT_TYPE, NO_EVENT, Event, from_time, parse_event
from voxbeam.safety.keys import KeyRing, data_folder, key_folder, public_hex
from voxbeam.safety.seen import Seen
from voxbeam.safety.state import State, fold
from voxbeam.schemas.errors import ConsentError, LedgerError, VoxbeamError
from voxbeam.storage.store import Store

Clock = Callable[[], datetime]
_PATH = re.compile(r"events/(\d{8})\.json")
_ATTEMPTS = 20


def ledger_address() -> str:
    """`$VOXBEAM_LEDGER`, else the folder of this user."""
    return os.environ.get("VOXBEAM_LEDGER") or str(data_folder() / "ledger")


def utc_now() -> datetime:
    return datetime.now(UTC)


class Ledger:
    """A ledger at an address, with the keys of this machine. Reading keeps what was read, and looks only for what is new.

    Safe for several threads, such as those of `voxbeam serve`.
    """

    def __init__(self, uri: str | None = None, keys: KeyRing | None = None, clock: Clock = utc_now) -> None:
        self.store = Store(uri or ledger_address())
        self.keys = keys or KeyRing(key_folder())
        self.clock = clock
        self._events: list[Event] = []
        self._state = State()
        self._reading = threading.RLock()

    def _check_seen(self) -> datetime:
        """Compares with what this machine saw at the address, and of this ledger elsewhere: a copy may lack its end too."""
        names = (hashlib.sha256(self.store.root.encode()).hexdigest()[:16], self._state.ledger)
        return [Seen(self.keys.folder, name).check(self._events, self.clock) for name in names][-1]

    def create(self, organisation: str) -> None:
        """Opens a ledger, with an operator's key that is made if there is none. Raises LedgerError if there is one already."""
        with _as_ledger_error(self.store):
            self.store.require_conditional_create()
            operator = self.keys.operator(make=True)
            body = {"operator": public_hex(operator), "organisation": organisation}
            content = self._envelope("open", body, [operator], ledger=secrets.token_hex(16))
            if any(True for _ in self.store.walk("events/")) or not self.store.put_if_absent(_path(1), content):
                raise LedgerError(
                    f"there is a consent ledger at {self.store.root} already", remedy="use it, or name another address"
                )
        self.state()

    def exists(self) -> bool:
        """Whether there is a ledger at the address. Raises LedgerError if that cannot be found out."""
        with _as_ledger_error(self.store):
            return self.store.exists(_path(1))

    def state(self) -> State:
        """What all events say, read and checked now. Raises LedgerError for a ledger that is absent, not whole or not valid."""
        return self.state_and_time()[0]

    def state_and_time(self) -> tuple[State, datetime]:
        """The same, and the time: not before any event, nor any check of this machine, unless the clock is behind."""
        with self._reading, _as_ledger_error(self.store):
            new = self._read_new() if self._events else self._read_all()
            try:
                self._state = fold(new, self._state)
            except LedgerError:
                self._events, self._state = [], State()
                raise
            self._events += new
            return self._state, self._check_seen()

    def events(self) -> list[Event]:
        """All events, checked, in order."""
        self.state()
        return list(self._events)

    def key_changes(self) -> list[bytes]:
        """The envelopes of the events that changed the operator's key, in order; none where there is no ledger."""
        events = self.events() if self.exists() else []
        return [self.store.get(_path(event.seq)) for event in events if event.kind == "key"]

    def operator_keys(self) -> frozenset[str]:
        """Public keys that sign for the operator now: those of the ledger, or that of this machine where there is no ledger."""
        if self.exists():
            return frozenset(self.state().operators)
        return frozenset({public_hex(self.keys.operator())} if (self.keys.folder / "operator.key").exists() else ())

    def append(self, kind: str, body: Mapping[str, Any], signers: Sequence[Ed25519PrivateKey]) -> Event:
        """Adds an event behind all others, and returns it. Raises LedgerError, adding nothing, for one that is not valid."""
        with _as_ledger_error(self.store):
            for _ in range(_ATTEMPTS):
                self.state()
                number = len(self._events) + 1
                content = self._envelope(kind, body, signers)
                event = self._checked(content, kind)
                if self.store.put_if_absent(_path(number), content) or self.store.get(_path(number)) == content:
                    self.state()
                    return event
        raise LedgerError(f"others add to the ledger {self.store.root} all the time", remedy="run the command again")

    def _checked(self, content: bytes, kind: str) -> Event:
        """The event of a new envelope. Raises LedgerError if the ledger would not be valid with it."""
        try:
            event = parse_event(open_envelope(content, f"the new event ({kind})"), f"the new event ({kind})")
            fold([*self._events, event])
        except LedgerError as error:
            raise LedgerError(error.message, remedy="nothing was added to the ledger") from error
        return event

    def _envelope(
        self, kind: str, body: Mapping[str, Any], signers: Sequence[Ed25519PrivateKey], *, ledger: str | None = None
    ) -> bytes:
        last = self._state.last
        at = max(self.clock(), last.at) if last else self.clock()  # a revocation is not kept out by a clock that is behind
        event = {
            "type": EVENT_TYPE,
            "ledger": ledger or self._state.ledger,
            "seq": last.seq + 1 if last else 1,
            "previous": last.digest if last else NO_EVENT,
            "at": from_time(at),
            "nonce": secrets.token_hex(16),
            "kind": kind,
            "body": dict(body),
        }
        return seal_envelope(event, signers)

    def _read_all(self) -> list[Event]:
        numbers = []
        for path, _ in self.store.walk("events/"):
            if not (match := _PATH.fullmatch(path)):
                raise LedgerError(f"{self.store.uri(path)} is no event", remedy="remove it from the ledger")
            numbers.append(int(match[1]))
        if not numbers:
            raise LedgerError(
                f"there is no consent ledger at {self.store.root}",
                remedy="`voxbeam consent own-voice` makes one; or name yours (VOXBEAM_LEDGER)",
            )
        if numbers != list(range(1, len(numbers) + 1)):
            missing = next(n for n in range(1, len(numbers) + 2) if n not in numbers)
            raise LedgerError(
                f"event {missing} of the consent ledger {self.store.root} is missing", remedy="restore it from a copy"
            )
        return [self._read(number) for number in numbers]

    def _read_new(self) -> list[Event]:
        """Events behind those that are known. Raises LedgerError where the last of these is gone: so may a revocation be."""
        new: list[Event] = []
        if not self.store.exists(_path(len(self._events))):
            raise LedgerError(
                f"event {len(self._events)} of the consent ledger {self.store.root} is gone", remedy="restore it from a copy"
            )
        while self.store.exists(_path(number := len(self._events) + len(new) + 1)):
            new.append(self._read(number))
        return new

    def _read(self, number: int) -> Event:
        where = self.store.uri(_path(number))
        return parse_event(open_envelope(self.store.get(_path(number)), where), where)

    def rotate_operator(self) -> Event:
        """A new operator's key in place of the old one, which is retired: events that it signs from now on are not valid."""
        old, new = self.keys.operator(), self.keys.stage_operator()
        if public_hex(new) in self.state().operators:  # a rotation that was cut off after its event
            self.keys.adopt_operator()
            return next(event for event in self._events if event.body.get("operator") == public_hex(new))
        event = self.append("key", {"operator": public_hex(new), "retire": [public_hex(old)]}, [old])
        self.keys.adopt_operator()
        return event


def _path(number: int) -> str:
    return f"events/{number:08d}.json"


@contextmanager
def _as_ledger_error(store: Store) -> Iterator[None]:
    """Whatever goes wrong with a ledger is a ConsentError: nobody takes it for consent."""
    try:
        yield
    except ConsentError:
        raise
    except Exception as error:
        what = error.message if isinstance(error, VoxbeamError) else f"{type(error).__name__}: {error}"
        raise LedgerError(
            f"the consent ledger {store.root} cannot be used: {what}",
            remedy="check the address (VOXBEAM_LEDGER) and the credentials; until then nothing is allowed",
        ) from error
