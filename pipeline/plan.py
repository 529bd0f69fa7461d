"""Plan: estimates what a build takes by measuring a small sample of the input. Builds nothing.

The sample is windows of up to a minute, from recordings spread over the listing. They run through the stages of the build.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from voxbeam.models.threads import pin_threads
from voxbeam.pipeline.cost_model import Footprint, footprint
from voxbeam.pipeline.events import PlanProgress
from voxbeam.pipeline.progress import accumulate
from voxbeam.pipeline.redo import Redo, find_redo
from voxbeam.pipeline.steps.discover import discover
from voxbeam.pipeline.steps.input_files import LeftOut
from voxbeam.pipeline.steps.probe import Probed, probe
from voxbeam.pipeline.steps.unit_file import read_result, write_unit
from voxbeam.pipeline.steps.windows import plan_windows
from voxbeam.schemas.config import CorpusConfig
from voxbeam.schemas.policy import Policy
from voxbeam.schemas.recording import Recording
from voxbeam.schemas.unit import Unit
from voxbeam.storage.overlays import read_overlays
from voxbeam.storage.store import Store
from voxbeam.transforms.base import UnitStage, UnitState
from voxbeam.transforms.chain import build_stages

_SAMPLE_WINDOW_MS = 60_000
_MAX_PROBED = 2_000

OnProgress = Callable[[PlanProgress], None]


@dataclass(frozen=True, kw_only=True)
class Plan:
    """Estimate of a build."""

    recordings: int
    unusable: int
    """of the recordings probed, how many would be quarantined at once"""
    audio_ms: int
    measured_ms: int
    """audio that was measured"""
    seconds: dict[str, float]
    """stage → worker-seconds for the whole input"""
    accepted_ms: int
    samples: int
    unit_bytes: int
    footprint: Footprint
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

    Raises ListingError for an input that cannot be listed, ModelError for a model that cannot be loaded.
    """
    config = read_overlays(config or CorpusConfig())
    policy = Policy.of(config)
    report: OnProgress = on_progress or (lambda event: None)
    pin_threads()
    report(PlanProgress(phase="list"))
    found = discover(input_uri, config.listing)
    recordings = found.recordings
    probed = _probe_sample(recordings, config, report)
    usable = [p for p in probed if p.source]
    fraction = len(probed) / len(recordings)
    audio_ms = round(sum(p.source.duration_ms for p in usable if p.source) / fraction)
    units = _sample_units(usable, config, round(sample_minutes * 60_000))
    seconds: dict[str, float] = {}
    accepted_ms = samples = unit_bytes = shard_bytes = measured_ms = 0
    stages = build_stages(config)
    for number, unit in enumerate(units):
        report(PlanProgress(phase="measure", done=number, total=len(units)))
        if number == 0:
            _run_stages(stages, unit)  # loads the models; not measured
        work = _run_stages(stages, unit)
        if work.failure or work.audio is None:
            continue
        content = write_unit(work, {}, keep_audio=config.pack.keep_audio)
        result = read_result(content, unit, policy)
        measured_ms += work.audio.end_ms - work.audio.start_ms
        accumulate(seconds, work.seconds)
        accepted_ms += result.accepted_ms
        samples += sum(tally.segments for tally in result.accepted.values())
        shard_bytes += sum(tally.bytes for tally in result.accepted.values())
        unit_bytes += len(content)
    report(PlanProgress(phase="measure", done=len(units), total=len(units)))
    scale = audio_ms / measured_ms if measured_ms else 0.0
    windows = sum(len(plan_windows(p.recording, p.source, config.decode, "plan")) for p in usable if p.source)
    redo = None
    if output_uri is not None:
        redo = find_redo(Store(output_uri), recordings, config, audio_ms, round(windows / fraction))
    input_bytes = round(sum(p.source.bytes for p in usable if p.source) / fraction)
    return Plan(
        recordings=len(recordings),
        unusable=sum(p.failure is not None for p in probed),
        audio_ms=audio_ms,
        measured_ms=measured_ms,
        seconds={stage: s * scale for stage, s in seconds.items()},
        accepted_ms=round(accepted_ms * scale),
        samples=round(samples * scale),
        unit_bytes=round(unit_bytes * scale),
        footprint=footprint(len(recordings), round(windows / fraction), input_bytes, round(shard_bytes * scale), config.pack),
        left_out=found.left_out,
        redo=redo,
        notes=found.notes,
    )


def _probe_sample(recordings: Sequence[Recording], config: CorpusConfig, report: OnProgress) -> list[Probed]:
    """Probes recordings spread over the listing, _MAX_PROBED or a few more, without hashing them."""
    chosen = recordings[:: max(1, len(recordings) // _MAX_PROBED)]
    probed: list[Probed] = []
    for recording in chosen:
        report(PlanProgress(phase="probe", done=len(probed), total=len(chosen)))
        probed.append(probe(recording, config.decode, identify=False))
    return probed


def _sample_units(usable: Sequence[Probed], config: CorpusConfig, sample_ms: int) -> list[Unit]:
    """Windows spread evenly over the recordings, from the middle of each."""
    count = min(len(usable), max(1, sample_ms // _SAMPLE_WINDOW_MS * 2))
    units: list[Unit] = []
    chosen_ms = 0
    for probed in usable[:: max(1, len(usable) // max(1, count))]:
        unit = _middle_window(probed, config)
        units.append(unit)
        chosen_ms += unit.end_ms - unit.start_ms
        if chosen_ms >= sample_ms:
            break
    return units


def _middle_window(probed: Probed, config: CorpusConfig) -> Unit:
    recording, source = probed.recording, probed.source
    assert source is not None
    start = max(0, (source.duration_ms - _SAMPLE_WINDOW_MS) // 2)
    end = min(source.duration_ms, start + _SAMPLE_WINDOW_MS)
    margin = round(config.decode.margin_s * 1000)
    return Unit(recording=recording, source=source, index=0, start_ms=start, end_ms=end, margin_ms=margin, fingerprint="plan")


def _run_stages(stages: Sequence[UnitStage], unit: Unit) -> UnitState:
    work = UnitState(unit=unit)
    for stage in stages:
        work = stage.run_timed(work)
    return work
