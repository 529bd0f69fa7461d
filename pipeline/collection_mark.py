"""Collection mark: keeps a garbage collection and a build apart.

Both announce themselves before they look: a collection puts its mark, then looks for builds; a build puts its heartbeat, then
looks for a mark. Whatever the order, one of the two sees the other and stops. The collection repeats this before every batch of
deletions, and a build looks again just before it commits.

A build that was suspended, or whose clock jumped, counts as stopped, and a collection may begin and end meanwhile. So a
collection leaves a new name behind (`LAST`) with every batch, and a build commits only if that is the one that it saw at its
start. A collection that was suspended itself stops if a release was committed meanwhile: that may refer to what it would delete.
"""

import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import datetime, timedelta

from voxbeam.pipeline.heartbeat import running_builds
from voxbeam.schemas.errors import StorageError
from voxbeam.storage.releases import release_numbers
from voxbeam.storage.store import Store

MARKS = "gc"
"""folder of the marks of running collections"""
LAST = f"{MARKS}/last.json"
"""names the last batch that was deleted"""
MARK_EXPIRES = timedelta(minutes=30)
"""a collection renews its mark with every batch; an older mark is of one that was killed"""
_BATCH = 500
"""objects that are deleted between two looks for a build"""


def require_no_collection(store: Store) -> None:
    """Raises StorageError while a garbage collection runs. A build calls it after its heartbeat, and before its commit."""
    marks = [(path, written) for path, _, written in store.walk_with_mtime(f"{MARKS}/") if path != LAST]
    if marks and any(store.now() - written < MARK_EXPIRES for _, written in marks):
        raise StorageError(
            f"garbage is being collected in {store.root}",
            remedy=f"wait until `voxbeam gc` has ended, or {MARK_EXPIRES} if it was killed, and run the same command again",
        )


def last_collection(store: Store) -> str:
    """The name of the last batch that a collection deleted; empty if none has."""
    try:
        return store.get(LAST).decode(errors="replace")
    except FileNotFoundError:
        return ""


def require_same_collection(store: Store, seen: str) -> None:
    """Raises StorageError if a collection has deleted something since `last_collection` was `seen`."""
    if last_collection(store) != seen:
        raise StorageError(
            f"garbage was collected in {store.root} while this command was suspended, and part of its work may be gone",
            remedy="run the same command again: what is left is kept, and the rest is made again",
        )


class CollectionMark:
    """The object by which a collection announces itself."""

    def __init__(self, store: Store) -> None:
        self.store, self.path = store, f"{MARKS}/{uuid.uuid4().hex}.json"
        self._releases: set[int] | None = None

    def renew(self) -> datetime:
        """Puts the mark again, then looks for running builds; returns the time by the store's clock.

        Raises StorageError when a build runs.
        """
        self.store.replace(self.path, b"{}")
        for run_id, remaining in running_builds(self.store).items():
            raise StorageError(
                f"build {run_id} is running on {self.store.root}",
                remedy=f"let it finish; if it was killed, wait {remaining.total_seconds() / 60:.0f} min",
            )
        if self._releases is None:
            self._releases = set(release_numbers(self.store))
        return self.store.modified(self.path)

    def delete(self, paths: list[str]) -> None:
        """Deletes objects, in batches; before each it leaves a name for builds that do not seem to run.

        Raises StorageError when a build runs, or when a release was committed since the mark was first put.
        """
        for start in range(0, len(paths), _BATCH):
            self.renew()
            if set(release_numbers(self.store)) - (self._releases or set()):
                raise StorageError(f"a release was committed to {self.store.root} meanwhile", remedy="run the same command again")
            self.store.replace(LAST, uuid.uuid4().hex.encode(), durable=True)
            self.store.delete(paths[start : start + _BATCH])


@contextmanager
def collection_mark(store: Store) -> Iterator[CollectionMark]:
    """The mark of a collection for as long as the context lasts."""
    mark = CollectionMark(store)
    try:
        yield mark
    finally:
        store.delete([mark.path])
