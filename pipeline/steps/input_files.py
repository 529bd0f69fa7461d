"""Input files: what a folder or a bucket contains, and what of it is left out and why."""

import errno
import os
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from pathlib import Path, PurePosixPath
from typing import Protocol

from voxbeam.schemas.errors import ListingError, ObjectForbiddenError, StorageError
from voxbeam.schemas.formats import AUDIO_SUFFIXES
from voxbeam.storage.environment import MACHINE_ERRORS
from voxbeam.storage.store import Store
from voxbeam.storage.store_errors import summarize_error

_LOST_AND_FOUND = "lost+found"
"""made by the file system at the root of every disk, and readable for root only"""


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
        """Folders first, then links to folders, so that a folder is found under its own name where it has one in the input.

        A link to a folder around the input is not followed: all that lies beside the input would belong to it.
        """
        self._around = {(at.st_dev, at.st_ino) for at in (folder.stat() for folder in self.root.resolve().parents)}
        seen: set[tuple[int, int]] = set()
        pending = [self.root]
        while pending:
            links: list[Path] = []
            folders = sorted(pending, reverse=True)
            while folders:
                folder = folders.pop()
                inside: list[Path] = []
                for entry in self._entries(folder, seen):
                    path = folder / entry.name
                    if _is_folder(entry, path):
                        (links if entry.is_symlink() else inside).append(path)
                    elif entry.is_symlink() and not _may_be_audio(path) and not path.exists():
                        self.left_out.add("link that leads nowhere", self._relative(path))
                    else:
                        yield self._relative(path)
                folders += reversed(inside)
            pending = links

    def _entries(self, folder: Path, seen: set[tuple[int, int]]) -> list[os.DirEntry[str]]:
        """What a folder contains. Raises StorageError for one that cannot be read: its recordings would be missing unsaid."""
        try:
            status = folder.stat()
            if (status.st_dev, status.st_ino) in self._around:
                self.left_out.add("link to a folder around the input", self._relative(folder))
                return []
            if (status.st_dev, status.st_ino) in seen:
                self.left_out.add("link to a folder that is in the input already", self._relative(folder))
                return []
            seen.add((status.st_dev, status.st_ino))
            with os.scandir(folder) as entries:
                return sorted(entries, key=lambda entry: entry.name)
        except OSError as error:
            if isinstance(error, FileNotFoundError | NotADirectoryError) and folder != self.root:
                self.left_out.add("folder that was removed while the input was listed", self._relative(folder))
                return []
            if isinstance(error, PermissionError) and folder.name == _LOST_AND_FOUND:
                self.left_out.add("folder of the file system", self._relative(folder))
                return []
            raise unreadable_folder(folder, error) from error

    def _relative(self, path: Path) -> str:
        return path.relative_to(self.root).as_posix()


def _is_folder(entry: os.DirEntry[str], path: Path) -> bool:
    """Whether an entry is a folder or a link to one. A link whose target is unknown may hide recordings: StorageError."""
    try:
        return entry.is_dir()
    except OSError as error:
        if error.errno == errno.ELOOP or _may_be_audio(path):  # an audio file that cannot be opened fails when it is probed
            return False
        raise unreadable_folder(path, error) from error


def _may_be_audio(path: Path) -> bool:
    return path.suffix.lower() in AUDIO_SUFFIXES


def unreadable_folder(path: Path, error: OSError) -> StorageError:
    """The error for a folder whose content is unknown."""
    others = (error.strerror or str(error), "make it readable, or build from a listing of the files that you want")
    text, remedy = MACHINE_ERRORS.get(error.errno or 0, others)
    return StorageError(f"cannot read {path}: {text}; the recordings in it are unknown", remedy=remedy)


class BucketFiles:
    """The objects below a bucket prefix."""

    def __init__(self, uri: str) -> None:
        self._store, self.left_out = Store(uri), LeftOutFiles()
        try:
            self.paths = [path for path, _ in self._store.walk()]
        except ObjectForbiddenError as error:
            raise StorageError(
                f"cannot list {uri}: {summarize_error(error.__cause__ or error)}; the recordings in it are unknown",
                remedy="give these credentials the right to list it, or build from a listing of the files that you want",
            ) from error

    def uri(self, path: str) -> str:
        return self._store.uri(path)

    def read(self, path: str) -> bytes:
        try:
            return self._store.get(path)
        except FileNotFoundError as error:
            raise ListingError(f"{self.uri(path)} was removed while the input was listed", remedy="run it again") from error


def suffix_kind(path: str) -> str:
    """The kind of a file that is no audio by its name."""
    pure = PurePosixPath(path)
    if pure.name.startswith("."):
        return "hidden file"
    return pure.suffix.lower() or "no suffix"


def in_folder(paths: Iterable[str], name: str) -> list[str]:
    """The paths with this last part."""
    return [path for path in paths if path == name or path.endswith(f"/{name}")]
