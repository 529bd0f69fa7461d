"""Environment: errors of the operating system that are the machine's, not those of the file that was opened."""

import errno
import os
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager

from voxbeam.schemas.errors import StorageError

_AGAIN = "then run the same command again: what is finished is kept"
MACHINE_ERRORS = {
    errno.ENOSPC: ("the disk is full", f"free some space, {_AGAIN}"),
    errno.EDQUOT: ("the disk quota is used up", f"free some space, {_AGAIN}"),
    errno.EROFS: ("the file system is read-only", "choose another folder, or mount it for writing"),
    errno.EMFILE: ("too many open files", f"raise the limit (`ulimit -n 65536`), {_AGAIN}"),
    errno.ENFILE: ("too many open files on this machine", f"close other programs, or raise fs.file-max, {_AGAIN}"),
    errno.ENOMEM: ("the memory is used up", f"run fewer workers on the machine, {_AGAIN}"),
}
"""what each error is, and its remedy"""
_TEMPORARY = ("TMPDIR", "TEMP", "TMP")
"""what names the temporary folder, in the order in which Python asks"""
_OF_THE_DISK = (errno.ENOSPC, errno.EDQUOT, errno.EROFS)


@contextmanager
def environment_errors() -> Iterator[None]:
    """Turns an OSError that every file would meet into StorageError, which ends the build.

    Files of the input are only read, so an error of writing is one of the temporary folder.
    """
    try:
        yield
    except StorageError:
        raise
    except OSError as error:
        if error.errno not in MACHINE_ERRORS:
            raise
        text, remedy = MACHINE_ERRORS[error.errno]
        if error.errno in _OF_THE_DISK:
            text, remedy = f"{text}: the temporary folder {tempfile.gettempdir()}", f"point TMPDIR to another folder, or {remedy}"
        raise StorageError(text, remedy=remedy) from error


def require_temporary_folder() -> None:
    """Raises StorageError when the folder that the user names for temporary files cannot be used.

    Python would take another one without a word: on the disk that was to be spared, or on one that is too small.
    """
    for name in _TEMPORARY:
        if not (folder := os.environ.get(name)):
            continue
        try:
            with tempfile.TemporaryFile(dir=folder) as file:
                file.write(b"voxbeam")
        except OSError as error:
            text, _ = MACHINE_ERRORS.get(error.errno or 0, (error.strerror or str(error), ""))
            raise StorageError(
                f"{name} names {folder} for temporary files, which cannot be used: {text}",
                remedy=f"make that folder, free some space there, or point {name} to another one",
            ) from error
        return
