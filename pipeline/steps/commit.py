"""Commit: gathers what the writers made, adds what the parent keeps, and puts the release."""

from collections import Counter

from voxbeam.models.phones import load_phone_set
from voxbeam.pipeline.error_reports import reporting_errors
from voxbeam.pipeline.job import Job
from voxbeam.pipeline.steps.pack import Made
from voxbeam.pipeline.steps.release_writer import Draft, commit, put_part
from voxbeam.schemas.manifest import RecordingRow, ShardRow
from voxbeam.schemas.release import Release, ReleaseFile
from voxbeam.storage.releases import read_part, read_release, read_rows
from voxbeam.storage.store import Store

QUARANTINED = "quarantined"


def commit_release(job: Job, made: list[Made], failed: list[RecordingRow]) -> None:
    """Commits the release, unless a growing one would only repeat its parent."""
    with reporting_errors(job):
        _commit_release(job, made, failed)


def _commit_release(job: Job, made: list[Made], failed: list[RecordingRow]) -> None:
    store = job.store
    parent = read_release(store, job.parent) if job.parent is not None and job.grows else None
    quarantined = _merge_quarantined(store, parent, made, failed)
    if parent is not None and not made and quarantined == _quarantined_rows(store, parent):
        return
    files = [file for one in made for file in one.files]
    shards = [shard for one in made for shard in one.shards]
    counts: Counter[str] = Counter()
    for one in made:
        counts.update(one.counts)
    if parent is not None:
        files += [f for f in parent.files if f.kind in ("shard", "samples", "rejected") or _holds_done(f)]
        shards += read_rows(store, parent, ShardRow)
        counts.update({name: n for name, n in parent.counts.items() if name not in ("quarantined", "recordings", "shards")})
    if quarantined:
        files.append(put_part(store, "recordings", QUARANTINED, list(quarantined)))
    shards.sort(key=lambda shard: shard.shard)
    files.append(put_part(store, "shards", "shards", list(shards)))
    counts.update(quarantined=len(quarantined), shards=len(shards), recordings=counts["done"] + len(quarantined))
    draft = Draft(
        number=job.number,
        parent=job.parent,
        fingerprint=job.fingerprint,
        config=job.config.model_dump(mode="json"),
        models=job.model_hashes,
    )
    phones = load_phone_set(job.config.phonemize.voice).content
    commit(store, draft, files, dict(sorted(counts.items())), phones)


def _merge_quarantined(store: Store, parent: Release | None, made: list[Made], failed: list[RecordingRow]) -> list[RecordingRow]:
    """This build's quarantine, and the parent's rows of recordings that this build did not see."""
    rows = {row.recording: row for row in failed}
    if parent is not None:
        done = {recording for one in made for recording in one.recordings}
        for row in _quarantined_rows(store, parent):
            if row.recording not in done:
                rows.setdefault(row.recording, row)
    return [rows[recording] for recording in sorted(rows)]


def _quarantined_rows(store: Store, release: Release) -> list[RecordingRow]:
    return [
        row
        for file in release.files_of_kind("recordings")
        if not _holds_done(file)
        for row in read_part(store, RecordingRow, file.path)
    ]


def _holds_done(file: ReleaseFile) -> bool:
    return file.kind == "recordings" and not file.path.rsplit("/", 1)[-1].startswith(QUARANTINED)
