"""Tombstones: signed statements in a corpus that recordings were taken down, at a fixed address below it, `tombstones/`.

They are a chain: each names the hash of all before it, so that a reader sees when one is changed or missing. The newest could
still vanish; so every release and every checkpoint keeps how far it has read (`FeedHead`), and a feed that does not go on from
there is refused. They name recordings and files by hashes: whoever has a recording recognizes it, and the feed itself does not
say who was in the corpus. Who can guess an identifier can check the guess.

Whoever trains on a release reads them first: a release that still has such a recording, and every older copy of it, is refused. A
copy elsewhere does not get new tombstones by itself; name the address where they are published (`voxbeam train --tombstones`).
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from voxbeam.safety.envelope import open_envelope, seal_envelope
from voxbeam.safety.events import from_time, to_time
from voxbeam.safety.feed_keys import FeedKeys
from voxbeam.safety.keys import public_hex
from voxbeam.safety.ledger import utc_now
from voxbeam.schemas.errors import ConsentError, LedgerError
from voxbeam.schemas.manifest import RecordingRow
from voxbeam.schemas.release import FeedHead, Release
from voxbeam.storage.releases import latest_release, require_corpus, table_batches
from voxbeam.storage.store import Store

FOLDER = "tombstones/"
TOMBSTONE_TYPE = "voxbeam.tombstone/4"
_FIELDS = {"type", "at", "recordings", "files", "event", "purge_after"}
_EARLIER = ("voxbeam.tombstone/2", "voxbeam.tombstone/3")
"""of an earlier voxbeam: the first without `previous`, both without `keys`, and by any key"""
_MAX_RECORDINGS = 4000
"""of one tombstone; of more, several are written: a signed statement has at most 1 MB"""
_PATH = re.compile(r"tombstones/(\d{6})\.json")
_NOTHING = "0" * 64
"""the hash of a feed without tombstones"""
_HASH = re.compile(r"[0-9a-f]{64}")


def recording_hash(recording: str) -> str:
    """What a tombstone names a recording by."""
    return hashlib.sha256(b"voxbeam recording " + recording.encode()).hexdigest()


def file_hash(sha256: str) -> str:
    """What a tombstone names a file by, given the SHA-256 of its bytes: the manifests of a corpus do not have this hash."""
    return hashlib.sha256(b"voxbeam file " + sha256.encode()).hexdigest()


@dataclass(frozen=True)
class Tombstone:
    """One statement."""

    path: str
    at: datetime
    recordings: frozenset[str]
    """by `recording_hash`"""
    files: frozenset[str]
    """by `file_hash`"""
    event: str
    """of the consent ledger; empty without one"""
    purge_after: datetime | None
    """when everything of the recordings is to be deleted; None if nobody asked for that"""
    signers: frozenset[str] = frozenset()
    """public keys, in hex"""


@dataclass(frozen=True)
class Tombstones:
    """The tombstones of a corpus, oldest first."""

    all: tuple[Tombstone, ...] = ()
    digests: tuple[str, ...] = ()
    """for each tombstone, the hash of it and of all before it"""
    keys: FeedKeys = field(default_factory=FeedKeys, repr=False)
    """who may sign the next one"""
    _recordings: dict[str, str] = field(default_factory=dict, repr=False)
    _files: dict[str, str] = field(default_factory=dict, repr=False)

    @classmethod
    def of(cls, tombstones: Iterable[Tombstone], digests: Sequence[str] = (), keys: FeedKeys | None = None) -> Tombstones:
        found = tuple(tombstones)
        recordings = {name: one.path for one in found for name in one.recordings}
        files = {name: one.path for one in found for name in one.files}
        return cls(found, tuple(digests), keys or FeedKeys(), recordings, files)

    def __bool__(self) -> bool:
        return bool(self.all)

    @property
    def head(self) -> FeedHead | None:
        """How far the feed goes; None for one without tombstones."""
        return FeedHead(count=len(self.digests), digest=self.digests[-1]) if self.digests else None

    def extends(self, seen: FeedHead | None) -> bool:
        """Whether the feed begins with all that somebody has seen of it."""
        return seen is None or (seen.count <= len(self.digests) and self.digests[seen.count - 1] == seen.digest)

    def naming(self, recording: str, sha256: str | None = None) -> str | None:
        """Path of a statement that took a recording down, by its identifier or by the hash of its file; None if none did."""
        by_name = self._recordings.get(recording_hash(recording))
        return by_name or (self._files.get(file_hash(sha256)) if sha256 else None)


def put_tombstones(
    store: Store,
    recordings: Mapping[str, str | None],
    event: str,
    key: Ed25519PrivateKey,
    *,
    purge_after: datetime | None = None,
    key_changes: Sequence[bytes] = (),
) -> list[str]:
    """Publishes that recordings were taken down by an event of the ledger; returns the paths of the statements.

    `recordings` maps identifiers to the SHA-256 of their files, where that is known. `key_changes` are the events by which the
    ledger has changed the operator's key. Raises LedgerError for a key that may not sign tombstones of this corpus.
    """
    names = sorted(recordings)
    parts = [names[start : start + _MAX_RECORDINGS] for start in range(0, len(names), _MAX_RECORDINGS)]
    return [
        _put({name: recordings[name] for name in part}, store, event, key, purge_after=purge_after, key_changes=key_changes)
        for part in parts
    ]


def _put(
    recordings: Mapping[str, str | None],
    store: Store,
    event: str,
    key: Ed25519PrivateKey,
    *,
    purge_after: datetime | None,
    key_changes: Sequence[bytes],
) -> str:
    while True:  # until no other takedown is faster
        known, missing = require_may_sign(store, key, key_changes)
        path = f"{FOLDER}{len(known.all) + 1:06d}.json"
        payload = {
            "type": TOMBSTONE_TYPE,
            "previous": known.digests[-1] if known else _NOTHING,
            "keys": [content.decode() for content in missing],
            "at": from_time(utc_now()),
            "recordings": sorted(map(recording_hash, recordings)),
            "files": sorted({file_hash(sha256) for sha256 in recordings.values() if sha256}),
            "event": event,
            "purge_after": from_time(purge_after) if purge_after is not None else None,
        }
        content = seal_envelope(payload, [key])
        if store.put_if_absent(path, content) or store.get(path) == content:
            return path


def require_may_sign(store: Store, key: Ed25519PrivateKey, key_changes: Sequence[bytes]) -> tuple[Tombstones, list[bytes]]:
    """The tombstones of a corpus, and the changes of keys that the next one must carry for a key to sign it.

    Raises LedgerError for a key that does not follow the keys of the feed, and for a feed that is not whole.
    """
    known = read_tombstones(store)
    missing = known.keys.missing_changes(key_changes, "the consent ledger")
    known.keys.add(frozenset({public_hex(key)}), f"a new tombstone of {store.root}")
    return known, missing


def read_tombstones(store: Store) -> Tombstones:
    """All tombstones of a corpus, with at least those that its latest release has seen.

    Raises LedgerError for a statement that was changed, is none, or is missing, be it the newest.
    """
    tombstones = _read_feed(store)
    if (latest := latest_release(store)) is not None:
        require_extends(tombstones, latest.tombstones, store, f"release {latest.name}")
    return tombstones


def require_extends(tombstones: Tombstones, seen: FeedHead | None, store: Store, who: str) -> None:
    """Raises LedgerError unless the tombstones of a corpus begin with what somebody has seen of them."""
    if seen is None or tombstones.extends(seen):
        return
    count = len(tombstones.all)
    if count < seen.count:
        what = f"{store.root} has {count} tombstones, and {who} saw {seen.count}: the newest were taken away"
    else:
        what = f"the first {seen.count} tombstones of {store.root} are not those that {who} saw: this is another feed"
    raise LedgerError(what, remedy=f"restore {FOLDER} of the corpus; whoever copies a corpus copies that folder too")


def _read_feed(store: Store) -> Tombstones:
    found, digests, keys = list[Tombstone](), list[str](), FeedKeys()
    earlier: str = _EARLIER[0]  # the newest type so far
    for path, _ in store.walk(FOLDER):
        where, content = store.uri(path), store.get(path)
        envelope = open_envelope(content, where)
        payload = envelope.payload
        if not _PATH.fullmatch(path) or not _is_tombstone(payload):
            raise LedgerError(f"{where} is no tombstone", remedy="restore it from a copy, or remove what is no tombstone")
        if path != f"{FOLDER}{len(found) + 1:06d}.json":
            raise LedgerError(
                f"tombstone {len(found) + 1} of {store.root} is missing", remedy="restore it from a copy of the corpus"
            )
        before = digests[-1] if digests else _NOTHING
        earlier = max(earlier, str(payload["type"]))
        if payload["type"] != earlier or payload.get("previous", before) != before:
            raise LedgerError(
                f"{where} does not follow the tombstones before it: one was changed, moved or taken out",
                remedy="restore the folder from a copy of the corpus",
            )
        if payload["type"] == TOMBSTONE_TYPE:
            keys.follow((text.encode() for text in payload["keys"]), where)
            keys.add(envelope.signers, where)
        else:
            keys = FeedKeys()
            keys.add(envelope.signers, where)
        digests.append(hashlib.sha256(bytes.fromhex(before) + hashlib.sha256(content).digest()).hexdigest())
        purge = payload["purge_after"]
        found.append(
            Tombstone(
                path=path,
                at=to_time(payload["at"]),
                recordings=frozenset(payload["recordings"]),
                files=frozenset(payload["files"]),
                event=payload["event"],
                purge_after=to_time(purge) if purge is not None else None,
                signers=envelope.signers,
            )
        )
    return Tombstones.of(found, digests, keys)


def _is_tombstone(payload: Mapping[str, object]) -> bool:
    unchained, unsigned = _EARLIER
    more = {TOMBSTONE_TYPE: {"previous", "keys"}, unsigned: {"previous"}, unchained: set[str]()}.get(str(payload.get("type")))
    if more is None or payload.keys() != _FIELDS | more or not isinstance(payload["event"], str):
        return False
    hashes = [payload["recordings"], payload["files"]]
    if not all(isinstance(some, list) and all(isinstance(one, str) and _HASH.fullmatch(one) for one in some) for some in hashes):
        return False
    keys = payload.get("keys", [])
    if not isinstance(keys, list) or not all(isinstance(one, str) for one in keys):
        return False
    times = [payload["at"], *([payload["purge_after"]] if payload["purge_after"] is not None else [])]
    try:
        return all(isinstance(time, str) and bool(to_time(time)) for time in times)
    except ValueError:
        return False


def read_feeds(store: Store, feeds: Sequence[Store] = ()) -> dict[str, Tombstones]:
    """The tombstones of a corpus, and of feeds elsewhere, by address.

    Raises StorageError for a feed that is no corpus: an address with a slip would otherwise be one without takedowns.
    """
    read = {}
    for feed in (store, *feeds):
        read[feed.root] = read_tombstones(feed)
        if feed is not store and not read[feed.root]:
            require_corpus(feed)
    return read


def find_taken_down(store: Store, release: Release, feeds: Mapping[str, Tombstones]) -> tuple[str, str] | None:
    """A recording of a release that feeds, by address, say was taken down, and the address of the statement; None if there is
    none.
    """
    read = {address: tombstones for address, tombstones in feeds.items() if tombstones}
    if not read:
        return None
    for batch in table_batches(store, release, RecordingRow, ["recording", "sha256", "status"]):
        for row in batch.to_pylist():
            for address, tombstones in read.items() if row["status"] != "quarantined" else ():
                if path := tombstones.naming(row["recording"], row["sha256"]):
                    return row["recording"], f"{address.rstrip('/')}/{path}"
    return None


def require_no_tombstones(store: Store, release: Release, feeds: Mapping[str, Tombstones]) -> None:
    """Raises ConsentError for a release with a recording that was taken down, by the corpus itself or by a feed elsewhere."""
    if (found := find_taken_down(store, release, feeds)) is not None:
        raise ConsentError(
            f"release {release.name} of {store.root} has {found[0]}, taken down by {found[1]}",
            remedy="train on a release without it: the latest one of the corpus, copied anew where this is a copy",
        )
