"""What a build, a release, a verification and a garbage collection show."""

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence

from rich.console import Console
from rich.table import Table

from voxbeam.commands.display import hours, plural, slowest_table
from voxbeam.commands.terminal import new_table, print_table
from voxbeam.pipeline.build import BuildResult
from voxbeam.pipeline.events import VerifyProgress
from voxbeam.pipeline.gc import Orphan
from voxbeam.pipeline.progress import DONE
from voxbeam.pipeline.release_diff import first_few
from voxbeam.pipeline.steps.input_files import LeftOut
from voxbeam.pipeline.verify import Problem
from voxbeam.schemas.identity import doubt_of_estimates
from voxbeam.schemas.manifest import EXCLUDED, RecordingRow, RejectedRow
from voxbeam.schemas.release import Release
from voxbeam.storage.releases import read_rows
from voxbeam.storage.store import Store
from voxbeam.transforms.chain import in_order


def print_result(result: BuildResult, store: Store, console: Console) -> None:
    """The summary of a build."""
    print_left_out(result.left_out, console)
    if result.basis is not None:
        console.print(result.basis.message())
    release, workers = result.release, result.progress
    if release is None:
        job = f"job {result.job_id}" if result.job_id else "the job"
        console.print(f"Submitted: release {result.number} will be in {store.root} when {job} has run")
        return
    if workers.units == 0:
        console.print(
            f"No model work: {plural(workers.reused_units, 'unit')} reused, "
            f"{hours(workers.already_released_ms)} of recordings already released"
        )
    else:
        done_ms = workers.audio_ms.get(DONE, 0)
        print_table(
            console, f"{hours(done_ms)} processed at {done_ms / 1000 / result.wall_s:.1f}× real time", _stage_table(result)
        )
        loads = ", ".join(f"{name} {times:.0f}×" for name, times in sorted(workers.loads.items()))
        console.print(f"{workers.processes} worker processes loaded: {loads}")
        print_table(console, "Slowest units", slowest_table(workers))
    if result.committed:
        console.print(f"Committed release {release.name} in {result.wall_s:.1f} s")
        if result.identity_changes:
            console.print(
                f"Identities changed since the previous release: {'; '.join(first_few(result.identity_changes, 'changes'))}"
            )
    else:
        console.print(f"Up to date: release {release.name} already has all of this ({result.wall_s:.1f} s)")
    print_release(store, release, console)


def print_left_out(left_out: Sequence[LeftOut], console: Console) -> None:
    """The files of the input that are no recordings; nothing when there are none."""
    if left_out:
        table = new_table("kind", "files", "example", left=("example",))
        for kind in left_out:
            table.add_row(kind.kind, str(kind.count), kind.example)
        print_table(console, f"Left out: {plural(sum(kind.count for kind in left_out), 'file')} of the input", table)


def print_release(store: Store, release: Release, console: Console) -> None:
    """What is in a release, why segments were rejected, and its quarantine."""
    c = Counter(release.counts)
    table = Table(box=None, show_header=False)
    excluded = f", {c['excluded']} excluded" if c["excluded"] else ""
    table.add_row("recordings", f"{c['done']} done, {c['partial']} partial, {c['quarantined']} quarantined{excluded}")
    table.add_row("accepted", f"{hours(c['accepted_ms'])} in {plural(c['samples'], 'sample')}, {plural(c['shards'], 'shard')}")
    table.add_row("rejected", f"{hours(c['rejected_ms'])} in {c['rejected']} segments")
    table.add_row("not speech", hours(c["non_speech_ms"]))
    if c["identities"]:
        found = ", ".join(
            f"{name} {value:.1%} ({release.labels[f'{name}_low']:.1%} to {release.labels[f'{name}_high']:.1%})"
            for name in ("purity", "uniqueness")
            if (value := release.labels.get(name)) is not None
        )
        table.add_row("identities", f"{c['identities']} of {c['voices']} voices" + (f"; estimated {found}" if found else ""))
    if c["failed_ms"]:
        table.add_row("failed", f"{hours(c['failed_ms'])} in windows of {plural(c['partial'], 'recording')}")
    print_table(console, f"Release {release.name}", table)
    if doubt := doubt_of_estimates(release.labels):
        console.print(doubt)
    reasons = rejection_reasons(read_rows(store, release, RejectedRow))
    if reasons:
        why = new_table("reason", "segments", "speech")
        for reason, (segments, ms) in sorted(reasons.items(), key=lambda item: -item[1][1]):
            why.add_row(reason, str(segments), hours(ms))
        print_table(console, "Why segments were rejected", why)
    print_quarantine(store, release, console)


def rejection_reasons(rows: Iterator[RejectedRow]) -> dict[str, tuple[int, int]]:
    """reason → (segments, milliseconds). A segment with several reasons counts under each."""
    segments, ms = Counter[str](), Counter[str]()
    for row in rows:
        for reason in row.reasons:
            segments[reason] += 1
            ms[reason] += row.duration_ms
    return {reason: (segments[reason], ms[reason]) for reason in segments}


def quarantined(store: Store, release: Release) -> list[RecordingRow]:
    """The recordings of a release that could not be used, or not all of them."""
    return [row for row in read_rows(store, release, RecordingRow) if row.status not in ("done", EXCLUDED)]


def print_quarantine(store: Store, release: Release, console: Console) -> None:
    """The recordings in quarantine with stage, reason and remedy; nothing when there are none."""
    rows = quarantined(store, release)
    if not rows:
        return
    columns = ("recording", "stage", "reason", "error", "remedy")
    table = new_table(*columns, left=columns)
    for row in rows:
        table.add_row(row.recording, row.stage, row.reason, row.error, row.remedy)
    print_table(console, f"Quarantine: {plural(len(rows), 'recording')}", table)


def print_problems(release: Release, problems: Sequence[Problem], console: Console) -> None:
    """The result of a verification."""
    if not problems:
        counts = f"{plural(len(release.files), 'file')}, {plural(release.counts.get('samples', 0), 'sample')}"
        console.print(f"Release {release.name} verified: {counts}, no problems")
        return
    table = new_table("where", "problem", left=("problem",))
    for problem in problems:
        table.add_row(problem.where, problem.what)
    print_table(console, f"Release {release.name} failed verification", table)


def print_checked_again(
    events: Mapping[str, VerifyProgress], deleted: Sequence[str], restored: Sequence[str], console: Console
) -> None:
    """What a verification checked beyond the corpus, and what it repaired."""
    for phase, noun, verb in (("recheck", "source", "probed"), ("rederive", "unit", "made")):
        if event := events.get(phase):
            away = f"; the sources of {event.unreachable} cannot be reached" if event.unreachable else ""
            console.print(f"{plural(event.total - event.unreachable, noun)} {verb} again{away}")
    if restored:
        console.print(f"Put back from its copy: {', '.join(restored)}")
    if deleted:
        console.print(f"Deleted: {', '.join(deleted)}")
        console.print("Run the `voxbeam build` command of this corpus again: it makes them again from finished units")


def print_orphans(orphans: Sequence[Orphan], older_than_h: float, dry_run: bool, console: Console) -> None:
    """What a garbage collection deleted, one row for each folder."""
    if not orphans:
        console.print(f"Nothing to delete: every object older than {older_than_h:g} hours belongs to a release")
        return
    count, size = Counter(orphan.folder for orphan in orphans), Counter[str]()
    for orphan in orphans:
        size[orphan.folder] += orphan.bytes
    table = new_table("folder", "objects", "MB")
    for folder in sorted(count):
        table.add_row(folder, str(count[folder]), f"{size[folder] / 1e6:.1f}")
    print_table(console, "Would be deleted (--dry-run)" if dry_run else "Deleted", table)


def _stage_table(result: BuildResult) -> Table:
    workers = result.progress
    busy = sum(workers.seconds.values())
    table = new_table("stage", "busy", "fraction", "× real time per worker")
    for stage in in_order(workers.seconds):
        seconds = workers.seconds.get(stage, 0.0)
        rate = f"{workers.audio_ms.get(stage, 0) / 1000 / seconds:,.0f}×" if seconds else "—"
        table.add_row(stage, f"{seconds:.1f} s", f"{seconds / busy:.0%}" if busy else "", rate)
    return table
