"""Collection mark: keeps a garbage collection and a build apart.

Both announce themselves before they look: a collection puts its mark, then looks for builds; a build puts its heartbeat, then
looks for a mark. Whatever the order, one of the two sees the other and stops. The collection repeats this before every batch of
deletions, and a build looks again just before it commits.

A build that was suspended, or whose clock jumped, counts as stopped, and a collection may begin and end meanwhile. So a
collection that deletes leaves its name behind (`LAST`), and a build commits only if that is the one that it saw at its start.
"""

import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import datetime, timedelta

from voxbeam.pipeline.heartbeat import running_builds
from voxbeam.schemas.errors import StorageError
from voxbeam.storage.store import Store

MARKS = "gc"
"""folder of the marks of running collections"""
LAST = f"{MARKS}/last.json"
"""names the last collection that deleted something"""
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
    """The name of the last collection that deleted something; empty if none has."""
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
        self.store, self.name, self.deleted = store, uuid.uuid4().hex, False
        self.path = f"{MARKS}/{self.name}.json"

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
        return self.store.modified(self.path)

    def delete(self, paths: list[str]) -> None:
        """Deletes objects, unless a build runs; before the first it leaves its name for builds that do not seem to run.

        Of many, it looks for builds before every batch.
        """
        for start in range(0, len(paths), _BATCH):
            self.renew()
            if not self.deleted:
                self.store.replace(LAST, self.name.encode(), durable=True)
                self.deleted = True
            self.store.delete(paths[start : start + _BATCH])


@contextmanager
def collection_mark(store: Store) -> Iterator[CollectionMark]:
    """The mark of a collection for as long as the context lasts."""
    mark = CollectionMark(store)
    try:
        yield mark
    finally:
        store.delete([mark.path])
