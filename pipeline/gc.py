"""Garbage collection: deletes what no release refers to — what killed builds and lost commit races leave behind.

A unit that no release refers to may also be work that a killed build can resume from. Hence the minimum age: nothing younger is
deleted. While a build runs, nothing is deleted at all.
"""

from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

from voxbeam.pipeline.steps.unit_file import unit_path
from voxbeam.schemas.errors import StorageError
from voxbeam.schemas.manifest import RecordingRow
from voxbeam.storage.releases import read_release, read_rows, release_numbers
from voxbeam.storage.store import Store

FOLDERS = ("units", "shards", "manifests", "listings", "progress")
"""top folders that are searched for orphans"""
ACTIVE_WITHIN = timedelta(hours=1)
"""a build that wrote progress within this time may still run; workers write after every stage of a unit, minutes at most"""


@dataclass(frozen=True)
class Orphan:
    """An object that no release refers to."""

    path: str
    bytes: int

    @property
    def folder(self) -> str:
        """One of FOLDERS."""
        return self.path.split("/")[0]


def collect_garbage(output_uri: str, older_than: timedelta, *, dry_run: bool = False) -> list[Orphan]:
    """Deletes the orphans of a corpus that are at least this old, and returns them. With `dry_run` it only returns them.

    Raises StorageError while a build runs: it may be about to refer to what it wrote long ago.
    """
    store = Store(output_uri)
    orphans = find_orphans(store, older_than, datetime.now(UTC))
    if not dry_run:
        store.delete([orphan.path for orphan in orphans])
    return orphans


def find_orphans(store: Store, older_than: timedelta, now: datetime) -> list[Orphan]:
    """Objects of at least this age that no release refers to. Raises StorageError while a build runs."""
    for path, _, written in store.walk_with_mtime("progress/"):
        if now - written < ACTIVE_WITHIN:
            run_id = path.split("/")[1]
            raise StorageError(
                f"build {run_id} is running on {store.root}", remedy=f"let it finish, or wait {ACTIVE_WITHIN} after it was killed"
            )
    referenced = _referenced_paths(store)
    return [
        Orphan(path, size)
        for folder in FOLDERS
        for path, size, written in store.walk_with_mtime(f"{folder}/")
        if path not in referenced and now - written >= older_than
    ]


def _referenced_paths(store: Store) -> set[str]:
    """Paths of every file of every release, and of the units of its recordings."""
    paths: set[str] = set()
    for number in release_numbers(store):
        release = read_release(store, number)
        paths.update(file.path for file in release.files)
        for row in read_rows(store, release, RecordingRow):
            paths.update(unit_path(name) for name in row.units)
    return paths
