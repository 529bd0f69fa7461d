"""Output files: where a command that reads a corpus may write."""

from __future__ import annotations

from pathlib import Path


def require_new(path: Path) -> None:
    """Raises StorageError for a file that exists: what people decide of a corpus is not written over it."""
    from voxbeam.schemas.errors import StorageError

    if path.exists():
        raise StorageError(f"{path} exists", remedy="name another file, or remove that one")


def require_outside(path: Path, corpus: str) -> None:
    """Raises StorageError for a path in one of the folders of a corpus, whose objects only builds and releases write."""
    from voxbeam.schemas.errors import StorageError
    from voxbeam.storage.store import Store

    root = Store(corpus).root
    if (place := place_in(path, root)) is not None and len(place.parts) > 1:
        raise StorageError(f"{path} is inside the corpus {root}", remedy="name a file elsewhere")


def place_in(path: Path, root: str) -> Path | None:
    """Where a path lies below the root of a corpus; None for one elsewhere, and for a corpus in a bucket."""
    from voxbeam.storage.store import is_bucket, local_path

    if is_bucket(root):
        return None
    folder, place = local_path(root).resolve(), path.resolve()
    return place.relative_to(folder) if place.is_relative_to(folder) else None
