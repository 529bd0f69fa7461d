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
    from voxbeam.storage.store import Store, is_bucket, local_path

    root = Store(corpus).root
    if is_bucket(root):
        return
    folder, place = local_path(root).resolve(), path.resolve()
    if place.is_relative_to(folder) and len(place.relative_to(folder).parts) > 1:
        raise StorageError(f"{path} is inside the corpus {root}", remedy="name a file elsewhere")
