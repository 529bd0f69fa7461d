"""Takedown: a signed statement that recordings were in one release and are not in another, which anybody can check.

Whoever has the statement and the public key checks the proofs against the roots; whoever has the two releases as well makes the
roots anew, and looks into every table and every shard that is new. That the sound is gone from backups, or from models that
learned from it, no statement shows.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Mapping, Sequence
from datetime import datetime
from typing import Any

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from voxbeam.safety.envelope import open_envelope, seal_envelope
from voxbeam.safety.events import from_time
from voxbeam.safety.ledger import Ledger
from voxbeam.safety.merkle import Leaf, Tree, excludes, includes
from voxbeam.safety.tombstones import put_tombstones, require_may_sign
from voxbeam.schemas.errors import LedgerError, VoxbeamError
from voxbeam.schemas.identity import VoiceRow
from voxbeam.schemas.manifest import RecordingRow, RejectedRow, SampleRow
from voxbeam.schemas.release import Release
from voxbeam.schemas.sample_keys import recording_of
from voxbeam.storage.releases import load_release, table_batches
from voxbeam.storage.store import Store
from voxbeam.storage.tar_members import tar_members

STATEMENT_TYPE = "voxbeam.takedown/2"
MAX_STATEMENT_BYTES = 1 << 28
"""proofs of a recording take 3 kB"""


def release_tree(store: Store, release: Release) -> Tree:
    """The tree of the recordings that a release has samples or segments of; those in quarantine are not in it."""
    leaves = []
    for batch in table_batches(store, release, RecordingRow, ["recording", "sha256", "status"]):
        rows = batch.to_pylist()
        leaves += [Leaf(row["recording"], row["sha256"] or "") for row in rows if row["status"] != "quarantined"]
    return Tree(leaves)


def shard_tree(release: Release) -> Tree:
    """The tree of the shards of a release: path and SHA-256 of each."""
    return Tree([Leaf(file.path, file.sha256) for file in release.files_of_kind("shard")])


def publish_takedown(
    ledger: Ledger, store: Store, before: int, recordings: Sequence[str], subject: str | None, reason: str | None = None
) -> bytes:
    """Ends the subject's grants if one is named, publishes tombstones in the corpus and returns the signed statement.

    Raises LedgerError, doing nothing, unless release `before` has every recording and the latest release has none of them.
    """
    old, new = load_release(store, before), load_release(store)
    prove(store, old, new, recordings)
    hashes = {leaf.recording: leaf.sha256 for leaf in release_tree(store, old).leaves}
    key = ledger.keys.operator()
    event = declare(ledger, store, {name: hashes[name] for name in recordings}, key, subject, reason)
    return make_statement(store, old, new, recordings, event, key, ledger.clock())


def declare(
    ledger: Ledger,
    store: Store,
    recordings: Mapping[str, str | None],
    key: Ed25519PrivateKey,
    subject: str | None,
    reason: str | None = None,
    *,
    purge_after: datetime | None = None,
) -> str:
    """Ends the subject's grants if one is named, and puts the tombstone; returns the event, or an empty text without one."""
    from voxbeam.safety.enrol import take_down

    changes = ledger.key_changes()
    require_may_sign(store, key, changes)  # what is wrong is said before anything is done
    event = take_down(ledger, subject, list(recordings), reason).digest if subject else ""
    put_tombstones(store, recordings, event, key, purge_after=purge_after, key_changes=changes)
    return event


def prove(store: Store, old: Release, new: Release, recordings: Sequence[str]) -> dict[str, Any]:
    """The roots of two releases, and proofs that recordings are in the old one and not in the new one.

    Raises LedgerError unless that is so.
    """
    old_tree, new_tree = release_tree(store, old), release_tree(store, new)
    old_shards, new_shards = shard_tree(old), shard_tree(new)
    names = sorted(set(recordings))
    return {
        "recordings": names,
        "included": [old_tree.inclusion(recording) for recording in names],
        "absent": {recording: new_tree.absence(recording) for recording in names},
        "before": _side(old, old_tree, old_shards),
        "after": _side(new, new_tree, new_shards),
        "shards_shared": len(set(old_shards.leaves) & set(new_shards.leaves)),
    }


def _side(release: Release, recordings: Tree, shards: Tree) -> dict[str, Any]:
    return {
        "release": release.number,
        "root": recordings.root,
        "recordings": len(recordings.leaves),
        "shard_root": shards.root,
        "shards": len(shards.leaves),
    }


def make_statement(
    store: Store,
    old: Release,
    new: Release,
    recordings: Sequence[str],
    event: str,
    key: Ed25519PrivateKey,
    at: datetime,
) -> bytes:
    """The signed statement, with the proofs. Raises LedgerError as `prove` does."""
    proven = prove(store, old, new, recordings)
    return seal_envelope({"type": STATEMENT_TYPE, "at": from_time(at), "event": event, **proven}, [key])


def check_statement(content: bytes, public_key: str) -> dict[str, Any]:
    """The statement, if it is signed by this key and its proofs hold. Raises LedgerError otherwise."""
    envelope = open_envelope(content, "the statement", MAX_STATEMENT_BYTES)
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
    """Raises LedgerError unless a checked statement is about these two releases, and the one after has nothing of its recordings.

    Roots are made anew from the releases. No table of the release after may name a recording of the statement, nor may a member
    of a shard that the release before does not have; those shards are hashed too. Nor may a recording or a sample be there under
    another name. That the other shards are whole, `verify` shows.
    """
    found: list[Release] = []
    for store, side in ((before, statement["before"]), (after, statement["after"])):
        try:
            release = load_release(store, int(side["release"]))
            tree, shards = release_tree(store, release), shard_tree(release)
        except VoxbeamError as error:
            raise LedgerError(
                f"release {side['release']} of {store.root} cannot be read: {error.message}", remedy=error.remedy
            ) from error
        if _side(release, tree, shards) != side:
            what = "recordings" if (tree.root, len(tree.leaves)) != (side["root"], side["recordings"]) else "shards"
            raise LedgerError(
                f"release {side['release']} of {store.root} is not the one of the statement: its {what} have another root",
                remedy="compare with the corpus that the statement is about",
            )
        found.append(release)
    old, new = (set(shard_tree(release).leaves) for release in found)
    if len(old & new) != statement["shards_shared"]:
        raise LedgerError("the releases share other shards than the statement says", remedy="ask its sender for another one")
    names = set(statement["recordings"])
    files = {proof["sha256"] for proof in statement["included"]} - {""}
    for where in (
        *_in_tables(after, found[1], names),
        *_in_shards(after, sorted(new - old), names),
        *_renamed(before, after, found, names, files),
    ):
        raise LedgerError(f"{where}: it is still in the release after", remedy="tell the sender of the statement")


def _in_tables(store: Store, release: Release, names: set[str]) -> Iterator[str]:
    """Recordings that the tables of a release still have rows of."""
    for record in (SampleRow, RejectedRow, VoiceRow, RecordingRow):
        for batch in table_batches(store, release, record, ["recording"]):
            for name in names & set(batch["recording"].to_pylist()):
                yield f"{name} in the table {record.__name__.removesuffix('Row').lower()}"


def _renamed(before: Store, after: Store, releases: Sequence[Release], names: set[str], files: set[str]) -> Iterator[str]:
    """Recordings of the release after that are the same file under another name, and samples with the same codes and words."""
    for batch in table_batches(after, releases[1], RecordingRow, ["recording", "sha256"]):
        for row in batch.to_pylist():
            if row["sha256"] in files:
                yield f"{row['recording']} is the same file as one of the recordings"
    columns = ["recording", "key", "frames", "codes_crc32", "text"]
    gone = {_content(row) for row in _rows(before, releases[0], columns) if row["recording"] in names}
    for row in _rows(after, releases[1], columns) if gone else ():
        if _content(row) in gone:
            yield f"the sample {row['key']} has the codes and the words of one of the recordings"


def _rows(store: Store, release: Release, columns: Sequence[str]) -> Iterator[dict[str, Any]]:
    for batch in table_batches(store, release, SampleRow, columns):
        yield from batch.to_pylist()


def _content(sample: Mapping[str, Any]) -> tuple[object, ...]:
    return sample["codes_crc32"], sample["frames"], sample["text"]


def _in_shards(store: Store, shards: Sequence[Leaf], names: set[str]) -> Iterator[str]:
    """Members of shards that are samples of recordings. Raises LedgerError for a shard that is not what its release says."""
    for leaf in shards:
        with store.local_copy(leaf.recording) as path, path.open("rb") as file:
            if hashlib.file_digest(file, "sha256").hexdigest() != leaf.sha256:
                raise LedgerError(f"{store.uri(leaf.recording)} does not have its hash", remedy="run `voxbeam verify`")
            file.seek(0)
            for member in tar_members(file):
                if (name := recording_of(member.name.partition(".")[0])) in names:
                    yield f"{name} in {leaf.recording}, as {member.name}"
