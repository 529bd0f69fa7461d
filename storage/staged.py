"""Staged files: what a writer that was killed leaves in a folder, under the temporary name of `durable.write_file`.

`Store.walk` passes them over, so that nothing takes half of a file for an object. Collection, purge and scan ask for them here.
"""

import os
import re
from collections.abc import Iterator
from contextlib import suppress
from datetime import UTC, datetime
from pathlib import Path

from voxbeam.storage.store import Store, is_bucket

_STAGED = re.compile(r"(.+)#\d+")


def walk_staged(store: Store) -> Iterator[tuple[str, int, datetime]]:
    """Files with a temporary name, as (path, bytes, when written). A bucket has none: what was not put whole is not there."""
    if is_bucket(store.root):
        return
    for folder, _, names in os.walk(store.root):
        for name in filter(_STAGED.fullmatch, names):
            path = Path(folder, name)
            with suppress(FileNotFoundError):  # its writer has finished
                found = path.lstat()
                yield path.relative_to(store.root).as_posix(), found.st_size, datetime.fromtimestamp(found.st_mtime, UTC)


def name_when_done(path: str) -> str:
    """The path of an object: that of a staged file without its temporary ending, any other as it is."""
    match = _STAGED.fullmatch(path)
    return match[1] if match else path
