"""Verify, first part: compares what a release says of itself with its configuration, its files and the rows of its tables."""

import posixpath
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass

from voxbeam.exports.describe import DESCRIPTIONS
from voxbeam.pipeline.steps.release_writer import shard_list
from voxbeam.safety.tombstones import FOLDER, read_tombstones, require_extends
from voxbeam.schemas.config import CorpusConfig
from voxbeam.schemas.errors import LedgerError
from voxbeam.schemas.fingerprint import EVIDENCE_VERSION, fingerprint
from voxbeam.schemas.formats import SPLITS
from voxbeam.schemas.manifest import RELEASED, RecordingRow, ShardRow
from voxbeam.schemas.release import MAX_BYTES, Release
from voxbeam.storage.bounded_json import parse_object
from voxbeam.storage.releases import read_rows, release_path
from voxbeam.storage.store import Store

_COUNTS = frozenset(
    (
        "samples", "accepted_ms", "frames", "done", "rejected", "rejected_ms", "non_speech_ms", "failed_ms", "duration_ms",
        "partial", "quarantined", "excluded", "shards", "recordings", "voices", "identities",
    )
)  # fmt: skip


@dataclass(frozen=True, kw_only=True)
class Problem:
    """One thing that is wrong with a release."""

    where: str
    """path, key, recording or speaker"""
    what: str
    """what is wrong with it"""


def check_header(store: Store, release: Release) -> Iterator[Problem]:
    """Yields every problem of the release file itself. Its tables must be readable."""
    where = release_path(release.number)
    try:
        config = CorpusConfig.model_validate(release.config)
    except ValueError as error:
        yield Problem(where=where, what=f"its configuration is not one of this voxbeam: {str(error).splitlines()[0]}")
    else:
        known = release.code_version >= EVIDENCE_VERSION  # earlier ones hashed the policy too
        if known and fingerprint(config, release.models, release.code_version) != release.fingerprint:
            yield Problem(where=where, what="its fingerprint is not that of its configuration and models")
    for kind, least in (("phones", 1), ("recordings", 1), ("shards", 1), ("shard_list", len(SPLITS))):
        if len(release.files_of_kind(kind)) < least:
            yield Problem(where=where, what=f"it lists no file of the kind {kind}")
    for file in release.files_of_kind("shard_list"):
        split = file.path.rpartition("-")[2].removesuffix(".txt")
        if store.get(file.path) != shard_list(release.files, split):
            yield Problem(where=file.path, what="does not list the shards of the release")
    yield from _check_descriptions(store, release)
    try:
        require_extends(read_tombstones(store), release.tombstones, store, f"release {release.name}")
    except LedgerError as error:
        yield Problem(where=FOLDER, what=error.message)
    for name, found in count_rows(store, release).items():
        if release.counts.get(name, 0) != found:
            yield Problem(where=where, what=f"it counts {release.counts.get(name, 0)} {name}, its tables have {found}")
    for name in release.counts.keys() - _COUNTS:
        yield Problem(where=where, what=f"it counts {name!r}, which is no count of a release")


def _check_descriptions(store: Store, release: Release) -> Iterator[Problem]:
    """A release has one card and one Croissant description, which names its files; those of an earlier voxbeam have neither."""
    if not any(release.files_of_kind(kind) for kind in DESCRIPTIONS):
        return
    for kind in DESCRIPTIONS:
        if (found := len(release.files_of_kind(kind))) != 1:
            yield Problem(where=release_path(release.number), what=f"it lists {found} files of the kind {kind}, not one")
    for file in release.files_of_kind("croissant"):
        folder = file.path.rpartition("/")[0]
        try:
            tree = parse_object(store.get(file.path), MAX_BYTES)
            named = {
                posixpath.normpath(f"{folder}/{one['contentUrl']}"): one["sha256"]
                for one in tree["distribution"]
                if "sha256" in one
            }
        except (ValueError, KeyError, TypeError) as error:
            yield Problem(where=file.path, what=f"is no Croissant description of the release: {error}")
            continue
        expected = {f.path: f.sha256 for f in release.files if f.kind != "samples" and f.kind not in DESCRIPTIONS}
        if named != expected or tree.get("version") != f"{release.number}.0.0":
            yield Problem(where=file.path, what="does not name the files of the release")


def count_rows(store: Store, release: Release) -> Counter[str]:
    """The counts of a release, from the rows of its tables."""
    counts = Counter(dict.fromkeys(_COUNTS, 0))
    for shard in read_rows(store, release, ShardRow):
        counts.update(shards=1, samples=shard.samples, frames=shard.frames, accepted_ms=shard.duration_ms)
    for kind in ("voices", "identities"):
        counts[kind] = sum(file.rows for file in release.files_of_kind(kind))
    for row in read_rows(store, release, RecordingRow):
        counts.update({"recordings": 1, row.status: 1})
        if row.status in RELEASED:
            counts.update(
                rejected=row.rejections,
                rejected_ms=row.rejected_ms,
                non_speech_ms=row.non_speech_ms,
                failed_ms=row.failed_ms,
                duration_ms=row.duration_ms or 0,
            )
    return counts
