"""Local copies: any address as a local file — a file as it is, a bucket's object copied or fetched by ranges."""

import hashlib
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from voxbeam.storage.store import Fill, Store, is_bucket, local_path

_HASH_CHUNK = 1 << 20


@contextmanager
def open_local(uri: str) -> Iterator[Path]:
    """Any address as a local file for as long as the context lasts."""
    if not is_bucket(uri):
        yield local_path(uri)
        return
    root, _, name = uri.rpartition("/")
    with Store(root).local_copy(name) as path:
        yield path


@contextmanager
def open_sparse(uri: str, etag: str | None = None) -> Iterator[tuple[Path, Fill | None]]:
    """Any address as a local file for as long as the context lasts, and what fills it where it is not whole already.

    `etag` is the version of a bucket's object that is meant. Raises ObjectReplacedError for another version.
    """
    if not is_bucket(uri):
        yield local_path(uri), None
        return
    root, _, name = uri.rpartition("/")
    with Store(root).sparse_copy(name, etag) as opened:
        yield opened


@contextmanager
def open_versioned(uri: str) -> Iterator[tuple[Path, str | None]]:
    """Any address as a local file for as long as the context lasts, and the ETag of the bucket's object that it is a copy of."""
    if not is_bucket(uri):
        yield local_path(uri), None
        return
    root, _, name = uri.rpartition("/")
    with Store(root).versioned_copy(name) as opened:
        yield opened


def sha256_of(path: Path) -> str:
    """Hex SHA-256 of a local file, read in pieces."""
    digest = hashlib.sha256()
    with path.open("rb") as file:
        while chunk := file.read(_HASH_CHUNK):
            digest.update(chunk)
    return digest.hexdigest()


def local_size(uri: str) -> int:
    """Bytes of a local file; 0 for a bucket's object, and for what cannot be opened, which is found out later."""
    try:
        return 0 if is_bucket(uri) else local_path(uri).stat().st_size
    except OSError:
        return 0
