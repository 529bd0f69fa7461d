"""Plan: what a build would take, measured on a small sample of the input and projected. Builds nothing.

The sample is windows of up to a minute from recordings spread over the listing, run through the very stages of the build.
"""

import os
from collections.abc import Sequence
from dataclasses import dataclass

from rich.console import Console
from rich.progress import track
from rich.table import Table

from voxbeam.commands.display import hours
from voxbeam.models.threads import pin_threads
from voxbeam.pipeline.cost_model import Footprint, footprint
from voxbeam.pipeline.progress import add_up
from voxbeam.pipeline.steps.discover import list_recordings
from voxbeam.pipeline.steps.unit_file import write_unit
from voxbeam.pipeline.steps.units import Probed, probe
from voxbeam.pipeline.steps.windows import plan_windows
from voxbeam.schemas.config import CorpusConfig
from voxbeam.schemas.recording import Recording
from voxbeam.schemas.unit import Unit
from voxbeam.transforms.base import UnitStage, UnitWork
from voxbeam.transforms.chain import stages_of

_SAMPLE_WINDOW_MS = 60_000
_PROBED_AT_MOST = 2_000


@dataclass(frozen=True, kw_only=True)
class Plan:
    """A projection of a build."""

    recordings: int
    unusable: int
    """of the recordings probed, how many would be quarantined at once"""
    audio_ms: int
    measured_ms: int
    """audio that was measured on"""
    seconds: dict[str, float]
    """stage → worker-seconds for everything"""
    accepted_ms: int
    samples: int
    unit_bytes: int
    footprint: Footprint


def plan(input_uri: str, config: CorpusConfig, sample_minutes: float, console: Console) -> Plan:
    """Projects a build. Raises ListingError for an input that cannot be listed."""
    pin_threads()
    recordings = list(list_recordings(input_uri, config.listing))
    probed = _probe_some(recordings, config, console)
    usable = [p for p in probed if p.source]
    share = len(probed) / len(recordings)
    audio_ms = round(sum(p.source.duration_ms for p in usable if p.source) / share)
    units = _sample_units(usable, config, round(sample_minutes * 60_000))
    seconds: dict[str, float] = {}
    accepted_ms = samples = unit_bytes = shard_bytes = measured_ms = 0
    stages = stages_of(config)
    for number, unit in enumerate(track(units, "Measuring the stages on a sample", console=console)):
        if number == 0:
            _through(stages, unit)  # loads the models, and is not counted
        work = _through(stages, unit)
        if work.failure or work.audio is None:
            continue
        result, content = write_unit(work, keep_audio=config.pack.keep_audio)
        measured_ms += work.audio.end_ms - work.audio.start_ms
        add_up(seconds, work.seconds)
        accepted_ms += result.accepted_ms
        samples += sum(tally.segments for tally in result.accepted.values())
        shard_bytes += sum(tally.bytes for tally in result.accepted.values())
        unit_bytes += len(content)
    scale = audio_ms / measured_ms if measured_ms else 0.0
    windows = sum(len(plan_windows(p.recording, p.source, config.decode, "plan")) for p in usable if p.source)
    input_bytes = round(sum(p.source.bytes for p in usable if p.source) / share)
    return Plan(
        recordings=len(recordings),
        unusable=sum(p.failure is not None for p in probed),
        audio_ms=audio_ms,
        measured_ms=measured_ms,
        seconds={stage: s * scale for stage, s in seconds.items()},
        accepted_ms=round(accepted_ms * scale),
        samples=round(samples * scale),
        unit_bytes=round(unit_bytes * scale),
        footprint=footprint(len(recordings), round(windows / share), input_bytes, round(shard_bytes * scale), config.pack),
    )


def print_plan(plan: Plan, console: Console) -> None:
    """The projection as a person reads it."""
    workers = os.cpu_count() or 1
    total_s = sum(plan.seconds.values())
    console.print(f"{plan.recordings} recordings, {hours(plan.audio_ms)}; {plan.unusable} of those probed cannot be used")
    console.print(
        f"Projected from {hours(plan.measured_ms)} of it: {hours(plan.accepted_ms)} accepted in {plan.samples} samples, "
        f"units {plan.unit_bytes / 1e6:.1f} MB, shards as much again"
    )
    foot = plan.footprint
    console.print(
        f"{foot.units} units of work, {foot.shards} shards, {foot.objects} objects; in a bucket {foot.writes} writes and "
        f"{foot.reads} reads"
    )
    table = Table(box=None)
    for name in ("stage", "worker time", "× real time per worker"):
        table.add_column(name, justify="left" if name == "stage" else "right")
    for stage, seconds in plan.seconds.items():
        table.add_row(stage, hours(seconds * 1000), f"{plan.audio_ms / 1000 / seconds:,.0f}×" if seconds else "—")
    table.add_row("all", hours(total_s * 1000), f"{plan.audio_ms / 1000 / total_s:,.1f}×" if total_s else "—")
    console.print(table)
    console.print(f"On this machine with {workers} workers: about {hours(total_s * 1000 / workers)}")


def _probe_some(recordings: Sequence[Recording], config: CorpusConfig, console: Console) -> list[Probed]:
    step = max(1, len(recordings) // _PROBED_AT_MOST)
    return [
        probe(recording, config.decode, identify=False)
        for recording in track(recordings[::step], "Reading headers", console=console, transient=True)
    ]


def _sample_units(usable: Sequence[Probed], config: CorpusConfig, sample_ms: int) -> list[Unit]:
    """Windows spread evenly over the recordings, from the middle of each."""
    count = min(len(usable), max(1, sample_ms // _SAMPLE_WINDOW_MS * 2))
    units: list[Unit] = []
    chosen_ms = 0
    for probed in usable[:: max(1, len(usable) // max(1, count))]:
        unit = _middle(probed, config)
        units.append(unit)
        chosen_ms += unit.end_ms - unit.start_ms
        if chosen_ms >= sample_ms:
            break
    return units


def _middle(probed: Probed, config: CorpusConfig) -> Unit:
    recording, source = probed.recording, probed.source
    assert source is not None
    start = max(0, (source.duration_ms - _SAMPLE_WINDOW_MS) // 2)
    end = min(source.duration_ms, start + _SAMPLE_WINDOW_MS)
    margin = round(config.decode.margin_s * 1000)
    return Unit(recording=recording, source=source, index=0, start_ms=start, end_ms=end, margin_ms=margin, fingerprint="plan")


def _through(stages: Sequence[UnitStage], unit: Unit) -> UnitWork:
    work = UnitWork(unit=unit)
    for stage in stages:
        work = stage.run_timed(work)
    return work
