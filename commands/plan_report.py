"""What `voxbeam plan` shows."""

import os

from rich.console import Console

from voxbeam.commands.display import hours, plural
from voxbeam.commands.terminal import new_table
from voxbeam.pipeline.plan import Plan


def print_plan(plan: Plan, console: Console) -> None:
    """The estimate of a build."""
    workers = os.cpu_count() or 1
    total_s = sum(plan.seconds.values())
    console.print(
        f"{plural(plan.recordings, 'recording')}, {hours(plan.audio_ms)}; {plan.unusable} of those probed cannot be used"
    )
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
