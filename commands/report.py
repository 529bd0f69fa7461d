"""Report: what a person reads after a build — hours, speed, why segments were rejected, and the quarantine with its remedies."""

from collections import Counter
from collections.abc import Iterator

from rich.console import Console
from rich.table import Table

from voxbeam.commands.display import hours, slowest_table
from voxbeam.pipeline.build import BuildResult
from voxbeam.schemas.manifest import RecordingRow, RejectedRow
from voxbeam.schemas.release import Release
from voxbeam.storage.releases import read_rows
from voxbeam.storage.store import Store
from voxbeam.transforms.chain import STAGES


def print_result(result: BuildResult, store: Store, console: Console) -> None:
    """The summary of a build."""
    release, tallies = result.release, result.progress
    if release is None:
        console.print(f"handed over: release {result.number} will be in {store.root} once that job has run")
        return
    if tallies.units == 0:
        console.print(
            f"No model work: {tallies.reused_units} units reused, "
            f"{hours(tallies.already_released_ms)} of recordings released before"
        )
    else:
        console.print(_stage_table(result))
        loads = ", ".join(f"{name} {times:.0f}×" for name, times in sorted(tallies.loads.items()))
        console.print(f"{tallies.processes} worker processes loaded: {loads}")
        console.print(slowest_table(tallies))
    if result.committed:
        console.print(f"Committed release {release.name} in {result.wall_s:.1f} s")
    else:
        console.print(f"Up to date: release {release.name} already holds all of this ({result.wall_s:.1f} s)")
    print_release(store, release, console)


def print_release(store: Store, release: Release, console: Console) -> None:
    """What a release holds, why segments were rejected, and its quarantine."""
    c = Counter(release.counts)
    table = Table(title=f"Release {release.name}", title_justify="left", box=None, show_header=False)
    table.add_row("recordings", f"{c['done']} done, {c['quarantined']} quarantined")
    table.add_row("accepted", f"{hours(c['accepted_ms'])} in {c['samples']} samples, {c['shards']} shards")
    table.add_row("rejected", f"{hours(c['rejected_ms'])} in {c['rejected']} segments")
    table.add_row("not speech", hours(c["non_speech_ms"]))
    console.print(table)
    reasons = rejection_reasons(read_rows(store, release, RejectedRow))
    if reasons:
        why = Table(title="Why segments were rejected", title_justify="left", box=None)
        why.add_column("reason")
        why.add_column("segments", justify="right")
        why.add_column("speech", justify="right")
        for reason, (segments, ms) in sorted(reasons.items(), key=lambda item: -item[1][1]):
            why.add_row(reason, str(segments), hours(ms))
        console.print(why)
    print_quarantine(store, release, console)


def rejection_reasons(rows: Iterator[RejectedRow]) -> dict[str, tuple[int, int]]:
    """reason → (segments, ms). A segment with several reasons counts under each."""
    segments, ms = Counter[str](), Counter[str]()
    for row in rows:
        for reason in row.reasons:
            segments[reason] += 1
            ms[reason] += row.duration_ms
    return {reason: (segments[reason], ms[reason]) for reason in segments}


def quarantined(store: Store, release: Release) -> list[RecordingRow]:
    """The recordings of a release that could not be used."""
    return [row for row in read_rows(store, release, RecordingRow) if row.status == "quarantined"]


def print_quarantine(store: Store, release: Release, console: Console) -> None:
    """A table of quarantined recordings with stage, reason and remedy; nothing when there are none."""
    rows = quarantined(store, release)
    if not rows:
        return
    table = Table(title=f"Quarantine: {len(rows)} recordings", title_justify="left", box=None)
    for name in ("recording", "stage", "reason", "error", "remedy"):
        table.add_column(name, overflow="fold")
    for row in rows:
        table.add_row(row.recording, row.stage, row.reason, row.error, row.remedy)
    console.print(table)


def _stage_table(result: BuildResult) -> Table:
    tallies = result.progress
    busy = sum(tallies.seconds.values())
    done_ms = tallies.audio_ms.get(STAGES[-1], 0)
    table = Table(
        title=f"{hours(done_ms)} worked on: {done_ms / 1000 / result.wall_s:.1f}× real time",
        title_justify="left",
        box=None,
    )
    for name in ("stage", "busy", "share", "× real time per worker"):
        table.add_column(name, justify="left" if name == "stage" else "right")
    for stage in STAGES:
        seconds = tallies.seconds.get(stage, 0.0)
        rate = f"{tallies.audio_ms.get(stage, 0) / 1000 / seconds:,.0f}×" if seconds else "—"
        table.add_row(stage, f"{seconds:.1f} s", f"{seconds / busy:.0%}" if busy else "", rate)
    return table
