"""Environment: errors of the operating system that are the machine's, not those of the file that was opened."""

import errno
import os
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager

from voxbeam.schemas.errors import StorageError

_REMEDIES = {
    errno.ENOSPC: "make room there, or point TMPDIR to a folder with more",
    errno.EDQUOT: "make room there, or point TMPDIR to a folder with more",
    errno.EMFILE: "raise the limit (ulimit -n 65536), and build again",
    errno.ENFILE: "close other programs, or raise fs.file-max, and build again",
    errno.ENOMEM: "run fewer workers on the machine, and build again",
    errno.EROFS: "point TMPDIR to a folder that can be written",
}


@contextmanager
def environment_errors() -> Iterator[None]:
    """Turns an OSError that every file would meet into StorageError, which ends the build."""
    try:
        yield
    except StorageError:
        raise
    except OSError as error:
        remedy = _REMEDIES.get(error.errno or 0)
        if remedy is None:
            raise
        where = (
            f"the temporary folder {tempfile.gettempdir()}: " if error.errno in (errno.ENOSPC, errno.EDQUOT, errno.EROFS) else ""
        )
        raise StorageError(f"{where}{os.strerror(error.errno or 0)}", remedy=remedy) from error
