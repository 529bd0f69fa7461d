"""Takedown: a signed statement that recordings were in one release and are not in another, which anybody can check.

Whoever has the statement and the public key checks the proofs against the two roots; whoever has the two releases as well makes
the roots anew from their tables. That the sound is gone from backups, or from models that learned from it, no statement shows.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from voxbeam.safety.envelope import open_envelope, seal_envelope
from voxbeam.safety.events import from_time
from voxbeam.safety.ledger import Ledger
from voxbeam.safety.merkle import Leaf, Tree, excludes, includes
from voxbeam.safety.tombstones import put_tombstone
from voxbeam.schemas.errors import LedgerError, VoxbeamError
from voxbeam.schemas.manifest import RecordingRow
from voxbeam.schemas.release import Release
from voxbeam.storage.releases import load_release, table_batches
from voxbeam.storage.store import Store

STATEMENT_TYPE = "voxbeam.takedown/1"


def release_tree(store: Store, release: Release) -> Tree:
    """The tree of the recordings that a release has samples or segments of; those in quarantine are not in it."""
    leaves = []
    for batch in table_batches(store, release, RecordingRow, ["recording", "sha256", "status"]):
        rows = batch.to_pylist()
        leaves += [Leaf(row["recording"], row["sha256"] or "") for row in rows if row["status"] != "quarantined"]
    return Tree(leaves)


def publish_takedown(
    ledger: Ledger, store: Store, before: int, recordings: Sequence[str], subject: str | None, reason: str | None = None
) -> bytes:
    """Ends the subject's grants if one is named, publishes tombstones in the corpus and returns the signed statement.

    Raises LedgerError, doing nothing, unless release `before` has every recording and the latest release has none of them.
    """
    from voxbeam.safety.enrol import take_down

    old, new = load_release(store, before), load_release(store)
    old_tree, new_tree = release_tree(store, old), release_tree(store, new)
    proofs = {
        "included": [old_tree.inclusion(recording) for recording in sorted(set(recordings))],
        "absent": {recording: new_tree.absence(recording) for recording in sorted(set(recordings))},
    }
    key = ledger.keys.operator()
    event = take_down(ledger, subject, recordings, reason).digest if subject else ""
    put_tombstone(store, recordings, event, key)
    kept = {file.path: file.sha256 for file in old.files}
    statement = {
        "type": STATEMENT_TYPE,
        "at": from_time(ledger.clock()),
        "event": event,
        "recordings": sorted(set(recordings)),
        "before": {"release": old.number, "root": old_tree.root, "recordings": len(old_tree.leaves)},
        "after": {"release": new.number, "root": new_tree.root, "recordings": len(new_tree.leaves)},
        "files_shared": sum(kept.get(file.path) == file.sha256 for file in new.files),
        **proofs,
    }
    return seal_envelope(statement, [key])


def check_statement(content: bytes, public_key: str) -> dict[str, Any]:
    """The statement, if it is signed by this key and its proofs hold. Raises LedgerError otherwise."""
    envelope = open_envelope(content, "the statement")
    tree = envelope.payload
    try:
        if public_key not in envelope.signers:
            raise ValueError("it is signed by another key")
        if tree["type"] != STATEMENT_TYPE or not tree["recordings"]:
            raise ValueError("it is no takedown")
        old, new = tree["before"], tree["after"]
        proven = [proof["recording"] for proof in tree["included"] if includes(old["root"], old["recordings"], proof)]
        if proven != tree["recordings"]:
            raise ValueError("it does not prove that the recordings were in the release before")
        for recording in tree["recordings"]:
            if not excludes(new["root"], new["recordings"], recording, tree["absent"][recording]):
                raise ValueError(f"it does not prove that {recording} is not in the release after")
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        raise LedgerError(
            f"the statement of a takedown does not hold: {error}", remedy="ask its sender for the whole file"
        ) from error
    return tree


def check_releases(statement: dict[str, Any], before: Store, after: Store) -> None:
    """Raises LedgerError unless the roots of a checked statement are those of the two releases' own tables."""
    for store, side in ((before, statement["before"]), (after, statement["after"])):
        try:
            tree = release_tree(store, load_release(store, int(side["release"])))
        except VoxbeamError as error:
            raise LedgerError(
                f"release {side['release']} of {store.root} cannot be read: {error.message}", remedy=error.remedy
            ) from error
        if (tree.root, len(tree.leaves)) != (side["root"], side["recordings"]):
            raise LedgerError(
                f"release {side['release']} of {store.root} is not the one of the statement: its recordings have another root",
                remedy="compare with the corpus that the statement is about",
            )
