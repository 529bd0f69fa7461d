"""What this machine has seen of a ledger: its length, its newest event, and the time of the last check.

A chain of hashes shows an event that was changed or taken out of the middle, but not one taken off the end: a ledger without its
last revocation is a good ledger. Whoever has seen more of it refuses. The same file shows a clock that was set back.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path

from voxbeam.safety.envelope import canonical_json
from voxbeam.safety.events import Event, from_time, to_time
from voxbeam.schemas.errors import LedgerError
from voxbeam.storage.bounded_json import parse_object
from voxbeam.storage.store import Store

_RESTORE = "restore the ledger as it was; if this machine is wrong, delete {} after you have compared both"


@dataclass
class Seen:
    """The memory of one ledger, or of one address: a file `seen/<name>.json` in the folder of keys."""

    folder: Path
    name: str

    def check(self, events: list[Event], clock: Callable[[], datetime]) -> datetime:
        """Raises LedgerError if the ledger is shorter than it was, or another, or the time earlier. Else remembers.

        Returns the time. It is asked for last: another process may have checked a moment ago.
        """
        store, path = Store(str(self.folder)), f"seen/{self.name}.json"
        where = self.folder / path
        last = events[-1]
        try:
            known = parse_object(store.get(path)) if store.exists(path) else None
            now = clock()
            if known is not None:
                seq, digest, checked = int(known["seq"]), str(known["digest"]), to_time(known["checked"])
                self._compare(events, seq, digest, where)
                if now < checked:
                    raise LedgerError(
                        f"the clock was set back: it is {from_time(now)}, and was {from_time(checked)} at the last check",
                        remedy="set the clock right; nothing is allowed before that time comes again",
                    )
                if (seq, digest, from_time(checked)) == (last.seq, last.digest, from_time(now)):
                    return now
            content = {"seq": last.seq, "digest": last.digest, "checked": from_time(now)}
            store.replace(path, canonical_json(content))
            return now
        except LedgerError:
            raise
        except Exception as error:
            raise LedgerError(
                f"what was seen of the ledger cannot be kept in {where} ({error})",
                remedy="make the folder writable (VOXBEAM_KEYS)",
            ) from error

    def _compare(self, events: list[Event], seq: int, digest: str, where: Path) -> None:
        if seq > len(events):
            raise LedgerError(
                f"the consent ledger has {len(events)} events, and had {seq} before: its end was taken off",
                remedy=_RESTORE.format(where),
            )
        if events[seq - 1].digest != digest:
            raise LedgerError(
                f"event {seq} of the consent ledger is not the one that was there: this is another ledger, or a fork of it",
                remedy=_RESTORE.format(where),
            )
