"""Take down: a person out of a corpus in one go: grants end, a tombstone, a release without them, and a signed statement."""

from __future__ import annotations

import uuid
from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime, timedelta

from voxbeam.pipeline.collection_mark import last_collection, require_no_collection
from voxbeam.pipeline.heartbeat import BuildInfo, heartbeat
from voxbeam.pipeline.progress import clear_progress
from voxbeam.pipeline.takedown.find import Found
from voxbeam.pipeline.takedown.rewrite import release_without
from voxbeam.safety.keys import public_hex
from voxbeam.safety.ledger import Ledger
from voxbeam.safety.takedown import declare, make_statement
from voxbeam.schemas.errors import CommitConflictError, ConsentError
from voxbeam.schemas.manifest import RecordingRow
from voxbeam.schemas.release import Release
from voxbeam.storage.environment import require_temporary_folder
from voxbeam.storage.releases import load_release, table_batches
from voxbeam.storage.store import Store

GRACE = timedelta(days=30)
"""time between a takedown and the deletion of what is left, if nothing else is said"""


@dataclass(frozen=True, kw_only=True)
class TakenDown:
    """A takedown that is done."""

    before: Release
    """the last release with the person"""
    after: Release
    statement: bytes
    """signed; for whoever wants to check it"""
    public_key: str
    """of the signature, in hex"""
    purge_after: datetime | None
    shards_rewritten: int
    """shards of `before` that `after` does not have"""


def take_down(
    store: Store,
    found: Found,
    ledger: Ledger,
    *,
    subject: str | None = None,
    reason: str | None = None,
    grace: timedelta | None = None,
    on_step: Callable[[str], None] = lambda step: None,
) -> TakenDown:
    """Makes a release without the recordings that were found, and a statement that says so.

    The tombstone is published first: from then on nothing trains on what has the person, and no build commits it. A build that
    runs meanwhile loses the race for the number of the release, or is told. One that is faster may have added more of the person:
    then this ends with CommitConflictError, and the person is to be looked for again. `subject` is the person's pseudonym in the
    ledger, whose grants end; `grace` is how long the old releases stay before `purge` deletes them, None if they are to stay.

    Raises ConsentError when there is nothing that could be proven, StorageError while garbage is collected.
    """
    proven = [one.recording for one in found.recordings if one.status != "quarantined"]
    if not proven:
        raise ConsentError(
            "the recordings are in quarantine alone: no release has anything of them but their names",
            remedy="take them out of the input and build with --remove-unlisted",
        )
    store.require_conditional_create()
    require_temporary_folder()
    key = ledger.keys.operator(make=True)
    now = ledger.clock()
    purge_after = now + grace if grace is not None else None
    run_id = uuid.uuid4().hex[:8]
    with heartbeat(store, run_id, BuildInfo(local=True)):
        require_no_collection(store)
        collection = last_collection(store)
        _require_latest(store, found)
        on_step("publish the tombstone")
        event = declare(ledger, store, found.hashes, key, subject, reason, purge_after=purge_after)
        on_step("write the shards again that had the person")
        before = _require_latest(store, found)
        after = release_without(store, before, _all_of(store, before, found), collection)
        on_step("prove it")
        statement = make_statement(store, before, after, proven, event, key, now)
    clear_progress(store, run_id)
    shards = {file.path for file in after.files_of_kind("shard")}
    return TakenDown(
        before=before,
        after=after,
        statement=statement,
        public_key=public_hex(key),
        purge_after=purge_after,
        shards_rewritten=sum(file.path not in shards for file in before.files_of_kind("shard")),
    )


def _require_latest(store: Store, found: Found) -> Release:
    """The latest release. Raises CommitConflictError unless it is the one that the person was found in."""
    latest = load_release(store)
    if latest.number != found.release:
        raise CommitConflictError(
            f"release {latest.name} was committed after the person was looked for in release {found.release:06d}, "
            "and may have more of them",
            remedy="run the same command again, which looks for the person in it",
        )
    return latest


def _all_of(store: Store, release: Release, found: Found) -> set[str]:
    """The recordings of a release that were found, and those of the same bytes under another name."""
    names, files = set(found.hashes), {sha256 for sha256 in found.hashes.values() if sha256}
    for batch in table_batches(store, release, RecordingRow, ["recording", "sha256"]):
        names |= {row["recording"] for row in batch.to_pylist() if row["sha256"] in files}
    return names
