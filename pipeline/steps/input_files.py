"""Input files: what a folder or a bucket contains, and what of it is left out and why."""

import os
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from pathlib import Path, PurePosixPath
from typing import Protocol

from voxbeam.schemas.errors import ListingError
from voxbeam.storage.store import Store


@dataclass(frozen=True, kw_only=True)
class LeftOut:
    """Files of the input that are no recordings, by kind."""

    kind: str
    """a suffix, or a reason"""
    count: int
    example: str
    """one path below the input"""


@dataclass(kw_only=True)
class LeftOutFiles:
    """Counts files by kind, and remembers the first of each."""

    _found: dict[str, LeftOut] = field(default_factory=dict)

    def add(self, kind: str, path: str) -> None:
        before = self._found.get(kind)
        self._found[kind] = LeftOut(
            kind=kind, count=before.count + 1 if before else 1, example=before.example if before else path
        )

    def by_count(self) -> tuple[LeftOut, ...]:
        """The kinds, most frequent first."""
        return tuple(sorted(self._found.values(), key=lambda kind: (-kind.count, kind.kind)))


class InputFiles(Protocol):
    """The files below an input."""

    paths: list[str]
    """below the input, in order"""
    left_out: LeftOutFiles

    def uri(self, path: str) -> str:
        """The absolute path or address of a file."""
        ...

    def read(self, path: str) -> bytes:
        """The content of a small file."""
        ...


class FolderFiles:
    """The files below a local folder. Links to folders are followed, each folder once."""

    def __init__(self, root: Path) -> None:
        self.root, self.left_out = root, LeftOutFiles()
        self.paths = sorted(self._walk())

    def uri(self, path: str) -> str:
        """A name that is not UTF-8 is written with replacement characters: it fails when it is opened, not the build."""
        return os.fsencode(self.root / path).decode("utf-8", "replace")

    def read(self, path: str) -> bytes:
        try:
            return (self.root / path).read_bytes()
        except OSError as error:
            raise ListingError(
                f"cannot read {self.root / path}: {error.strerror}", remedy="change its mode, or take it out of the input"
            ) from error

    def _walk(self) -> Iterator[str]:
        """Folders first, then links to folders, so that a folder is found under its own name where it has one in the input."""
        seen: set[tuple[int, int]] = set()
        pending = [self.root]
        while pending:
            links: list[Path] = []
            for start in sorted(pending):
                for folder, folders, names in os.walk(start, onerror=_reject_folder):
                    status = Path(folder).stat()
                    identity = (status.st_dev, status.st_ino)
                    if identity in seen:
                        folders.clear()
                        relative = Path(folder).relative_to(self.root).as_posix()
                        self.left_out.add("link to a folder that is in the input already", relative)
                        continue
                    seen.add(identity)
                    links += [Path(folder) / name for name in folders if (Path(folder) / name).is_symlink()]
                    yield from ((Path(folder) / name).relative_to(self.root).as_posix() for name in names)
            pending = links


def _reject_folder(error: OSError) -> None:
    raise ListingError(
        f"cannot read the folder {error.filename}: {error.strerror}", remedy="change its mode, or leave it out"
    ) from error


class BucketFiles:
    """The objects below a bucket prefix."""

    def __init__(self, uri: str) -> None:
        self._store, self.left_out = Store(uri), LeftOutFiles()
        self.paths = [path for path, _ in self._store.walk()]

    def uri(self, path: str) -> str:
        return self._store.uri(path)

    def read(self, path: str) -> bytes:
        return self._store.get(path)


def suffix_kind(path: str) -> str:
    """The kind of a file that is no audio by its name."""
    pure = PurePosixPath(path)
    if pure.name.startswith("."):
        return "hidden file"
    return pure.suffix.lower() or "no suffix"


def in_folder(paths: Iterable[str], name: str) -> list[str]:
    """The paths with this last part."""
    return [path for path in paths if path == name or path.endswith(f"/{name}")]
