"""Probe: reads the bytes of every listed recording once, for its hash, its true length and its format."""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path

import apache_beam as beam
import pyarrow.parquet as pq

from voxbeam.pipeline.error_reports import reporting_errors, reports_errors
from voxbeam.pipeline.job import Job
from voxbeam.pipeline.progress import WorkerProgress
from voxbeam.pipeline.steps.counting import CountingFn
from voxbeam.safety.tombstones import Tombstones, read_tombstones
from voxbeam.schemas.config import DecodeConfig
from voxbeam.schemas.errors import Failure, StageError, StorageError
from voxbeam.schemas.manifest import EXCLUDED, RecordingRow
from voxbeam.schemas.recording import Recording, SourceInfo
from voxbeam.storage.local_copies import open_local, open_sparse, open_versioned, sha256_of
from voxbeam.transforms.audio.checks import AudioInfo
from voxbeam.transforms.decode import BUILD_AGAIN, estimate_sandboxed, object_errors_are_stage_errors, probe_sandboxed

_LONGER_S, _LONGER_SHARE = 1.0, 1.02
"""by how much a file may be longer than its listing says: the header of a compressed file is that wrong"""


@dataclass(frozen=True, kw_only=True)
class Probed:
    """A listed recording with the identity of its bytes, or with the reason why they cannot be used."""

    recording: Recording
    source: SourceInfo | None = None
    failure: Failure | None = None


def quarantined_row(recording: Recording, failure: Failure, source: SourceInfo | None = None) -> RecordingRow:
    """The manifest row of a recording that cannot be used."""
    return RecordingRow(**vars(recording), **(vars(source) if source else {}), status="quarantined", units=[], **vars(failure))


def excluded_row(recording: Recording, source: SourceInfo, reason: str) -> RecordingRow:
    """The manifest row of a recording that is left out on purpose."""
    told = Failure(stage="exclude", reason="excluded", error=reason, remedy="take it out of exclude.recordings to have it again")
    return RecordingRow(**vars(recording), **vars(source), status=EXCLUDED, units=[], **vars(told))


def refuse_taken_down(probed: Probed, tombstones: Tombstones) -> Probed:
    """The same, or a failure for the bytes of a recording that was taken down, under whatever name: nothing of it is processed.

    What the listing says of a person is left out of the row.
    """
    source = probed.source
    if source is None or not (path := tombstones.naming(probed.recording.recording, source.sha256)):
        return probed
    error = StageError("taken_down", f"these bytes were taken down ({path})", "take the recording out of the input")
    bare = replace(probed.recording, speaker=None, title=None, text=None, extra=None)
    return Probed(recording=bare, failure=Failure.from_exception("probe", error))


def read_job_listing(path: str, job: Job) -> Iterator[Recording]:
    """Recordings of the listing that the build wrote below its output."""
    with reporting_errors(job), open_local(job.store.uri(path)) as local:
        for batch in pq.ParquetFile(local).iter_batches():
            for row in batch.to_pylist():
                yield Recording(**row)


def probe(recording: Recording, config: DecodeConfig, *, identify: bool = True) -> Probed:
    """Identity and format of a recording's bytes, or a failure if they cannot be used.

    Without `identify` nothing is decoded or hashed, and the length is what the header estimates. Raises StorageError for
    what every recording would meet: a store that fails, expired credentials, a full disk.
    """
    try:
        if identify:
            with object_errors_are_stage_errors(), open_versioned(recording.uri) as (path, etag):
                source = _identify(path, etag, config)
        else:
            with object_errors_are_stage_errors(), open_sparse(recording.uri) as (path, fill):
                source = _source(estimate_sandboxed(path, config, fill), path.stat().st_size, "", None)
    except StageError as error:
        return Probed(recording=recording, failure=Failure.from_exception("probe", error))
    except StorageError:
        raise  # the store fails, not this recording
    except OSError as error:
        unreadable = StageError("unreadable", str(error), "check that the file exists, and its owner and mode")
        return Probed(recording=recording, failure=Failure.from_exception("probe", unreadable))
    if failure := _part_of_a_file(recording, source):
        return Probed(recording=recording, failure=Failure.from_exception("probe", failure))
    return Probed(recording=recording, source=source)


def _part_of_a_file(recording: Recording, source: SourceInfo) -> StageError | None:
    """The listing's duration is shorter: the row, its text and its speaker are about the beginning of the file only."""
    listed, found = recording.listed_seconds, source.duration_ms / 1000
    if listed is None or found <= max(listed + _LONGER_S, listed * _LONGER_SHARE):
        return None
    return StageError(
        "part_of_file",
        f"the listing says {listed:.1f} s, the file has {found:.1f} s: the row names a part of it",
        "list whole files; where the column `duration` is not in seconds, rename it or leave it out",
    )


def _identify(path: Path, etag: str | None, config: DecodeConfig) -> SourceInfo:
    before = path.stat() if path.exists() else None
    info, sha256 = probe_sandboxed(path, config), sha256_of(path)
    after = path.stat()
    if before is None or (before.st_ino, before.st_mtime_ns, before.st_size) != (after.st_ino, after.st_mtime_ns, after.st_size):
        raise StageError("replaced", f"{path.name} changed while it was probed", BUILD_AGAIN)
    return _source(info, after.st_size, sha256, etag)


def _source(info: AudioInfo, size: int, sha256: str, etag: str | None) -> SourceInfo:
    return SourceInfo(sha256=sha256, bytes=size, duration_ms=info.duration_ms, etag=etag, **vars(info))


@beam.typehints.with_output_types(tuple[str, Probed])
class ProbeRecordings(CountingFn):
    """Recording → (hash of its bytes, Probed)."""

    tombstones = Tombstones()

    def setup(self) -> None:
        with reporting_errors(self.job):
            self.tombstones = read_tombstones(self.job.store)

    @reports_errors
    def process(self, keyed: tuple[str, Iterable[Recording]]) -> Iterator[tuple[str, Probed]]:
        for recording in keyed[1]:
            probed = refuse_taken_down(probe(recording, self.job.config.decode), self.tombstones)
            change = WorkerProgress(
                probed=1, probed_ms=probed.source.duration_ms if probed.source else 0, quarantined=int(probed.failure is not None)
            )
            self.reporter.update(change)
            yield probed.source.sha256 if probed.source else f"failed {recording.recording}", probed
