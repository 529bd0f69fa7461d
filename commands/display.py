"""Display: what a person sees while a build runs — hours done, × real time and time left, stage by stage."""

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, nullcontext

from rich.console import Console
from rich.live import Live
from rich.table import Table

from voxbeam.pipeline.events import BuildProgress
from voxbeam.pipeline.progress import WorkerProgress
from voxbeam.transforms.chain import STAGES

_LOG_EVERY_S = 20.0


def hours(ms: float) -> str:
    """A duration as a person reads it."""
    seconds = ms / 1000
    if seconds < 120:
        return f"{seconds:.0f} s"
    return f"{seconds / 60:.1f} min" if seconds < 7200 else f"{seconds / 3600:.1f} h"


def progress_line(tallies: WorkerProgress, recordings: int, elapsed_s: float) -> str:
    """The state of a build of so many recordings in one line."""
    done, left = tallies.audio_ms.get(STAGES[-1], 0), tallies.remaining_ms
    speed = done / 1000 / elapsed_s if elapsed_s else 0.0
    eta = hours(left / speed) if speed else "—"
    return (
        f"{tallies.probed} of {recordings} recordings probed, "
        f"{hours(done)} done, {hours(left)} of those left ({speed:.1f}× real time, {eta} to go), "
        f"accepted {hours(tallies.accepted_ms)}, rejected {hours(tallies.rejected_ms)}, "
        f"reused {tallies.reused_units} units, quarantined {tallies.quarantined}"
    )


def progress_table(tallies: WorkerProgress, recordings: int, elapsed_s: float) -> Table:
    """The state of a build, a row a stage."""
    table = Table(title=progress_line(tallies, recordings, elapsed_s), title_justify="left", box=None, header_style="dim")
    for name in ("stage", "audio done", "busy", "× real time per worker"):
        table.add_column(name, justify="left" if name == "stage" else "right")
    for stage in STAGES:
        ms, seconds = tallies.audio_ms.get(stage, 0), tallies.seconds.get(stage, 0.0)
        table.add_row(stage, hours(ms), f"{seconds:.1f} s", f"{ms / 1000 / seconds:,.0f}×" if seconds else "—")
    return table


def slowest_table(tallies: WorkerProgress) -> Table:
    """The units that kept a worker busy longest: where a build that is slower than planned should be looked at."""
    table = Table(title="Slowest units", title_justify="left", box=None, header_style="dim")
    for name in ("recording", "from", "audio", "busy", "× real time", "longest stage"):
        table.add_column(name, justify="left" if name in ("recording", "longest stage") else "right", overflow="fold")
    for unit in tallies.slowest:
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
def showing_progress(output: str, console: Console) -> Iterator[Callable[[BuildProgress], None]]:
    """Shows the events of a build: a live table on a terminal, a line at intervals elsewhere."""
    with Live(console=console, auto_refresh=False, transient=True) if console.is_terminal else nullcontext() as live:
        last = 0.0

        def show(event: BuildProgress) -> None:
            nonlocal last
            if event.message:
                console.print(event.message, highlight=False)
            if event.phase != "run":
                return
            if not last:
                console.print(f"Building from {event.recordings} recordings into {output}")
                last = time.monotonic()
            if live is not None:
                live.update(progress_table(event.workers, event.recordings, event.elapsed_s), refresh=True)
            elif time.monotonic() - last >= _LOG_EVERY_S:
                last = time.monotonic()
                console.print(progress_line(event.workers, event.recordings, event.elapsed_s))

        yield show
