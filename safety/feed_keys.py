"""Feed keys: who may sign the tombstones of a corpus.

The first tombstone says whose feed it is: its signer is the operator. The others are signed by the operator too, or by a key that
the operator put in place of another: the ledger has an event of the kind `key` for that, signed by the old key, and the next
tombstone carries it. So a reader needs no ledger to tell the operator's tombstones from those of a stranger, and from those of a
key that was retired. Whether the first signer is the operator, only somebody who knows the operator's key can tell
(`require_trusted`).
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Sequence

from voxbeam.safety.envelope import open_envelope
from voxbeam.safety.events import parse_event
from voxbeam.safety.state import State, change_keys
from voxbeam.schemas.errors import ConsentError, LedgerError

_KEY = "key"


class FeedKeys:
    """The keys of a feed, tombstone by tombstone."""

    def __init__(self) -> None:
        self._state = State()
        self._followed = set[str]()
        """events that changed the keys"""

    @property
    def current(self) -> frozenset[str]:
        """Public keys that may sign the next tombstone, in hex; none for a feed without tombstones: anybody begins it."""
        return frozenset(self._state.operators)

    def follow(self, changes: Iterable[bytes], where: str) -> None:
        """Changes the keys by events of the ledger. Raises LedgerError for one that a key of the feed has not signed."""
        for content in changes:
            event = parse_event(open_envelope(content, where), where)
            if event.kind != _KEY:
                raise LedgerError(f"{where} has an event of the kind {event.kind}, which changes no key")
            change_keys(self._state, event)
            self._followed.add(event.digest)

    def add(self, signers: frozenset[str], where: str) -> None:
        """A tombstone by these signers. Raises LedgerError for strangers."""
        if not self._state.operators:
            self._state.operators = set(signers)
        elif not signers <= self._state.operators:
            raise LedgerError(
                f"{where} is signed by {_short(signers)}, and the tombstones before it by {_short(self._state.operators)}: it is "
                "not the operator's",
                remedy="restore the folder from a copy that nobody changed; to sign, use its keys (VOXBEAM_KEYS)",
            )

    def missing_changes(self, changes: Sequence[bytes], where: str) -> list[bytes]:
        """Those of the ledger's changes of keys, in order, that lead on from the keys of the feed."""
        missing = []
        for content in changes if self._state.operators else ():
            event = parse_event(open_envelope(content, where), where)
            if event.digest not in self._followed and event.signers & self._state.operators:
                self.follow([content], where)
                missing.append(content)
        return missing


def require_trusted(signers: Sequence[frozenset[str]], trusted: Collection[str], store_root: str) -> None:
    """Raises ConsentError unless a trusted key signed the last tombstone: it has the hash of all before it, and so vouches."""
    if signers and not signers[-1] <= set(trusted):
        raise ConsentError(
            f"the newest tombstone of {store_root} is signed by {', '.join(sorted(signers[-1]))}, which the consent ledger here "
            "does not know as its operator, so nothing is deleted by its word",
            remedy="name the ledger of the corpus (--ledger); or, if that is the operator's key, or was, name it: --key HEX",
        )


def _short(keys: Collection[str]) -> str:
    return ", ".join(f"{key[:12]}…" for key in sorted(keys))
