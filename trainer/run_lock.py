"""One run in a folder or below a prefix at a time: two would delete each other's checkpoints.

In a folder the lock is the kernel's and ends with the process, however it ends. In a bucket it is an object that its owner writes
again and again; one that has not been written for a while was left by a process that died.
"""

from __future__ import annotations

import fcntl
import os
import socket
import threading
import uuid
from collections.abc import Iterator
from contextlib import contextmanager, suppress

from voxbeam.schemas.errors import CheckpointError
from voxbeam.storage.store import Store, is_bucket, local_path

BEAT_S = 20.0
"""how often the owner of a lock in a bucket shows that it lives"""
_STALE_AFTER_S = 4 * BEAT_S
_NAME = "run.lock"


@contextmanager
def run_lock(run_uri: str) -> Iterator[None]:
    """Holds the lock of a run. Raises CheckpointError, naming the owner, if another process has it."""
    with _bucket_lock(Store(run_uri)) if is_bucket(run_uri) else _folder_lock(run_uri):
        yield


def _owner() -> bytes:
    return f"process {os.getpid()} on {socket.gethostname()}, {uuid.uuid4().hex}".encode()


def _taken(run_uri: str, owner: bytes) -> CheckpointError:
    name = owner.decode(errors="replace").partition(",")[0] or "another process"
    return CheckpointError(
        f"{run_uri} is in use by {name}, which trains there", remedy="wait until it has ended, or choose another folder"
    )


@contextmanager
def _folder_lock(run_uri: str) -> Iterator[None]:
    path = local_path(run_uri) / _NAME
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("a+b") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            file.seek(0)
            raise _taken(run_uri, file.read(1000)) from None
        file.truncate(0)
        file.write(_owner())
        file.flush()
        yield


@contextmanager
def _bucket_lock(store: Store) -> Iterator[None]:
    mine = _owner()
    if not store.put_if_absent(_NAME, mine) and (other := store.get(_NAME)) != mine:
        if (store.now() - store.modified(_NAME)).total_seconds() < _STALE_AFTER_S:
            raise _taken(store.root, other)
        store.delete([_NAME])
        if not store.put_if_absent(_NAME, mine) and (other := store.get(_NAME)) != mine:
            raise _taken(store.root, other)
    ended = threading.Event()

    def beat() -> None:
        while not ended.wait(BEAT_S):
            with suppress(OSError):  # the next beat comes before the lock is stale
                store.replace(_NAME, mine)

    thread = threading.Thread(target=beat, name="run lock", daemon=True)
    thread.start()
    try:
        yield
    finally:
        ended.set()
        thread.join()
        store.delete([_NAME])
