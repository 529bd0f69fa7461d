"""What `voxbeam release` and `voxbeam diff` show."""

from collections.abc import Callable
from contextlib import AbstractContextManager

from rich.console import Console

from voxbeam.commands.display import hours, plural, showing_build
from voxbeam.commands.label_error import LabelError
from voxbeam.commands.report import print_release
from voxbeam.commands.terminal import new_table, print_table
from voxbeam.pipeline.diff import ReleaseDiff
from voxbeam.pipeline.events import BuildProgress
from voxbeam.pipeline.preview import Preview
from voxbeam.pipeline.release_diff import first_few
from voxbeam.pipeline.repack import ReleaseResult
from voxbeam.storage.store import Store


def showing_release(output: str, console: Console, dry_run: bool) -> AbstractContextManager[Callable[[BuildProgress], None]]:
    """Shows the events of a release, or of a look at what it would be."""
    return showing_build(output, console, "Judging {} of" if dry_run else "Packing {} of")


def print_release_result(result: ReleaseResult, error: LabelError | None, store: Store, console: Console) -> None:
    """The new release, or what it would be and how wrong its labels would be."""
    for change in result.changes:
        console.print(change)
    if result.preview is not None:
        print_preview(result.preview, console)
        if error is not None:
            error.print(console)
    elif result.committed and result.release is not None:
        console.print(f"Committed release {result.release.name} in {result.wall_s:.1f} s, without sound and without models")
        print_release(store, result.release, console)
    else:
        console.print(f"Up to date: release {result.previous.name} has this policy")
    if result.inherited:
        console.print(
            f"Stays decided, by release {result.previous.name}, though neither this policy nor its overlays say so: "
            f"{', '.join(first_few(result.inherited, 'decisions'))}. A section that lacks it takes it back"
        )
    if result.unknown:
        console.print(f"Not in the corpus: {', '.join(first_few(result.unknown, 'names'))}")


def print_preview(preview: Preview, console: Console) -> None:
    """Two policies over the same units."""
    now, then = preview.now, preview.then
    table = new_table("", "now", "then", "change")
    for name in ("accepted", "rejected", "excluded"):
        before, after = (getattr(outcome, f"{name}_ms") for outcome in (now, then))
        table.add_row(name, hours(before), hours(after), _signed(after - before))
    table.add_row("samples", str(now.samples), str(then.samples), f"{then.samples - now.samples:+d}")
    table.add_row("speakers", str(len(now.speakers)), str(len(then.speakers)), f"{len(then.speakers) - len(now.speakers):+d}")
    print_table(console, "Would be kept (--dry-run)", table)
    if lost := preview.lost_speakers:
        console.print(f"{plural(len(lost), 'speaker')} lost: {', '.join(first_few(lost, 'speakers'))}")
    reasons = new_table("reason", "now", "then", "alone, then", "accepted now, not then", "not now, accepted then")
    for reason in sorted(now.ms.keys() | then.ms.keys() | preview.lost_ms.keys(), key=lambda r: (-then.ms[r], r)):
        columns = (now.ms, then.ms, then.only_ms, preview.lost_ms, preview.gained_ms)
        reasons.add_row(reason, *(hours(column[reason]) for column in columns))
    print_table(console, "What falls to which rule", reasons)


def print_diff(found: ReleaseDiff, parquet: str | None, console: Console) -> None:
    """The differences between two releases."""
    for line in found.settings:
        console.print(line)
    totals = found.totals()
    if not totals:
        console.print(f"No segment differs between release {found.before.name} and release {found.after.name}")
        return
    table = new_table("why", "change", "segments", "speech", left=("change",))
    for why, change, segments, ms in totals:
        table.add_row(why, change, str(segments), hours(ms))
    print_table(console, f"From release {found.before.name} to release {found.after.name}", table)
    if parquet is not None:
        console.print(f"{plural(len(found.table), 'change')} written to {parquet}")


def _signed(ms: int) -> str:
    return f"{'+' if ms >= 0 else '−'}{hours(abs(ms))}"
