"""Store: reads and writes objects in a local folder or in a bucket (s3://, gs://, az://), through obstore.

Objects are put whole and never changed. `put_if_absent` is a conditional create: exactly one of two writers succeeds. A commit
needs no more than that, and nothing depends on rename. Credentials and endpoints come from the usual environment variables.
"""

import functools
import shutil
import stat
import tempfile
import time
import uuid
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager, suppress
from datetime import datetime
from pathlib import Path
from typing import IO, Any, cast

import obstore
from obstore.exceptions import AlreadyExistsError, NotSupportedError, PreconditionError
from obstore.store import LocalStore, MemoryStore, ObjectStore, from_url

from voxbeam.schemas.errors import ObjectReplacedError, StorageError
from voxbeam.storage.address import BUCKET_SCHEMES, resolve_address
from voxbeam.storage.durable import delete_files, write_file
from voxbeam.storage.store_errors import storage_errors, summarize_error

_COPY_CHUNK = 8 << 20
_ATTEMPTS = 6
_MAX_NAME_BYTES = 255
_DELETED_AT_ONCE = 1000
"""as many as a request to S3 may name"""

Fill = Callable[[int, int], None]
"""`fill(start, length)` fetches that range of an object into its local file"""


def is_bucket(uri: str) -> bool:
    """Whether the address names a bucket rather than a local path."""
    return uri.partition("://")[0] in BUCKET_SCHEMES and "://" in uri


def local_path(uri: str) -> Path:
    """The local path that a plain path or a file:// address names."""
    return Path(uri.removeprefix("file://"))


@functools.cache
def _open(root: str) -> ObjectStore:
    if is_bucket(root):
        with storage_errors(root):
            return from_url(root)
    if not local_path(root).is_dir():
        raise StorageError(f"{root} is a file, not a folder", remedy="choose another place, or remove the file")
    return LocalStore(root, mkdir=True)


class Store:
    """A folder or a bucket prefix. Cheap to pickle: a worker opens its own connection."""

    def __init__(self, root: str) -> None:
        self.root = resolve_address(root)

    @property
    def object_store(self) -> ObjectStore:
        """The connection, for operations of obstore that this class does not have.

        A folder that does not exist reads as an empty one, and is created by the first write.
        """
        if is_bucket(self.root) or Path(self.root).exists():
            return _open(self.root)
        return MemoryStore()

    def uri(self, path: str) -> str:
        """The full address of an object."""
        return f"{self.root.rstrip('/')}/{path}"

    def _local(self, path: str) -> Path:
        """The local path of an object in a folder. Raises StorageError for a path that leaves the folder."""
        target = Path(self.root) / path
        if ".." in target.parts or Path(path).is_absolute():
            raise StorageError(
                f"{path} is not a path below {self.root}", remedy="report it: no object of a corpus has such a path"
            )
        return target

    def _require_regular(self, path: str) -> None:
        """Raises StorageError for what would block a reader for ever: a pipe, a socket or a device in a folder."""
        if is_bucket(self.root):
            return
        with suppress(FileNotFoundError):  # the reader itself says so
            if not stat.S_ISREG(self._local(path).stat().st_mode):
                raise StorageError(f"{self.uri(path)} is not a regular file", remedy="remove it")

    def _errors(self, path: str) -> AbstractContextManager[None]:
        return storage_errors(self.uri(path))

    def require_conditional_create(self) -> None:
        """Raises StorageError when the store lets a second writer create the same object: no commit would be safe there."""
        path = f"progress/create-check-{uuid.uuid4().hex}"
        try:
            self.put_if_absent(path, b"first")
            refused = not self.put_if_absent(path, b"second")
            self.delete([path])
        except NotImplementedError:
            refused = False
        except FileNotFoundError as error:
            raise StorageError(f"cannot write to {self.root}: {summarize_error(error)}") from error
        except StorageError as error:
            if not isinstance(error.__cause__, NotSupportedError):
                raise
            refused = False
        if not refused:
            raise StorageError(
                f"{self.root} does not support conditional create (If-None-Match), so two builds could overwrite each other",
                remedy="use AWS S3, Google Cloud Storage, Azure Blob Storage, a recent MinIO or Ceph, or a local folder",
            )

    def put_if_absent(self, path: str, content: bytes) -> bool:
        """Creates an object; False, without touching it, when it is there already.

        After a lost answer the client repeats its request and finds its own object: False may also mean that we created it.
        """
        if not is_bucket(self.root):
            return write_file(self._local(path), lambda file: file.write(content), exclusive=True)
        with self._errors(path):
            try:
                obstore.put(self.object_store, path, content, mode="create", use_multipart=False)
            except AlreadyExistsError:
                return False
        return True

    def put_named_by_content(self, path: str, content: bytes) -> None:
        """Puts an object whose name contains its content hash; one of another size that is there is damaged, and replaced."""
        self._put_sized(path, len(content), content, lambda target: target.write(content))

    def put_file(self, path: str, file: Path) -> None:
        """The same for a local file."""
        with file.open("rb") as source:
            self._put_sized(path, file.stat().st_size, file, lambda target: shutil.copyfileobj(source, target, _COPY_CHUNK))

    def _put_sized(self, path: str, size: int, content: bytes | Path, write: Callable[[IO[bytes]], object]) -> None:
        if self.size(path) == size:
            return
        if not is_bucket(self.root):
            write_file(self._local(path), write, exclusive=False)
            return
        self._overwrite(path, content)

    def replace(self, path: str, content: bytes, *, durable: bool = False) -> None:
        """Overwrites an object. Only for what is damaged, and for objects that no release refers to, such as progress."""
        if not is_bucket(self.root):
            write_file(self._local(path), lambda file: file.write(content), exclusive=False, durable=durable)
            return
        self._overwrite(path, content)

    def _overwrite(self, path: str, content: bytes | Path) -> None:
        """Puts an object of a bucket, whatever is there; again while the store is busy with it."""
        with self._errors(path):
            for attempt in range(_ATTEMPTS):
                try:
                    obstore.put(self.object_store, path, content)
                    return
                except AlreadyExistsError:  # 409: the store is busy with another request that touches this place
                    if attempt == _ATTEMPTS - 1:
                        raise
                    time.sleep(0.1 * 2**attempt)

    def get(self, path: str) -> bytes:
        """The whole object. Raises FileNotFoundError."""
        self._require_regular(path)
        with self._errors(path):
            return bytes(obstore.get(self.object_store, path).bytes())

    def get_range(self, path: str, start: int, length: int) -> bytes:
        """`length` bytes of an object from `start`."""
        self._require_regular(path)
        with self._errors(path):
            return bytes(obstore.get_range(self.object_store, path, start=start, length=length))

    def exists(self, path: str) -> bool:
        return self.size(path) is not None

    def size(self, path: str) -> int | None:
        """Bytes of an object; None if it does not exist."""
        with self._errors(path):
            try:
                return int(obstore.head(self.object_store, path)["size"])
            except FileNotFoundError:
                return None

    def modified(self, path: str) -> datetime:
        """When an object was last written, by the store's clock. Raises FileNotFoundError."""
        with self._errors(path):
            return obstore.head(self.object_store, path)["last_modified"]

    def now(self) -> datetime:
        """The time by the store's clock: when an object was written that is written just now."""
        path = f"progress/clock-{uuid.uuid4().hex}"
        self.replace(path, b"")
        try:
            return self.modified(path)
        finally:
            self.delete([path])

    def walk(self, prefix: str = "") -> Iterator[tuple[str, int]]:
        """Objects below a prefix, as (path, bytes), in order of path."""
        return ((path, size) for path, size, _ in self.walk_with_mtime(prefix))

    def walk_with_mtime(self, prefix: str = "") -> Iterator[tuple[str, int, datetime]]:
        """Objects below a prefix, as (path, bytes, when it was last written), in order of path."""
        with self._errors(prefix):
            batches = obstore.list(self.object_store, prefix or None)
            return iter(sorted((str(m["path"]), int(m["size"]), m["last_modified"]) for batch in batches for m in batch))

    def copy(self, source: str, target: str) -> None:
        """Copies an object inside the store, without moving its bytes through this machine where the store can."""
        if not is_bucket(self.root):
            with self._local(source).open("rb") as file:
                write_file(self._local(target), lambda copy: shutil.copyfileobj(file, copy, _COPY_CHUNK), exclusive=False)
            return
        with self._errors(source):
            obstore.copy(self.object_store, source, target)

    def delete(self, paths: list[str]) -> None:
        """Deletes objects, those of a bucket up to 1000 in a request, in any order. One that does not exist is no error."""
        if not is_bucket(self.root):
            return delete_files(self._local(path) for path in paths)
        for start in range(0, len(paths), _DELETED_AT_ONCE):
            some = paths[start : start + _DELETED_AT_ONCE]
            try:
                with self._errors(some[0]):
                    obstore.delete(self.object_store, some)
            except (FileNotFoundError, StorageError) as error:  # one is not there, or the store has no such request
                if len(some) == 1 and isinstance(error, StorageError):
                    raise
                for path in some if len(some) > 1 else ():
                    self.delete([path])

    @contextmanager
    def local_copy(self, path: str) -> Iterator[Path]:
        """The object as a local file for as long as the context lasts; a bucket's object is streamed to a temporary one."""
        if not is_bucket(self.root):
            self._require_regular(path)
            yield self._local(path)
            return
        with self.versioned_copy(path) as (local, _):
            yield local

    @contextmanager
    def versioned_copy(self, path: str) -> Iterator[tuple[Path, str | None]]:
        """A bucket's object as a temporary local file, and its ETag; None from a store without ETags."""
        with _temporary(path) as (local, file):
            with self._errors(path):
                result = obstore.get(self.object_store, path)
                for chunk in result.stream(min_chunk_size=8 << 20):
                    file.write(cast(Any, chunk))
            file.flush()
            yield local, result.meta["e_tag"]

    @contextmanager
    def sparse_copy(self, path: str, etag: str | None = None) -> Iterator[tuple[Path, Fill | None]]:
        """A bucket's object as a local file of its size that is still empty, and the function that fills it.

        `etag` is the version that is meant. Raises FileNotFoundError, and ObjectReplacedError for another version; filling
        raises that too once the object has been written again. From a store without ETags the whole object is fetched.
        """
        with self._errors(path):
            found = obstore.head(self.object_store, path)
        if etag is not None and found["e_tag"] != etag:
            raise ObjectReplacedError(f"{self.uri(path)} was replaced after it was probed")
        if not found["e_tag"]:
            with self.local_copy(path) as whole:
                yield whole, None
            return
        with _temporary(path) as (local, file):
            file.truncate(found["size"])

            def fill(start: int, length: int) -> None:
                with self._errors(path):
                    try:
                        same = {"range": (start, start + length), "if_match": found["e_tag"]}
                        content = obstore.get(self.object_store, path, options=cast(Any, same)).bytes()
                    except PreconditionError as error:
                        raise ObjectReplacedError(f"{self.uri(path)} was replaced while it was read") from error
                if len(content) != length:
                    raise ObjectReplacedError(f"{self.uri(path)} became shorter while it was read")
                file.seek(start)
                file.write(cast(Any, content))
                file.flush()

            yield local, fill


@contextmanager
def _temporary(path: str) -> Iterator[tuple[Path, IO[bytes]]]:
    """An empty file with the name of an object: messages contain it, and its suffix may matter."""
    name = Path(path).name.encode()[-_MAX_NAME_BYTES:].decode(errors="ignore")
    with tempfile.TemporaryDirectory() as folder, (Path(folder) / name).open("wb") as file:
        yield Path(folder) / name, file
