"""Plan report: the estimate of `voxbeam plan` as text."""

import os

from rich.console import Console
from rich.table import Table

from voxbeam.commands.display import hours
from voxbeam.pipeline.plan import Plan


def print_plan(plan: Plan, console: Console) -> None:
    """Prints the estimate."""
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
