"""Commit: collects what the writers wrote, adds what the new release keeps of the previous one, and puts the release."""

from collections import Counter

from voxbeam.models.phones import load_phone_set
from voxbeam.pipeline.error_reports import reporting_errors
from voxbeam.pipeline.job import Job
from voxbeam.pipeline.steps.pack import WriterOutput
from voxbeam.pipeline.steps.release_writer import ReleaseHeader, commit, write_part
from voxbeam.schemas.errors import CommitConflictError, EmptyReleaseError
from voxbeam.schemas.manifest import EXCLUDED, RecordingRow, ShardRow
from voxbeam.schemas.policy import with_decisions
from voxbeam.schemas.release import Release, ReleaseFile
from voxbeam.storage.releases import read_part, read_release, read_rows
from voxbeam.storage.store import Store
from voxbeam.transforms.identity.naming import CHANGES

QUARANTINED = "quarantined"
_MAX_REASONS = 3


def commit_release(job: Job, outputs: list[WriterOutput], failed: list[RecordingRow]) -> None:
    """Commits the release, unless it extends the previous one and there is nothing to add."""
    with reporting_errors(job):
        _commit_release(job, outputs, failed)


def _commit_release(job: Job, outputs: list[WriterOutput], failed: list[RecordingRow]) -> None:
    store = job.store
    files = [file for output in outputs for file in output.files]
    if len(failed) >= job.recordings and not files and not job.allow_empty and not job.repacks:
        raise _nothing_usable(failed)
    if job.repacks and not job.allow_empty and not any(output.counts.get("samples") for output in outputs):
        raise EmptyReleaseError(
            "no segment would be accepted by this policy, so there is no new release",
            remedy="run the command with --dry-run to see which rule each falls to; or commit the release with --allow-empty",
        )
    previous = read_release(store, job.previous) if job.previous is not None and job.extends_previous else None
    quarantined = _merge_quarantined(store, previous, outputs, failed)
    if previous is not None and not files and quarantined == _quarantined_rows(store, previous):
        return
    shards = [shard for output in outputs for shard in output.shards]
    counts: Counter[str] = Counter()
    for output in outputs:
        counts.update(output.counts)
    labels = {name: value for output in outputs for name, value in output.labels.items()}
    if previous is not None:
        replaced = {path for output in outputs for path in output.replaced}
        again = [] if any(file.kind == "identities" for file in files) else ["identities"]  # made anew if there are new voices
        kinds = ("shard", "samples", "rejected", "voices", *again)
        files += [f for f in previous.files if (f.kind in kinds or _is_done_part(f)) and f.path not in replaced]
        shards += [shard for shard in read_rows(store, previous, ShardRow) if shard.shard not in replaced]
        counted = {"quarantined", "excluded", "recordings", "shards"} | ({"identities"} if not again else set())
        counts.update({name: n for name, n in previous.counts.items() if name not in counted})
        labels = labels or {name: 0 if name in CHANGES else value for name, value in previous.labels.items()}
    if quarantined:
        files.append(write_part(store, "recordings", QUARANTINED, list(quarantined)))
    shards.sort(key=lambda shard: shard.shard)
    files.append(write_part(store, "shards", "shards", list(shards)))
    excluded = sum(row.status == EXCLUDED for row in quarantined)
    counts.update(
        quarantined=len(quarantined) - excluded,
        excluded=excluded,
        shards=len(shards),
        recordings=counts["done"] + counts["partial"] + len(quarantined),
    )
    header = ReleaseHeader(
        number=job.number,
        parent=job.previous,
        code_version=job.code_version,
        fingerprint=job.fingerprint,
        config=with_decisions(job.config, job.policy).model_dump(mode="json"),
        models=job.model_hashes,
        collection=job.collection,
    )
    phones = load_phone_set(job.config.phonemize.voice).content
    try:
        commit(store, header, files, dict(sorted(counts.items())), phones, labels)
    except CommitConflictError:
        if not job.heals:  # the files have other content than the release says; the driver sees that they are still damaged
            raise


def _nothing_usable(failed: list[RecordingRow]) -> EmptyReleaseError:
    """The error of a build all of whose recordings failed, with the most frequent reasons."""
    reasons = Counter(str(row.reason) for row in failed).most_common(_MAX_REASONS)
    examples = {str(row.reason): row for row in reversed(failed)}
    parts = [f"{n} × {reason} (e.g. {examples[reason].uri}: {examples[reason].error})" for reason, n in reasons]
    remedy = examples[reasons[0][0]].remedy
    return EmptyReleaseError(
        f"none of the {len(failed)} recordings can be used, so there is no new release: {'; '.join(parts)}",
        remedy=f"{remedy}; or commit the release with --allow-empty (allow_empty=True)",
    )


def _merge_quarantined(
    store: Store, previous: Release | None, outputs: list[WriterOutput], failed: list[RecordingRow]
) -> list[RecordingRow]:
    """The rows of this build, and those of the previous release for recordings that this build has not finished."""
    rows = {row.recording: row for row in failed}
    if previous is not None:
        done = {recording for output in outputs for recording in output.recordings}
        for row in _quarantined_rows(store, previous):
            if row.recording not in done:
                rows.setdefault(row.recording, row)
    return [rows[recording] for recording in sorted(rows)]


def _quarantined_rows(store: Store, release: Release) -> list[RecordingRow]:
    return [
        row
        for file in release.files_of_kind("recordings")
        if not _is_done_part(file)
        for row in read_part(store, RecordingRow, file.path)
    ]


def _is_done_part(file: ReleaseFile) -> bool:
    return file.kind == "recordings" and not file.path.rsplit("/", 1)[-1].startswith(QUARANTINED)
