"""Garbage: what no release refers to — units, shards and manifests of builds that were killed, or that lost a race.

A unit that no release holds is also work that a killed build could still reuse, hence the age: nothing younger is touched.
While a build shows a sign of life, nothing is touched at all.
"""

from collections import Counter
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

from rich.console import Console
from rich.table import Table

from voxbeam.pipeline.steps.unit_file import unit_path
from voxbeam.schemas.errors import StorageError
from voxbeam.schemas.manifest import RecordingRow
from voxbeam.storage.releases import read_release, read_rows, release_numbers
from voxbeam.storage.store import Store

FOLDERS = ("units", "shards", "manifests", "listings", "progress")
SIGN_OF_LIFE = timedelta(hours=1)
"""workers write their progress after every stage of a unit, of which the longest takes minutes"""


@dataclass(frozen=True)
class Garbage:
    """An object that can go."""

    path: str
    bytes: int


def find_garbage(store: Store, older_than: timedelta, now: datetime) -> list[Garbage]:
    """Objects of at least this age that no release refers to.

    Raises StorageError while a build runs: it may be about to refer to what it wrote long ago.
    """
    for path, _, written in store.walk_dated("progress/"):
        if now - written < SIGN_OF_LIFE:
            run = path.split("/")[1]
            raise StorageError(
                f"build {run} is running on {store.root}", remedy=f"let it finish, or wait {SIGN_OF_LIFE} after it was killed"
            )
    referred = _referred(store)
    return [
        Garbage(path, size)
        for folder in FOLDERS
        for path, size, written in store.walk_dated(f"{folder}/")
        if path not in referred and now - written >= older_than
    ]


def _referred(store: Store) -> set[str]:
    """Every object that a release stands on, the units of its recordings included."""
    paths: set[str] = set()
    for number in release_numbers(store):
        release = read_release(store, number)
        paths.update(file.path for file in release.files)
        for row in read_rows(store, release, RecordingRow):
            paths.update(unit_path(name) for name in row.units)
    return paths


def collect_garbage(store: Store, older_than: timedelta, dry_run: bool, console: Console) -> None:
    """Deletes garbage, or with `dry_run` only counts it, and says what went."""
    with console.status("Looking for what no release refers to"):
        found = find_garbage(store, older_than, datetime.now(UTC))
    count, size = Counter[str](), Counter[str]()
    for garbage in found:
        folder = garbage.path.split("/")[0]
        count[folder] += 1
        size[folder] += garbage.bytes
    if not found:
        console.print(f"Nothing older than {older_than} that no release of {store.root} refers to")
        return
    title = "To delete (--dry-run)" if dry_run else "Deleted"
    table = Table("", "objects", "MB", title=title, title_justify="left", box=None)
    for folder in FOLDERS:
        if count[folder]:
            table.add_row(folder, str(count[folder]), f"{size[folder] / 1e6:.1f}")
    if not dry_run:
        with console.status(f"Deleting {len(found)} objects"):
            store.delete([garbage.path for garbage in found])
    console.print(table)
