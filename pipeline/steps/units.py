"""Work: from the listing to finished units. Everything heavy happens here, in one fused chain; only references leave it."""

import hashlib
import logging
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import apache_beam as beam
import pyarrow.parquet as pq

from voxbeam.pipeline.error_reports import reporting_errors, reports_errors
from voxbeam.pipeline.job import Job
from voxbeam.pipeline.progress import Reporter, SlowUnit, WorkerProgress, get_reporter
from voxbeam.pipeline.steps.previous_release import Parent, parent_of
from voxbeam.pipeline.steps.unit_file import read_result, unit_path, write_unit
from voxbeam.pipeline.steps.windows import plan_windows
from voxbeam.schemas.config import DecodeConfig
from voxbeam.schemas.errors import Failure, StageError, StorageError
from voxbeam.schemas.manifest import RecordingRow
from voxbeam.schemas.recording import Recording, SourceInfo
from voxbeam.schemas.unit import Unit, UnitResult
from voxbeam.storage.store import open_local, open_sparse, open_versioned, sha256_of
from voxbeam.transforms.audio.file import AudioInfo
from voxbeam.transforms.base import UnitState
from voxbeam.transforms.chain import build_stages
from voxbeam.transforms.decode import BUILD_AGAIN, estimate_sandboxed, probe_sandboxed

log = logging.getLogger(__name__)
FAILED = "failed"


@dataclass(frozen=True, kw_only=True)
class Probed:
    """A listed recording, with what its bytes are, or why they cannot be used."""

    recording: Recording
    source: SourceInfo | None = None
    failure: Failure | None = None


def quarantined_row(recording: Recording, failure: Failure, source: SourceInfo | None = None) -> RecordingRow:
    """The manifest row of a recording that cannot be used."""
    return RecordingRow(**vars(recording), **(vars(source) if source else {}), status="quarantined", units=[], **vars(failure))


def read_listing(path: str, job: Job) -> Iterator[Recording]:
    """Recordings of the listing that the build wrote below its output."""
    with reporting_errors(job), open_local(job.store.uri(path)) as local:
        for batch in pq.ParquetFile(local).iter_batches():
            for row in batch.to_pylist():
                yield Recording(**row)


def probe(recording: Recording, config: DecodeConfig, *, identify: bool = True) -> Probed:
    """Identity and shape of a recording's bytes; a failure, not an exception, when they cannot be used.

    Without `identify` nothing is decoded or hashed, and the length is what the header estimates.
    """
    try:
        if identify:
            with open_versioned(recording.uri) as (path, etag):
                source = _identify(path, etag, config)
        else:
            with open_sparse(recording.uri) as (path, fill):
                source = _source(estimate_sandboxed(path, config, fill), path.stat().st_size, "", None)
    except StageError as error:
        return Probed(recording=recording, failure=Failure.from_exception("probe", error))
    except StorageError:
        raise  # the store, not this recording
    except OSError as error:
        unreadable = StageError("unreadable", str(error), "check that the file exists, and its owner and mode")
        return Probed(recording=recording, failure=Failure.from_exception("probe", unreadable))
    return Probed(recording=recording, source=source)


def _identify(path: Path, etag: str | None, config: DecodeConfig) -> SourceInfo:
    before = path.stat() if path.exists() else None
    info, sha256 = probe_sandboxed(path, config), sha256_of(path)
    after = path.stat()
    if before is None or (before.st_ino, before.st_mtime_ns, before.st_size) != (after.st_ino, after.st_mtime_ns, after.st_size):
        raise StageError("replaced", f"{path.name} changed while it was probed", BUILD_AGAIN)
    return _source(info, after.st_size, sha256, etag)


def _source(info: AudioInfo, size: int, sha256: str, etag: str | None) -> SourceInfo:
    return SourceInfo(
        sha256=sha256,
        bytes=size,
        format=info.format,
        sample_rate=info.sample_rate,
        channels=info.channels,
        frames=info.frames,
        duration_ms=info.duration_ms,
        decoder=info.decoder,
        etag=etag,
    )


def sort_out(same_bytes: Iterable[Probed], parent: Parent, grows: bool) -> Iterator[Probed]:
    """Of recordings with the same bytes, the first by identifier that is not released yet; the others fail as duplicates.

    When the release only grows, a recording that it holds already yields nothing, and one that it holds with other bytes fails.
    """
    in_order = sorted(same_bytes, key=lambda probed: probed.recording.recording)
    first = parent.owner_of(in_order) if grows else None
    for probed in in_order:
        name = probed.recording.recording
        taken = grows and parent.holds(name)
        if probed.failure or probed.source is None:
            yield _named_apart(probed) if taken else probed
        elif first is not None and name != first:
            error = StageError("duplicate", f"same bytes as {first}", "take one of the two out of the input")
            failed = replace(probed, failure=Failure.from_exception("probe", error))
            yield _named_apart(failed) if taken else failed
        elif taken and parent.holds(name, probed.source.sha256):
            first = name
        elif taken:
            remedy = "list it under a new identifier, or build into a new output"
            error = StageError("changed", f"{name} was released with other bytes", remedy)
            yield _named_apart(replace(probed, failure=Failure.from_exception("probe", error)))
        else:
            first = name
            yield probed


def _named_apart(probed: Probed) -> Probed:
    """The same under another identifier, because the release holds a recording of that name, which stays."""
    mark = probed.source.sha256 if probed.source else hashlib.sha256(probed.recording.uri.encode()).hexdigest()
    return replace(probed, recording=replace(probed.recording, recording=f"{probed.recording.recording}-{mark[:8]}"))


class _Reporting(beam.DoFn):
    """A step that counts in this process's tallies, and has them written when a bundle ends."""

    def __init__(self, job: Job) -> None:
        self.job = job

    @property
    def reporter(self) -> Reporter:
        return get_reporter(self.job.output, self.job.run)

    def setup(self) -> None:
        _ = self.reporter  # it must be there before the first stage runs, or nobody counts that

    def finish_bundle(self) -> None:
        self.reporter.flush()


@beam.typehints.with_output_types(tuple[str, Probed])
class ProbeRecordings(_Reporting):
    """Recording → (hash of its bytes, Probed)."""

    @reports_errors
    def process(self, keyed: tuple[str, Iterable[Recording]]) -> Iterator[tuple[str, Probed]]:
        for recording in keyed[1]:
            probed = probe(recording, self.job.config.decode)
            change = WorkerProgress(
                probed=1, probed_ms=probed.source.duration_ms if probed.source else 0, quarantined=int(probed.failure is not None)
            )
            self.reporter.update(change)
            yield probed.source.sha256 if probed.source else f"failed {recording.recording}", probed


@beam.typehints.with_output_types(tuple[str, Unit])
class PlanUnits(_Reporting):
    """Recordings with the same bytes → units of work; what cannot be used leaves by the side output FAILED."""

    @reports_errors
    def process(self, keyed: tuple[str, Iterable[Probed]]) -> Iterator[Any]:
        everything = list(keyed[1])
        parent = parent_of(self.job.output, self.job.parent)
        left = list(sort_out(everything, parent, self.job.grows))
        kept = {p.recording.recording for p in everything} - {p.recording.recording for p in left}
        kept_ms = sum(p.source.duration_ms for p in everything if p.source and p.recording.recording in kept)
        failed = [p.source for p in left if p.failure and p.source]  # those without a source were counted when they were probed
        failed_ms = sum(source.duration_ms for source in failed)
        self.reporter.update(WorkerProgress(already_released_ms=kept_ms, quarantined=len(failed), audio_ms={"failed": failed_ms}))
        for probed in left:
            if probed.failure or probed.source is None:
                assert probed.failure is not None
                yield beam.pvalue.TaggedOutput(FAILED, quarantined_row(probed.recording, probed.failure, probed.source))
                continue
            for unit in plan_windows(probed.recording, probed.source, self.job.config.decode, self.job.fingerprint):
                yield unit.name, unit


class ResumeUnit(_Reporting):
    """Unit → work; already with its result when an earlier run, or an earlier try of this one, finished it."""

    @reports_errors
    def process(self, keyed: tuple[str, Iterable[Unit]]) -> Iterator[UnitState]:
        name, units = keyed
        unit = next(iter(units))
        try:
            result = read_result(self.job.store.get(unit_path(name)), unit)
        except FileNotFoundError:
            yield UnitState(unit=unit)
            return
        self.reporter.update(_heard(result, reused_units=1, audio_ms={"reused": unit.end_ms - unit.start_ms}))
        yield UnitState(unit=unit, result=result)


class PutUnit(_Reporting):
    """Work → result, once its file lies in the store. A unit that failed leaves no file, so that a later run tries it again."""

    @reports_errors
    def process(self, work: UnitState) -> Iterator[UnitResult]:
        if work.result:
            yield work.result
            return
        unit = work.unit
        if work.failure:
            failed: dict[str, float] = {"failed": unit.end_ms - unit.start_ms}
            self.reporter.update(WorkerProgress(quarantined=1, audio_ms=failed, slowest=[SlowUnit.of(work)]))
            yield UnitResult(unit=unit, start_ms=unit.start_ms, end_ms=unit.end_ms, failure=work.failure)
            return
        result, content = write_unit(work, keep_audio=self.job.config.pack.keep_audio)
        self.job.store.put_new(unit_path(unit.name), content)
        self.reporter.update(_heard(result, units=1, slowest=[SlowUnit.of(work)]))
        yield result


def _heard(result: UnitResult, **more: Any) -> WorkerProgress:
    return WorkerProgress(accepted_ms=result.accepted_ms, rejected_ms=result.rejected.ms, **more)


class FinishUnits(beam.PTransform):
    """Grouped units → UnitResults, through every stage that is not done yet.

    One chain of ParDos with the same resource hints, which runners fuse; a hint inside it would break it in two.
    """

    def __init__(self, job: Job) -> None:
        super().__init__()
        self.job = job

    def expand(self, grouped: beam.PCollection) -> beam.PCollection:
        work = grouped | "ResumeUnit" >> beam.ParDo(ResumeUnit(self.job)).with_output_types(UnitState)
        for stage in build_stages(self.job.config):
            work = work | stage
        return work | "PutUnit" >> beam.ParDo(PutUnit(self.job)).with_output_types(UnitResult)
