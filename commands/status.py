"""What `voxbeam status` shows: the releases of a corpus, and its builds wherever they run."""

from rich.console import Console

from voxbeam.commands.display import hours, plural, progress_line, progress_table, slowest_table
from voxbeam.commands.report import print_release
from voxbeam.commands.terminal import print_table
from voxbeam.pipeline.status import BuildStatus, CorpusStatus
from voxbeam.storage.store import Store


def print_status(status: CorpusStatus, console: Console) -> None:
    """Releases, the latest one in full, finished units, and every build with a progress record."""
    releases, units = plural(len(status.releases), "release"), plural(status.units, "finished unit")
    console.print(f"{status.uri}: {releases}, {units} ({status.unit_bytes / 1e6:.1f} MB)")
    if status.latest is not None:
        print_release(Store(status.uri), status.latest, console)
    if (last := status.last_build) is not None:
        print_table(
            console,
            f"Build {last.run_id} of release {last.release:06d}: {hours(last.wall_s * 1000)}, ended {last.ended}",
            progress_table(last.workers),
        )
        if last.workers.slowest:
            print_table(console, "Its slowest units", slowest_table(last.workers))
    for build in status.builds:
        console.print(run_line(build))
        if build.workers.slowest:
            print_table(console, "Slowest units", slowest_table(build.workers))


def run_line(build: BuildStatus) -> str:
    """One build: which release it makes, whether it runs, and its progress."""
    beat, silent_s = build.heartbeat, build.heartbeat.silent_s
    if beat.running:
        state = f"running for {hours((beat.elapsed_s + silent_s) * 1000)}"
    else:
        state = f"stopped {hours(silent_s * 1000)} ago; run the same command again to resume"
    line = progress_line(build.workers, beat.info.recordings, beat.elapsed_s)
    return f"build {build.run_id} towards release {beat.info.release:06d}, {state}: {line}"
