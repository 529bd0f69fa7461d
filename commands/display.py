"""What `build` and `plan` show while they run: hours done, speed and time left, stage by stage."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, nullcontext

from rich.console import Console, Group
from rich.live import Live
from rich.progress import Progress
from rich.table import Table

from voxbeam.commands.terminal import new_table
from voxbeam.pipeline.events import BuildProgress, PlanProgress
from voxbeam.pipeline.progress import DONE, WorkerProgress
from voxbeam.transforms.chain import in_order

_LOG_INTERVAL_S = 20.0


def hours(ms: float) -> str:
    """A duration: `90 s`, `2.5 min` or `3.0 h`."""
    seconds = ms / 1000
    if seconds < 120:
        return f"{seconds:.0f} s"
    return f"{seconds / 60:.1f} min" if seconds < 7200 else f"{seconds / 3600:.1f} h"


def plural(count: int, noun: str) -> str:
    """`1 release`, `2 releases`."""
    return f"{count} {noun}" if count == 1 else f"{count} {noun}s"


def progress_line(workers: WorkerProgress, recordings: int, elapsed_s: float) -> str:
    """The progress of a build in one line."""
    done, remaining = workers.audio_ms.get(DONE, 0), workers.remaining_ms
    speed = done / 1000 / elapsed_s if elapsed_s else 0.0
    eta = hours(remaining / speed) if speed else "—"
    return (
        f"{workers.probed} of {plural(recordings, 'recording')} probed, "
        f"{hours(done)} done, {hours(remaining)} remaining ({speed:.1f}× real time, ETA {eta}), "
        f"accepted {hours(workers.accepted_ms)}, rejected {hours(workers.rejected_ms)}, "
        f"reused {plural(workers.reused_units, 'unit')}, quarantined {workers.quarantined}"
        + (f", {plural(workers.damaged_units, 'damaged unit')} made again" if workers.damaged_units else "")
    )


def progress_table(workers: WorkerProgress) -> Table:
    """The progress of a build, one row for each stage."""
    table = new_table("stage", "audio done", "busy", "× real time per worker")
    for stage in in_order(workers.audio_ms):
        ms, seconds = workers.audio_ms.get(stage, 0), workers.seconds.get(stage, 0.0)
        table.add_row(stage, hours(ms), f"{seconds:.1f} s", f"{ms / 1000 / seconds:,.0f}×" if seconds else "—")
    return table


def slowest_table(workers: WorkerProgress) -> Table:
    """The units that took longest: the place to look when a build is slower than planned."""
    table = new_table("recording", "from", "audio", "busy", "× real time", "longest stage", left=("longest stage",))
    for unit in workers.slowest:
        ms = unit.end_ms - unit.start_ms
        table.add_row(
            unit.recording,
            hours(unit.start_ms),
            hours(ms),
            f"{unit.seconds:.1f} s",
            f"{ms / 1000 / unit.seconds:,.1f}×" if unit.seconds else "—",
            f"{unit.stage}, {unit.stage_seconds:.1f} s",
        )
    return table


@contextmanager
def showing_build(
    output: str, console: Console, doing: str = "Building from {} into"
) -> Iterator[Callable[[BuildProgress], None]]:
    """Shows the events of a build: a live table on a terminal, a line every 20 s elsewhere.

    `doing` says what is done with the recordings, for which `{}` stands, and the corpus.
    """
    with Live(console=console, auto_refresh=False, transient=True) if console.is_terminal else nullcontext() as live:
        last = 0.0

        def show(event: BuildProgress) -> None:
            nonlocal last
            if event.message:
                console.print(event.message)
            if event.phase != "run":
                return
            if not last:
                console.print(f"{doing.format(plural(event.recordings, 'recording'))} {output}")
                last = time.monotonic()
            line = progress_line(event.workers, event.recordings, event.elapsed_s)
            if live is not None:
                live.update(Group(line, progress_table(event.workers)), refresh=True)
            elif time.monotonic() - last >= _LOG_INTERVAL_S:
                last = time.monotonic()
                console.print(line)

        yield show


@contextmanager
def showing_plan(console: Console) -> Iterator[Callable[[PlanProgress], None]]:
    """Shows the events of a plan as a bar, on a terminal only."""
    names = {"list": "Listing recordings", "probe": "Reading headers", "measure": "Measuring the stages on a sample"}
    with Progress(console=console, transient=True, disable=not console.is_terminal) as bar:
        task = bar.add_task("")

        def show(event: PlanProgress) -> None:
            bar.update(task, description=names[event.phase], completed=event.done, total=event.total or None)

        yield show
