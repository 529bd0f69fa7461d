"""Released: the recordings and units of the previous release, for a release by another policy. No sound, no model."""

from collections.abc import Iterable, Iterator
from typing import Any

import apache_beam as beam

from voxbeam.pipeline.error_reports import reporting_errors, reports_errors
from voxbeam.pipeline.job import Job
from voxbeam.pipeline.progress import WorkerProgress
from voxbeam.pipeline.steps.counting import CountingFn
from voxbeam.pipeline.steps.probe import excluded_row
from voxbeam.pipeline.steps.unit_file import read_result, unit_path
from voxbeam.pipeline.steps.units import FAILED
from voxbeam.pipeline.steps.windows import plan_windows
from voxbeam.schemas.config import DecodeConfig
from voxbeam.schemas.errors import DamagedUnitError, Failure
from voxbeam.schemas.manifest import EXCLUDED, RELEASED, RecordingRow
from voxbeam.schemas.policy import Policy
from voxbeam.schemas.release import ReleaseFile
from voxbeam.schemas.unit import Unit, UnitResult
from voxbeam.storage.releases import read_part, read_release
from voxbeam.storage.store import Store

FAILED_WINDOWS = "failed_windows"


def released_parts(job: Job) -> Iterator[tuple[str, ReleaseFile]]:
    """The parts of the previous release's table of recordings, by path."""
    with reporting_errors(job):
        assert job.previous is not None
        for file in read_release(job.store, job.previous).files_of_kind("recordings"):
            yield file.path, file


def released_units(row: RecordingRow, config: DecodeConfig, fingerprint: str) -> tuple[list[Unit], list[UnitResult]]:
    """The finished units of a released recording, and the results of those of its windows that failed, each in order.

    A recording that was left out has all of its units, or the build has not made them.
    """
    windows = plan_windows(row.as_listed(), row.as_source(), config, fingerprint)
    if row.status == EXCLUDED:
        return windows, []
    finished = set(row.units)
    lost = [window for window in windows if window.name not in finished]
    if len(lost) != len(row.failed_windows or []) or len(windows) - len(lost) != len(finished):
        raise DamagedUnitError(
            f"the units of {row.recording} are not those of its windows",
            remedy="run `voxbeam build`: it finds or makes all units",
        )
    names = ("stage", "reason", "error", "remedy")
    failures = (Failure(**{name: str(window[name]) for name in names}) for window in row.failed_windows or [])
    failed = [
        UnitResult(unit=unit, start_ms=unit.start_ms, end_ms=unit.end_ms, failure=failure)
        for unit, failure in zip(lost, failures, strict=True)
    ]
    return [window for window in windows if window.name in finished], failed


class ReadReleased(CountingFn):
    """A part of the recordings → their units; failed windows and recordings that are not used leave by side outputs."""

    @reports_errors
    def process(self, keyed: tuple[str, Iterable[ReleaseFile]]) -> Iterator[Any]:
        excluded = self.job.policy.exclude.recordings
        for row in read_part(self.job.store, RecordingRow, keyed[0]):
            if row.status not in (*RELEASED, EXCLUDED):
                yield beam.pvalue.TaggedOutput(FAILED, row)
            elif row.recording in excluded:
                yield beam.pvalue.TaggedOutput(FAILED, excluded_row(row.as_listed(), row.as_source(), excluded[row.recording]))
            else:
                self.reporter.update(WorkerProgress(probed=1, probed_ms=row.duration_ms or 0))
                units, failed = released_units(row, self.job.config.decode, self.job.fingerprint)
                for unit in units:
                    yield unit.name, unit
                for result in failed:
                    yield beam.pvalue.TaggedOutput(FAILED_WINDOWS, result)


def read_finished(store: Store, unit: Unit, policy: Policy) -> UnitResult:
    """The result of a unit by a policy. Raises DamagedUnitError where its file is missing or damaged."""
    path, remedy = unit_path(unit.name), "run `voxbeam build` with the input of the corpus, which makes missing units"
    try:
        return read_result(store.get(path), unit, policy)
    except FileNotFoundError as error:
        raise DamagedUnitError(f"{store.uri(path)}, a unit of {unit.recording.recording}, is missing", remedy=remedy) from error
    except DamagedUnitError as error:
        raise DamagedUnitError(f"{store.uri(path)}: {error.message}", remedy=remedy) from error


class ReadFinishedUnit(CountingFn):
    """Unit → its result."""

    @reports_errors
    def process(self, keyed: tuple[str, Iterable[Unit]]) -> Iterator[UnitResult]:
        unit = next(iter(keyed[1]))
        result = read_finished(self.job.store, unit, self.job.policy)
        done: dict[str, float] = {"reused": unit.end_ms - unit.start_ms}
        change = WorkerProgress(reused_units=1, audio_ms=done, accepted_ms=result.accepted_ms, rejected_ms=result.rejected.ms)
        self.reporter.update(change)
        yield result
