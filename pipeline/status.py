"""Status: what lies in a corpus, and what builds are doing to it, from here or from anywhere else."""

from rich.console import Console

from assets.releases import read_release, release_numbers
from assets.storage import Store
from pipeline.display import progress_line, slowest_table
from pipeline.progress import read_tallies
from pipeline.report import print_release


def print_status(store: Store, console: Console) -> None:
    """Releases, the latest one in full, finished units, and every build that has left its progress."""
    numbers = release_numbers(store)
    units = [size for _, size in store.walk("units/")]
    console.print(f"{store.root}: {len(numbers)} releases, {len(units)} finished units ({sum(units) / 1e6:.1f} MB)")
    if numbers:
        print_release(store, read_release(store, numbers[-1]), console)
    for run in sorted({path.split("/")[1] for path, _ in store.walk("progress/")}):
        tallies = read_tallies(store, run)
        console.print(f"build {run}, running or killed: {progress_line(tallies, elapsed_s=0.0)}")
        if tallies.slowest:
            console.print(slowest_table(tallies))
