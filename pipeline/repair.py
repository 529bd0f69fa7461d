"""Repair: deletes the damaged files of a release, so that the next build makes them again (heal.py), and puts back a damaged
release file itself, from its copy."""

from collections.abc import Iterable
from pathlib import Path

from voxbeam.pipeline.collection_mark import collection_mark
from voxbeam.pipeline.gc import is_regular
from voxbeam.schemas.errors import SchemaError
from voxbeam.schemas.release import Release
from voxbeam.storage.local_copies import sha256_of
from voxbeam.storage.release_copies import find_copy
from voxbeam.storage.releases import read_release, release_numbers, release_path
from voxbeam.storage.store import Store, is_bucket


def restore_releases(store: Store) -> list[str]:
    """Puts back every damaged release file that has a copy, byte for byte; returns their paths.

    Others stay as they are: reading them raises the error that says what to do. Raises StorageError while a build runs.
    """
    restored: list[str] = []
    for number in release_numbers(store):
        try:
            read_release(store, number)
        except SchemaError:
            path = release_path(number)
            if (content := find_copy(store, number, store.get(path))) is None:
                continue
            with collection_mark(store) as mark:
                mark.renew()
                store.replace(path, content, durable=True)
            restored.append(path)
    return restored


def delete_damaged(store: Store, release: Release, suspects: Iterable[str]) -> list[str]:
    """Deletes those of the suspected paths that are files of the release and whose SHA-256 is not the one that it states.

    Returns the deleted paths. Nothing else is deleted, and links are left alone. Raises StorageError while a build runs.
    """
    expected = {file.path: file.sha256 for file in release.files}
    suspected = sorted(expected.keys() & set(suspects))
    if not suspected:
        return []
    deleted: list[str] = []
    with collection_mark(store) as mark:
        mark.renew()
        for path in suspected:
            if not is_bucket(store.root) and not is_regular(Path(store.root), path):
                continue
            try:
                with store.local_copy(path) as local:
                    damaged = sha256_of(local) != expected[path]
            except FileNotFoundError:
                continue
            if damaged:
                mark.delete([path])
                deleted.append(path)
    return deleted
