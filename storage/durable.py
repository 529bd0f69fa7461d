"""Durable local writes: a file appears whole under its name, and only after its bytes and its folder are on the disk."""

import errno
import os
import secrets
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import IO

from voxbeam.schemas.errors import StorageError
from voxbeam.storage.environment import MACHINE_ERRORS

_DENIED = ("permission denied", "change the owner or the mode of the folder, or choose another output")


@contextmanager
def local_errors(path: Path) -> Iterator[None]:
    """Turns an OSError into StorageError with the remedy of its kind, except FileNotFoundError and FileExistsError."""
    try:
        yield
    except (FileNotFoundError, FileExistsError, StorageError):
        raise
    except OSError as error:
        other = _DENIED if error.errno == errno.EACCES else (error.strerror or str(error), "check the folder and its disk")
        text, remedy = MACHINE_ERRORS.get(error.errno or 0, other)
        raise StorageError(f"cannot use {path}: {text}", remedy=remedy) from error


def write_file(target: Path, write: Callable[[IO[bytes]], object], *, exclusive: bool, durable: bool = True) -> bool:
    """Writes a file under a temporary name, then gives it its own; False if `exclusive` and there is one already.

    `durable` waits until the bytes and the folder's entry are on the disk. The temporary name ends in `#` and digits, which
    `Store.walk` passes over (staged.py).
    """
    with local_errors(target):
        _make_folder(target.parent, durable=durable)
        staged = target.with_name(f"{target.name}#{secrets.randbits(60)}")
        try:
            with staged.open("xb") as file:
                write(file)
                file.flush()
                if durable:
                    os.fsync(file.fileno())
            if exclusive:
                try:
                    os.link(staged, target)
                except FileExistsError:
                    return False
            else:
                staged.replace(target)
            if durable:
                _sync_folder(target.parent)
        finally:
            staged.unlink(missing_ok=True)
    return True


def delete_files(paths: Iterable[Path]) -> None:
    """Deletes files. One that does not exist is no error."""
    for path in paths:
        with suppress(FileNotFoundError), local_errors(path):
            path.unlink()


def _make_folder(folder: Path, *, durable: bool) -> None:
    if folder.is_dir():
        return
    _make_folder(folder.parent, durable=durable)
    try:
        folder.mkdir(exist_ok=True)
    except FileExistsError as error:
        raise StorageError(f"{folder} is a file, not a folder", remedy="choose another output, or remove the file") from error
    if durable:
        _sync_folder(folder.parent)


def _sync_folder(folder: Path) -> None:
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
