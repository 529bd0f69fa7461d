"""Plan: estimates what a build takes by measuring a small sample of the input. Builds nothing.

The sample is windows of up to a minute, from recordings spread over those that were probed. They run through the stages of the
build.
"""

from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field, replace

from voxbeam.models.threads import pin_threads
from voxbeam.pipeline.cost_model import Footprint, footprint
from voxbeam.pipeline.events import PlanProgress
from voxbeam.pipeline.plan_sample import UnusableKind, probe_sample
from voxbeam.pipeline.progress import accumulate
from voxbeam.pipeline.redo import Redo, find_redo
from voxbeam.pipeline.steps.discover import discover
from voxbeam.pipeline.steps.input_files import LeftOut
from voxbeam.pipeline.steps.probe import Probed
from voxbeam.pipeline.steps.unit_file import read_result, read_unit_rows, write_unit
from voxbeam.pipeline.steps.windows import plan_windows
from voxbeam.schemas.config import CorpusConfig
from voxbeam.schemas.errors import ConfigError, Failure, StageError
from voxbeam.schemas.policy import Policy
from voxbeam.schemas.unit import Unit
from voxbeam.storage.overlays import read_overlays
from voxbeam.storage.store import Store
from voxbeam.transforms.base import UnitStage, UnitState
from voxbeam.transforms.chain import build_stages

_SAMPLE_WINDOW_MS = 60_000
_SURE = 0.99  # of the length that a header states

OnProgress = Callable[[PlanProgress], None]


@dataclass(frozen=True, kw_only=True)
class Plan:
    """Estimate of a build."""

    recordings: int
    probed: int
    """recordings whose headers were read: drawn at random, or all"""
    unusable: int
    """those of the probed that would be quarantined at once"""
    audio_ms: int
    audio_error: float
    """half of the 95 % interval of `audio_ms`, as a fraction of it; 0 if all were probed"""
    measured_ms: int
    """audio that was measured"""
    seconds: dict[str, float]
    """stage → worker-seconds for the whole input"""
    accepted_ms: int
    samples: int
    unit_bytes: int
    footprint: Footprint
    unusable_kinds: tuple[UnusableKind, ...] = ()
    """the unusable ones by reason"""
    left_out: tuple[LeftOut, ...] = ()
    """files of the input that are no recordings, by kind"""
    redo: Redo | None = None
    """what a build into an output that was named would do again"""
    notes: tuple[str, ...] = ()
    """what the user should know about the input, e.g. how many recordings name no speaker"""


def plan(
    input_uri: str,
    config: CorpusConfig | None = None,
    *,
    output_uri: str | None = None,
    sample_minutes: float = 3.0,
    on_progress: OnProgress | None = None,
) -> Plan:
    """Estimates a build from about `sample_minutes` of its input; with `output_uri`, also what it would do again there.

    Raises ListingError for an input that cannot be listed or of which nothing that was probed can be used, StageError if no
    window of it can be processed, ModelError for a model that cannot be loaded.
    """
    if not 0 < sample_minutes < 1e6:
        raise ConfigError(f"sample_minutes is {sample_minutes:g}", remedy="measure a few minutes, e.g. 3")
    config = read_overlays(config or CorpusConfig())
    report: OnProgress = on_progress or (lambda event: None)
    pin_threads()
    report(PlanProgress(phase="list"))
    found = discover(input_uri, config.listing)
    recordings = found.recordings
    sample = probe_sample(
        recordings, config.decode, lambda done, total: report(PlanProgress(phase="probe", done=done, total=total))
    )
    usable, fraction = sample.usable, sample.fraction
    audio_ms = round(sum(p.source.duration_ms for p in usable if p.source) / fraction)
    units = _sample_units(usable, config, round(sample_minutes * 60_000))
    measured = _measure(units, config, report)
    scale = audio_ms / measured.ms
    windows = sum(len(plan_windows(p.recording, p.source, config.decode, "plan")) for p in usable if p.source)
    redo = None
    if output_uri is not None:
        redo = find_redo(Store(output_uri), recordings, config, audio_ms, round(windows / fraction))
    input_bytes = round(sum(p.source.bytes for p in usable if p.source) / fraction)
    shard_bytes = round(measured.shard_bytes * scale)
    return Plan(
        recordings=len(recordings),
        probed=len(sample.probed),
        unusable=len(sample.probed) - len(usable),
        unusable_kinds=sample.unusable(),
        audio_ms=audio_ms,
        audio_error=sample.duration_error,
        measured_ms=measured.ms,
        seconds={stage: s * scale for stage, s in measured.seconds.items()},
        accepted_ms=round(measured.accepted_ms * scale),
        samples=round(measured.samples * scale),
        unit_bytes=round(measured.unit_bytes * scale),
        footprint=footprint(len(recordings), round(windows / fraction), input_bytes, shard_bytes, config.pack),
        left_out=found.left_out,
        redo=redo,
        notes=(*found.notes, *measured.notes()),
    )


@dataclass(kw_only=True)
class _Measured:
    """Sums over the windows that went through the stages."""

    ms: int = 0
    accepted_ms: int = 0
    samples: int = 0
    unit_bytes: int = 0
    shard_bytes: int = 0
    seconds: dict[str, float] = field(default_factory=dict)
    reasons: Counter[str] = field(default_factory=Counter)
    """why segments were rejected"""
    failures: list[Failure] = field(default_factory=list)

    def notes(self) -> Iterator[str]:
        """Messages for the user."""
        if self.failures:
            yield f"{len(self.failures)} of the windows could not be measured, e.g. {self.failures[0].error}"
        if not self.samples:
            why = ", ".join(f"{count} × {reason}" for reason, count in self.reasons.most_common(5)) or "no speech was found"
            yield f"No sample would be accepted of what was measured: {why}"


def _measure(units: Sequence[Unit], config: CorpusConfig, report: OnProgress) -> _Measured:
    """Runs windows through all stages. Raises StageError if none of them can be processed."""
    found, policy = _Measured(), Policy.of(config)
    stages = build_stages(config)
    for number, unit in enumerate(units):
        report(PlanProgress(phase="measure", done=number, total=len(units)))
        if not found.ms:
            _run_stages(stages, unit)  # loads the models; not measured
        work = _run_stages(stages, unit)
        if work.failure is not None or work.audio is None:
            found.failures += [work.failure] if work.failure is not None else []
            continue
        content = write_unit(work, {}, keep_audio=config.pack.keep_audio)
        result = read_result(content, unit, policy)
        found.ms += work.audio.end_ms - work.audio.start_ms
        accumulate(found.seconds, work.seconds)
        found.accepted_ms += result.accepted_ms
        found.samples += sum(tally.segments for tally in result.accepted.values())
        found.shard_bytes += sum(tally.bytes for tally in result.accepted.values())
        found.unit_bytes += len(content)
        rows = read_unit_rows(content, policy, unit.recording.language, whole=False)
        found.reasons.update(reason for row in rows for reason in row.reasons)
    report(PlanProgress(phase="measure", done=len(units), total=len(units)))
    if not found.ms:
        first = found.failures[0]
        text = f"none of the {len(units)} windows that were measured can be processed, e.g. {first.stage}: {first.error}"
        raise StageError(first.reason, text, first.remedy)
    return found


def _sample_units(usable: Sequence[Probed], config: CorpusConfig, sample_ms: int) -> list[Unit]:
    """Windows of about `sample_ms` in all, spread evenly over the recordings, from the middle of each."""
    windows = [_middle_window(probed, config) for probed in usable]
    total_ms = sum(unit.end_ms - unit.start_ms for unit in windows)
    count = min(len(windows), max(1, round(len(windows) * sample_ms / total_ms)))
    return [windows[(2 * number + 1) * len(windows) // (2 * count)] for number in range(count)]


def _middle_window(probed: Probed, config: CorpusConfig) -> Unit:
    recording, source = probed.recording, probed.source
    assert source is not None
    # The length is what the header says; the sound may end a little earlier.
    source = replace(source, frames=round(source.frames * _SURE), duration_ms=round(source.duration_ms * _SURE))
    start = max(0, (source.duration_ms - _SAMPLE_WINDOW_MS) // 2)
    end = min(source.duration_ms, start + _SAMPLE_WINDOW_MS)
    margin = round(config.decode.margin_s * 1000)
    return Unit(recording=recording, source=source, index=0, start_ms=start, end_ms=end, margin_ms=margin, fingerprint="plan")


def _run_stages(stages: Sequence[UnitStage], unit: Unit) -> UnitState:
    work = UnitState(unit=unit)
    for stage in stages:
        work = stage.run_timed(work)
    return work
