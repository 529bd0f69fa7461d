"""Units: from probed recordings to finished units. All models run here, in one fused chain; only references leave it."""

import hashlib
import logging
from collections.abc import Iterable, Iterator
from dataclasses import replace
from typing import Any

import apache_beam as beam

from voxbeam.pipeline.error_reports import reports_errors
from voxbeam.pipeline.job import Job
from voxbeam.pipeline.progress import DONE, SlowUnit, WorkerProgress
from voxbeam.pipeline.same_models import require_same_models
from voxbeam.pipeline.steps.counting import CountingFn
from voxbeam.pipeline.steps.previous_release import PreviousRelease, open_previous_release
from voxbeam.pipeline.steps.probe import Probed, excluded_row, quarantined_row
from voxbeam.pipeline.steps.unit_file import (
    read_earlier,
    read_result,
    read_stages,
    unit_path,
    window_folder,
    write_unit,
)
from voxbeam.pipeline.steps.windows import plan_windows
from voxbeam.schemas.errors import DamagedUnitError, Failure, StageError
from voxbeam.schemas.manifest import DUPLICATE
from voxbeam.schemas.unit import Unit, UnitResult
from voxbeam.transforms.base import UnitState
from voxbeam.transforms.chain import build_stages
from voxbeam.transforms.reuse import EarlierUnit, cost_of, stages_to_run

log = logging.getLogger(__name__)
FAILED = "failed"
"""side output of recordings that cannot or shall not be used"""


def deduplicate(same_bytes: Iterable[Probed], previous: PreviousRelease, extends_previous: bool) -> Iterator[Probed]:
    """Recordings with the same bytes → the first by identifier; the others fail as duplicates.

    A build that extends the previous release skips a recording that the release contains, and fails one that it contains with
    other bytes.
    """
    in_order = sorted(same_bytes, key=lambda probed: probed.recording.recording)
    first = previous.recording_with_bytes(in_order) if extends_previous else None
    for probed in in_order:
        name = probed.recording.recording
        released = extends_previous and previous.contains(name)
        if probed.failure or probed.source is None:
            yield _rename_to_avoid_clash(probed) if released else probed
        elif first is not None and name != first:
            error = StageError(DUPLICATE, f"same bytes as {first}", "take one of the two out of the input")
            failed = replace(probed, failure=Failure.from_exception("probe", error))
            yield _rename_to_avoid_clash(failed) if released else failed
        elif released and previous.contains(name, probed.source.sha256):
            first = name
        elif released:
            remedy = "list it under a new identifier, or build into a new output"
            error = StageError("changed", f"{name} was released with other bytes", remedy)
            yield _rename_to_avoid_clash(replace(probed, failure=Failure.from_exception("probe", error)))
        else:
            first = name
            yield probed


def _rename_to_avoid_clash(probed: Probed) -> Probed:
    """The same under another identifier: the release contains another recording of that name, and keeps it."""
    suffix = probed.source.sha256 if probed.source else hashlib.sha256(probed.recording.uri.encode()).hexdigest()
    return replace(probed, recording=replace(probed.recording, recording=f"{probed.recording.recording}-{suffix[:8]}"))


@beam.typehints.with_output_types(tuple[str, Unit])
class PlanUnits(CountingFn):
    """Recordings with the same bytes → units; recordings that cannot be used leave by the side output FAILED."""

    @reports_errors
    def process(self, keyed: tuple[str, Iterable[Probed]]) -> Iterator[Any]:
        everything = list(keyed[1])
        previous = open_previous_release(self.job.output, self.job.previous)
        remaining = list(deduplicate(everything, previous, self.job.extends_previous))
        self._count(everything, remaining)
        excluded = self.job.policy.exclude.recordings
        for probed in remaining:
            name = probed.recording.recording
            if name in excluded and probed.source is not None and probed.failure is None:
                yield beam.pvalue.TaggedOutput(FAILED, excluded_row(probed.recording, probed.source, excluded[name]))
                continue
            if probed.failure or probed.source is None:
                assert probed.failure is not None
                yield beam.pvalue.TaggedOutput(FAILED, quarantined_row(probed.recording, probed.failure, probed.source))
                continue
            for unit in plan_windows(probed.recording, probed.source, self.job.config.decode, self.job.fingerprint):
                yield unit.name, unit

    def _count(self, everything: list[Probed], remaining: list[Probed]) -> None:
        released = {p.recording.recording for p in everything} - {p.recording.recording for p in remaining}
        released_ms = sum(p.source.duration_ms for p in everything if p.source and p.recording.recording in released)
        failed = [p.source for p in remaining if p.failure and p.source]  # ProbeRecordings counted those without a source
        failed_ms = sum(source.duration_ms for source in failed)
        self.reporter.update(
            WorkerProgress(already_released_ms=released_ms, quarantined=len(failed), audio_ms={"failed": failed_ms})
        )


class LoadFinishedUnit(CountingFn):
    """Unit → state; with its result if an earlier run, or an earlier attempt of this one, finished it.

    A unit file that does not match its checksum counts as not finished: it is deleted and made again. A unit that is not finished
    begins with what another of the same window knows, and needs the models that the job names.
    """

    @reports_errors
    def process(self, keyed: tuple[str, Iterable[Unit]]) -> Iterator[UnitState]:
        name, units = keyed
        unit = next(iter(units))
        try:
            result = read_result(self.job.store.get(unit_path(name)), unit, self.job.policy)
        except FileNotFoundError:
            require_same_models(self.job)
            yield UnitState(unit=unit, earlier=self._find_earlier(unit))
            return
        except DamagedUnitError as error:
            log.warning("%s: %s", self.job.store.uri(unit_path(name)), error)
            self.job.store.delete([unit_path(name)])
            self.reporter.update(WorkerProgress(damaged_units=1))
            require_same_models(self.job)
            yield UnitState(unit=unit, earlier=self._find_earlier(unit))
            return
        self.reporter.update(_progress_delta(result, reused_units=1, audio_ms={"reused": unit.end_ms - unit.start_ms}))
        yield UnitState(unit=unit, result=result)

    def _find_earlier(self, unit: Unit) -> EarlierUnit | None:
        """The unit of the same window that leaves least to do; None if none leaves less than everything."""
        store, wanted = self.job.store, unit.stages(self.job.stages)
        best: tuple[int, str, frozenset[str], bytes] | None = None
        for path in sorted(path for path, _ in store.walk(window_folder(unit.window))):
            try:
                content = store.get(path)
                run = stages_to_run(read_stages(content), wanted)
            except (FileNotFoundError, DamagedUnitError) as error:  # whoever needs that unit finds out
                log.debug("%s: %s", store.uri(path), error)
                continue
            if len(run) < len(wanted) and (best is None or cost_of(run) < best[0]):
                best = cost_of(run), path, run, content
        return None if best is None else read_earlier(best[3], best[2])


class WriteUnit(CountingFn):
    """State → result, once its file is in the store. A failed unit leaves no file, so a later run tries it again."""

    @reports_errors
    def process(self, state: UnitState) -> Iterator[UnitResult]:
        if state.result:
            yield state.result
            return
        unit = state.unit
        if state.failure:
            failed: dict[str, float] = {"failed": unit.end_ms - unit.start_ms}
            self.reporter.update(WorkerProgress(quarantined=1, audio_ms=failed, slowest=[SlowUnit.of(state)]))
            yield UnitResult(unit=unit, start_ms=unit.start_ms, end_ms=unit.end_ms, failure=state.failure)
            return
        content = write_unit(state, unit.stages(self.job.stages), keep_audio=self.job.config.pack.keep_audio)
        self.job.store.put_if_absent(unit_path(unit.name), content)
        result = read_result(content, unit, self.job.policy)
        done: dict[str, float] = {DONE: unit.end_ms - unit.start_ms}
        slowest = [SlowUnit.of(state)] if state.seconds else []
        self.reporter.update(_progress_delta(result, units=1, audio_ms=done, slowest=slowest))
        yield result


def _progress_delta(result: UnitResult, **more: Any) -> WorkerProgress:
    return WorkerProgress(accepted_ms=result.accepted_ms, rejected_ms=result.rejected.ms, **more)


class ProcessUnits(beam.PTransform):
    """Grouped units → UnitResults, through every stage of units that are not finished.

    One chain of ParDos with the same resource hints, which runners fuse; a hint inside it would break it in two.
    """

    def __init__(self, job: Job) -> None:
        super().__init__()
        self.job = job

    def expand(self, grouped: beam.PCollection) -> beam.PCollection:
        states = grouped | "LoadFinishedUnit" >> beam.ParDo(LoadFinishedUnit(self.job)).with_output_types(UnitState)
        for stage in build_stages(self.job.config):
            states = states | stage
        return states | "WriteUnit" >> beam.ParDo(WriteUnit(self.job)).with_output_types(UnitResult)
