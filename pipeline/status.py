"""Status: what lies in a corpus, and what builds are doing to it, from here or from anywhere else."""

from datetime import UTC, datetime, timedelta

from rich.console import Console

from assets.releases import read_release, release_numbers
from assets.storage import Store
from pipeline.display import hours, progress_line, slowest_table
from pipeline.progress import LOST_AFTER, Head, Tallies, read_head, read_tallies
from pipeline.report import print_release


def print_status(store: Store, console: Console) -> None:
    """Releases, the latest one in full, finished units, and every build that has left its progress."""
    numbers = release_numbers(store)
    units = [size for _, size in store.walk("units/")]
    console.print(f"{store.root}: {len(numbers)} releases, {len(units)} finished units ({sum(units) / 1e6:.1f} MB)")
    if numbers:
        print_release(store, read_release(store, numbers[-1]), console)
    for run in sorted({path.split("/")[1] for path, _ in store.walk("progress/")}):
        if (seen := read_head(store, run, datetime.now(UTC))) is not None:
            tallies = read_tallies(store, run)
            console.print(run_line(run, *seen, tallies))
            if tallies.slowest:
                console.print(slowest_table(tallies))


def run_line(run: str, head: Head, silent: timedelta, tallies: Tallies) -> str:
    """One build: what it is, whether its driver is still there, and how far it has come."""
    last_seen = datetime.now(UTC) - silent
    elapsed_s = last_seen.timestamp() - head.began
    if silent < LOST_AFTER:
        state = f"running for {hours(elapsed_s * 1000)}"
    else:
        state = f"ended or killed {hours(silent.total_seconds() * 1000)} ago; the same command goes on where it was"
    return f"build {run} towards release {head.release:06d}, {state}: {progress_line(tallies, head.recordings, elapsed_s)}"
