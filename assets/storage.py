"""Storage: one way to read and write, on a local folder or in a bucket (s3://, gs://, az://), through obstore.

Objects are put whole and never changed. `put_new` is a conditional create: of two writers exactly one is told that it won, which
is all that a commit needs; nothing depends on rename. Credentials and endpoints come from the usual environment variables.
"""

import functools
import hashlib
import tempfile
import uuid
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from datetime import datetime
from pathlib import Path
from typing import Any, cast
from urllib.parse import urlparse

import obstore
from obstore.exceptions import AlreadyExistsError, BaseError, NotSupportedError
from obstore.store import LocalStore, ObjectStore, from_url

BUCKET_SCHEMES = ("s3", "gs", "az")
_HASH_CHUNK = 1 << 20


class StorageError(OSError):
    """A location that cannot be used; the message says why and what to do."""


def first_line(error: BaseException) -> str:
    """What a store's client says of a failure, without its pages of debugging output."""
    return (str(error).strip().splitlines() or [type(error).__name__])[0][:400]


def is_bucket(uri: str) -> bool:
    """Whether the address names a bucket rather than a local path."""
    return urlparse(uri).scheme in BUCKET_SCHEMES


def local_path(uri: str) -> Path:
    """The local path that a plain path or a file:// address names."""
    return Path(uri.removeprefix("file://"))


@functools.cache
def _open(root: str) -> ObjectStore:
    if is_bucket(root):
        return from_url(root)
    path = local_path(root).absolute()
    try:
        path.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise StorageError(f"cannot create the folder {path}: {error.strerror}; choose another, or change its owner") from error
    return LocalStore(str(path), mkdir=True)


class Store:
    """A folder or a bucket prefix. Cheap to pickle: a worker opens its own connection."""

    def __init__(self, root: str) -> None:
        self.root = root if is_bucket(root) else str(local_path(root).absolute())

    @property
    def object_store(self) -> ObjectStore:
        """The connection, for what obstore does beyond this class."""
        return _open(self.root)

    def uri(self, path: str) -> str:
        """The full address of an object."""
        return f"{self.root.rstrip('/')}/{path}"

    def require_conditional_create(self) -> None:
        """Raises StorageError when the store lets a second writer create the same object: no commit would be safe there."""
        path = f"progress/create-check-{uuid.uuid4().hex}"
        try:
            self.put_new(path, b"first")
            refused = not self.put_new(path, b"second")
            self.delete([path])
        except (NotSupportedError, NotImplementedError):
            refused = False
        except (BaseError, FileNotFoundError) as error:
            raise StorageError(f"cannot write to {self.root}: {first_line(error)}") from error
        if not refused:
            raise StorageError(
                f"{self.root} does not honour conditional create (If-None-Match), so two builds could commit over each other; "
                "use AWS S3, Google Cloud Storage, Azure Blob Storage, a recent MinIO or Ceph, or a local folder"
            )

    def put_new(self, path: str, content: bytes) -> bool:
        """Creates an object; False, without touching it, when it is there already.

        After a lost answer the repeated request finds the object of the first: False may also mean that it was us.
        """
        try:
            obstore.put(self.object_store, path, content, mode="create", use_multipart=False)
        except AlreadyExistsError:
            return False
        return True

    def put_file(self, path: str, file: Path) -> None:
        """Puts a local file whole. Its name must carry its content hash, so that writing it twice is harmless."""
        if not self.exists(path):
            obstore.put(self.object_store, path, file)

    def replace(self, path: str, content: bytes) -> None:
        """Overwrites an object. Only for what no release refers to: the progress of a worker."""
        obstore.put(self.object_store, path, content)

    def get(self, path: str) -> bytes:
        """The whole object. Raises FileNotFoundError."""
        return bytes(obstore.get(self.object_store, path).bytes())

    def get_range(self, path: str, start: int, length: int) -> bytes:
        """`length` bytes of an object from `start`."""
        return bytes(obstore.get_range(self.object_store, path, start=start, length=length))

    def exists(self, path: str) -> bool:
        try:
            obstore.head(self.object_store, path)
        except FileNotFoundError:
            return False
        return True

    def walk(self, prefix: str = "") -> Iterator[tuple[str, int]]:
        """Objects below a prefix, as (path, bytes), in order of path."""
        return ((path, size) for path, size, _ in self.walk_dated(prefix))

    def walk_dated(self, prefix: str = "") -> Iterator[tuple[str, int, datetime]]:
        """Objects below a prefix, as (path, bytes, when it was last written), in order of path."""
        batches = obstore.list(self.object_store, prefix or None)
        return iter(sorted((str(m["path"]), int(m["size"]), m["last_modified"]) for batch in batches for m in batch))

    def copy(self, source: str, target: str) -> None:
        """Copies an object inside the store, without moving its bytes through this machine where the store can."""
        obstore.copy(self.object_store, source, target)

    def delete(self, paths: list[str]) -> None:
        """Deletes objects; one that is gone already is no error."""
        for path in paths:
            with suppress(FileNotFoundError):
                obstore.delete(self.object_store, path)

    @contextmanager
    def as_local(self, path: str) -> Iterator[Path]:
        """The object as a local file for as long as the context lasts; a bucket's object is streamed to a temporary one."""
        if not is_bucket(self.root):
            yield local_path(self.root) / path
            return
        with tempfile.NamedTemporaryFile(suffix=Path(path).suffix) as file:
            for chunk in obstore.get(self.object_store, path).stream(min_chunk_size=8 << 20):
                file.write(cast(Any, chunk))
            file.flush()
            yield Path(file.name)


@contextmanager
def open_local(uri: str) -> Iterator[Path]:
    """Any address as a local file for as long as the context lasts."""
    if not is_bucket(uri):
        yield local_path(uri)
        return
    root, _, name = uri.rpartition("/")
    with Store(root).as_local(name) as path:
        yield path


def sha256_of(path: Path) -> str:
    """Hex SHA-256 of a local file, read in pieces."""
    digest = hashlib.sha256()
    with path.open("rb") as file:
        while chunk := file.read(_HASH_CHUNK):
            digest.update(chunk)
    return digest.hexdigest()
