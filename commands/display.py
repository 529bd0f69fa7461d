"""Display: what a person sees while a build runs — hours done, × real time and time left, stage by stage."""

import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager

from rich.console import Console
from rich.live import Live
from rich.table import Table

from voxbeam.pipeline.progress import Tallies, read_tallies
from voxbeam.storage.store import Store, is_bucket

STAGES = ("decode", "diarize", "segment", "transcribe", "score", "filter", "phonemize", "tokenize")
_TERMINAL_EVERY_S = 0.5
_BUCKET_EVERY_S = 10.0
"""workers write to a bucket no oftener, and a look takes a request for each of them"""
_LOG_EVERY_S = 20.0


def hours(ms: float) -> str:
    """A duration as a person reads it."""
    seconds = ms / 1000
    if seconds < 120:
        return f"{seconds:.0f} s"
    return f"{seconds / 60:.1f} min" if seconds < 7200 else f"{seconds / 3600:.1f} h"


def work_left_ms(tallies: Tallies) -> float:
    """Audio probed but not yet through the last stage, nor reused, nor released, nor in quarantine."""
    settled = sum(tallies.audio_ms.get(name, 0) for name in ("reused", "failed", STAGES[-1]))
    return max(0, tallies.probed_ms - tallies.kept_ms - settled)


def progress_line(tallies: Tallies, recordings: int, elapsed_s: float) -> str:
    """The state of a build of so many recordings in one line."""
    done, left = tallies.audio_ms.get(STAGES[-1], 0), work_left_ms(tallies)
    speed = done / 1000 / elapsed_s if elapsed_s else 0.0
    eta = hours(left / speed) if speed else "—"
    return (
        f"{tallies.probed} of {recordings} recordings probed, "
        f"{hours(done)} done, {hours(left)} of those left ({speed:.1f}× real time, {eta} to go), "
        f"accepted {hours(tallies.accepted_ms)}, rejected {hours(tallies.rejected_ms)}, "
        f"reused {tallies.reused_units} units, quarantined {tallies.quarantined}"
    )


def progress_table(tallies: Tallies, recordings: int, elapsed_s: float) -> Table:
    """The state of a build, a row a stage."""
    table = Table(title=progress_line(tallies, recordings, elapsed_s), title_justify="left", box=None, header_style="dim")
    for name in ("stage", "audio done", "busy", "× real time per worker"):
        table.add_column(name, justify="left" if name == "stage" else "right")
    for stage in STAGES:
        ms, seconds = tallies.audio_ms.get(stage, 0), tallies.seconds.get(stage, 0.0)
        table.add_row(stage, hours(ms), f"{seconds:.1f} s", f"{ms / 1000 / seconds:,.0f}×" if seconds else "—")
    return table


def slowest_table(tallies: Tallies) -> Table:
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
def watching(store: Store, run: str, recordings: int, console: Console) -> Iterator[None]:
    """Shows the progress of a run for as long as the context lasts: a live table on a terminal, a line now and then elsewhere."""
    stop = threading.Event()
    started = time.perf_counter()
    console.print(f"Building from {recordings} recordings into {store.root}")

    def show() -> None:
        if console.is_terminal:
            with Live(console=console, auto_refresh=False, transient=True) as live:
                while not stop.wait(_BUCKET_EVERY_S if is_bucket(store.root) else _TERMINAL_EVERY_S):
                    elapsed_s = time.perf_counter() - started
                    live.update(progress_table(read_tallies(store, run), recordings, elapsed_s), refresh=True)
        else:
            while not stop.wait(_LOG_EVERY_S):
                console.print(progress_line(read_tallies(store, run), recordings, time.perf_counter() - started))

    thread = threading.Thread(target=show, daemon=True)
    thread.start()
    try:
        yield
    finally:
        stop.set()
        thread.join()
