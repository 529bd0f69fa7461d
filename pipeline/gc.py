"""Garbage collection: deletes what no release refers to — what killed builds and lost commit races leave behind.

A unit that no release refers to may also be work that a killed build can resume from. Hence the minimum age: nothing younger is
deleted.

A build may begin at any moment and rely on an orphan, since it does not write again what is there. So a collection and a build
exclude each other (`collection_mark.py`). All ages are by the store's clock.
"""

import stat
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime, timedelta
from pathlib import Path

from voxbeam.pipeline.collection_mark import collection_mark
from voxbeam.pipeline.steps.unit_file import unit_path
from voxbeam.schemas.errors import StorageError
from voxbeam.schemas.manifest import RecordingRow
from voxbeam.storage.own_paths import is_own
from voxbeam.storage.releases import read_release, read_rows, release_numbers, require_corpus
from voxbeam.storage.staged import name_when_done, walk_staged
from voxbeam.storage.store import Store, is_bucket

FOLDERS = ("units", "shards", "manifests", "listings", "progress")
"""top folders that are searched for orphans"""


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

    Raises StorageError while a build runs, and when a release names a file that does not exist: with a release that is damaged
    nobody can tell what is an orphan.
    """
    store = Store(output_uri)
    require_corpus(store)
    with collection_mark(store) as mark:
        orphans = find_orphans(store, older_than, mark.renew())
        if not dry_run:
            mark.delete([orphan.path for orphan in orphans])
        return orphans


def find_orphans(store: Store, older_than: timedelta, now: datetime) -> list[Orphan]:
    """Objects of at least this age that no release refers to.

    Only what has a name that voxbeam gives counts, and no link or what lies behind one: the rest is of others.
    """
    referenced = referenced_paths(store, release_numbers(store))
    orphans: list[Orphan] = []
    existing: set[str] = set()
    for folder in FOLDERS:
        for path, size, written in store.walk_with_mtime(f"{folder}/"):
            existing.add(path)
            if path in referenced or now - written < older_than or not is_own(path):
                continue
            if is_bucket(store.root) or is_regular(Path(store.root), path):
                orphans.append(Orphan(path, size))
    for path, size, written in walk_staged(store):
        if now - written >= older_than and is_own(name_when_done(path)) and is_regular(Path(store.root), path):
            orphans.append(Orphan(path, size))
    missing = sorted(referenced - existing)
    if missing:
        raise StorageError(
            f"a release of {store.root} names {missing[0]}, which does not exist ({len(missing)} in all)",
            remedy="run `voxbeam verify`: a release is damaged, so nothing was deleted",
        )
    return orphans


def is_regular(root: Path, path: str) -> bool:
    """Whether a path is a regular file with no link on the way: behind a link lie files of others."""
    place = root
    for part in Path(path).parts:
        place = place / part
        if place.is_symlink():
            return False
    try:
        return stat.S_ISREG(place.lstat().st_mode)
    except FileNotFoundError:
        return False


def referenced_paths(store: Store, releases: Iterable[int]) -> set[str]:
    """Paths of every file of some releases, and of the units of their recordings."""
    paths: set[str] = set()
    for number in releases:
        release = read_release(store, number)
        paths.update(file.path for file in release.files)
        for row in read_rows(store, release, RecordingRow):
            paths.update(unit_path(name) for name in row.units)
    return paths
