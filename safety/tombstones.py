"""Tombstones: signed statements in a corpus that recordings were taken down, at a fixed address below it, `tombstones/`.

Whoever trains on a release reads them first: a release that still has such a recording, and every older copy of it, is refused. A
copy elsewhere does not get new tombstones by itself; name the address where they are published (`voxbeam train --tombstones`).
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from voxbeam.safety.envelope import open_envelope, seal_envelope
from voxbeam.safety.events import from_time
from voxbeam.safety.ledger import utc_now
from voxbeam.schemas.errors import ConsentError, LedgerError
from voxbeam.schemas.manifest import RecordingRow
from voxbeam.schemas.release import Release
from voxbeam.storage.releases import table_batches
from voxbeam.storage.store import Store

FOLDER = "tombstones/"
TOMBSTONE_TYPE = "voxbeam.tombstone/1"
_PATH = re.compile(r"tombstones/\d{6}\.json")
_FIELDS = {"type", "at", "recordings", "event"}


def put_tombstone(store: Store, recordings: Iterable[str], event: str, key: Ed25519PrivateKey) -> str:
    """Publishes that recordings were taken down by an event of the ledger; returns the path of the statement."""
    payload = {"type": TOMBSTONE_TYPE, "at": from_time(utc_now()), "recordings": sorted(set(recordings)), "event": event}
    content = seal_envelope(payload, [key])
    number = 1 + sum(1 for _ in store.walk(FOLDER))
    while not store.put_if_absent(path := f"{FOLDER}{number:06d}.json", content):
        number += 1
    return path


def taken_down(store: Store) -> dict[str, str]:
    """Recording → path of the statement that took it down. Raises LedgerError for a statement that was changed."""
    found: dict[str, str] = {}
    for path, _ in store.walk(FOLDER):
        where = store.uri(path)
        payload = open_envelope(store.get(path), where).payload
        recordings = payload.get("recordings") or []
        named = isinstance(recordings, list) and all(isinstance(one, str) for one in recordings)
        if not _PATH.fullmatch(path) or payload.keys() != _FIELDS or payload["type"] != TOMBSTONE_TYPE or not named:
            raise LedgerError(f"{where} is no tombstone", remedy="restore it from a copy, or remove what is no tombstone")
        found |= dict.fromkeys(recordings, path)
    return found


def require_no_tombstones(store: Store, release: Release, feeds: Sequence[Store] = ()) -> None:
    """Raises ConsentError for a release with a recording that was taken down, by the corpus itself or by a feed elsewhere."""
    gone: dict[str, str] = {}
    for source in (store, *feeds):
        gone |= {recording: source.uri(path) for recording, path in taken_down(source).items()}
    if not gone:
        return
    for batch in table_batches(store, release, RecordingRow, ["recording", "status"]):
        for row in batch.to_pylist():
            if row["recording"] in gone and row["status"] != "quarantined":
                raise ConsentError(
                    f"release {release.name} of {store.root} has {row['recording']}, taken down by {gone[row['recording']]}",
                    remedy="train on a release without it: the latest one of the corpus, copied anew where this is a copy",
                )
