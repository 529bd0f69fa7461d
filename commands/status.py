"""Status: what lies in a corpus, and what builds are doing to it, from here or from anywhere else."""

from rich.console import Console

from voxbeam.commands.display import hours, progress_line, slowest_table
from voxbeam.commands.report import print_release
from voxbeam.pipeline.progress import LOST_AFTER, Beat, Tallies, read_beat, read_tallies
from voxbeam.storage.releases import read_release, release_numbers
from voxbeam.storage.store import Store


def print_status(store: Store, console: Console) -> None:
    """Releases, the latest one in full, finished units, and every build that has left its progress."""
    numbers = release_numbers(store)
    units = [size for _, size in store.walk("units/")]
    console.print(f"{store.root}: {len(numbers)} releases, {len(units)} finished units ({sum(units) / 1e6:.1f} MB)")
    if numbers:
        print_release(store, read_release(store, numbers[-1]), console)
    for run in sorted({path.split("/")[1] for path, _ in store.walk("progress/")}):
        if (beat := read_beat(store, run)) is not None:
            tallies = read_tallies(store, run)
            console.print(run_line(run, beat, tallies))
            if tallies.slowest:
                console.print(slowest_table(tallies))


def run_line(run: str, beat: Beat, tallies: Tallies) -> str:
    """One build: what it is, whether it still gives signs of life, and how far it has come."""
    head, silent_s = beat.head, beat.silent.total_seconds()
    if beat.silent < LOST_AFTER:
        state = f"running for {hours((beat.elapsed_s + silent_s) * 1000)}"
    else:
        state = f"ended or killed {hours(silent_s * 1000)} ago; the same command goes on where it was"
    return f"build {run} towards release {head.release:06d}, {state}: {progress_line(tallies, head.recordings, beat.elapsed_s)}"
