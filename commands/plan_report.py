"""What `voxbeam plan` shows."""

import os

from rich.console import Console

from voxbeam.commands.display import hours, plural
from voxbeam.commands.report import print_left_out
from voxbeam.commands.terminal import new_table
from voxbeam.pipeline.gpu_rates import GPU_STAGES, GpuRates, seconds_on_gpu
from voxbeam.pipeline.plan import Plan
from voxbeam.pipeline.redo import Redo
from voxbeam.schemas.fingerprint import kind_of_stage


def print_plan(plan: Plan, console: Console) -> None:
    """The estimate of a build."""
    print_left_out(plan.left_out, console)
    for note in plan.notes:
        console.print(note)
    workers = os.cpu_count() or 1
    total_s = sum(plan.seconds.values())
    drawn = f" ± {plan.audio_error:.0%} by {plan.probed} of them, drawn at random" if plan.probed < plan.recordings else ""
    console.print(f"{plural(plan.recordings, 'recording')}, {hours(plan.audio_ms)}{drawn}; {_unusable(plan)}")
    console.print(
        f"Estimated from {hours(plan.measured_ms)} of it: "
        f"{hours(plan.accepted_ms)} accepted in {plural(plan.samples, 'sample')}, "
        f"units {plan.unit_bytes / 1e6:.1f} MB, shards about the same"
    )
    foot = plan.footprint
    console.print(
        f"{plural(foot.units, 'unit')}, {plural(foot.shards, 'shard')}, {plural(foot.objects, 'object')}; "
        f"in a bucket {plural(foot.writes, 'write')} and {plural(foot.reads, 'read')}"
    )
    table = new_table("stage", "worker time", "× real time per worker")
    for stage, seconds in plan.seconds.items():
        table.add_row(stage, hours(seconds * 1000), f"{plan.audio_ms / 1000 / seconds:,.0f}×" if seconds else "—")
    table.add_row("all", hours(total_s * 1000), f"{plan.audio_ms / 1000 / total_s:,.1f}×" if total_s else "—")
    console.print(table)
    console.print(f"On this machine with {plural(workers, 'worker')}: about {hours(total_s * 1000 / workers)}")
    if plan.redo is not None:
        _print_redo(plan, plan.redo, workers, console)


def _print_redo(plan: Plan, redo: Redo, workers: int, console: Console) -> None:
    """What a build would do to an existing corpus."""
    if redo.release is None:
        console.print("The corpus has no release yet: everything is to be done")
        return
    if redo.changes:
        console.print(f"Changed since release {redo.release:06d}: {redo.changes}")
    seconds = redo.seconds(plan.seconds, plan.audio_ms)
    table = new_table("stage", "runs on", "worker time")
    for stage, ms in redo.stage_ms.items():
        table.add_row(stage, hours(ms), hours(seconds.get(stage, 0.0) * 1000))
    console.print(table)
    console.print(
        f"{plural(redo.new_recordings, 'new recording')}; {plural(redo.units, 'unit')} to write, {redo.reused_units} reused; "
        f"with {plural(workers, 'worker')} about {hours(sum(seconds.values()) * 1000 / workers)}"
    )


def _unusable(plan: Plan) -> str:
    if not plan.unusable:
        return "all that were probed can be used"
    kinds = "; ".join(f"{kind.count} × {kind.reason}, e.g. {kind.example}" for kind in plan.unusable_kinds[:5])
    return f"{plan.unusable} of {plan.probed} probed cannot be used: {kinds}"


def print_gpu_plan(plan: Plan, rates: GpuRates | None, console: Console) -> None:
    """The same work on a machine with one GPU: its stages by measured rates, the others as measured on this CPU."""
    known = rates.rates if rates else {}
    table = new_table("stage, with a GPU", "worker time", "× real time", "measured on")
    seconds = seconds_on_gpu(plan.seconds, plan.audio_ms, rates)
    for stage, stage_s in seconds.items():
        if stage_s is None:
            table.add_row(stage, "not measured", "not measured", "")
            continue
        source = known[kind_of_stage(stage)].measured_on if kind_of_stage(stage) in GPU_STAGES else "this CPU"
        table.add_row(stage, hours(stage_s * 1000), f"{plan.audio_ms / 1000 / stage_s:,.0f}×" if stage_s else "—", source)
    console.print(table)
    missing = [stage for stage, stage_s in seconds.items() if stage_s is None]
    if rates is None:
        console.print("No GPU has been measured (docs/gpu.md), so there is no total")
    elif missing:
        console.print(f"{rates.card}, {rates.date[:10]}: {', '.join(missing)} not measured, so there is no total")
    else:
        total_s = sum(stage_s for stage_s in seconds.values() if stage_s is not None)
        console.print(f"With one {rates.card} (rates of {rates.date[:10]}) and one worker: about {hours(total_s * 1000)}")
