"""Staged files: what writes leave in a folder when they are killed, under a temporary name that no listing shows.

`write_file` gives that name: the name of the object, `#` and digits. A bucket has no such files.
"""

import os
import stat
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path

from voxbeam.storage.durable import local_errors
from voxbeam.storage.own_paths import is_staged
from voxbeam.storage.store import Store, is_bucket

_FOLDERS = ("units", "shards", "manifests", "listings", "progress", "releases", "copies", "builds", "removals", "gc")


def walk_staged(store: Store) -> Iterator[tuple[str, int, datetime]]:
    """Staged files of a corpus, as (path, bytes, when it was last written). Links are not followed."""
    if is_bucket(store.root):
        return
    root = Path(store.root)
    tops = [root / folder for folder in _FOLDERS if not (root / folder).is_symlink()]
    for folder, _, names in (entry for top in tops for entry in os.walk(top)):
        for name in sorted(names):
            file = Path(folder, name)
            path = file.relative_to(root).as_posix()
            if not is_staged(path):
                continue
            try:
                found = file.lstat()
            except FileNotFoundError:  # its writer has given it its name
                continue
            if stat.S_ISREG(found.st_mode):
                yield path, found.st_size, datetime.fromtimestamp(found.st_mtime, UTC)


def delete_objects(store: Store, paths: list[str]) -> None:
    """Deletes objects, and staged files, which the client of a store refuses to name."""
    store.delete([path for path in paths if not is_staged(path)])
    if not is_bucket(store.root):
        for path in filter(is_staged, paths):
            with local_errors(Path(store.root, path)):
                Path(store.root, path).unlink(missing_ok=True)
