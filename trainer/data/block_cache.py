"""Blocks: codes of neighbouring samples of a bucket, in a cache on local disk that the processes of a machine share.

Asked sample by sample, object storage answers late and bills every request. An epoch takes samples block by block
(`sampler.py`); so a block is fetched whole, by as few requests as the gaps between its samples allow, checked against the
manifest's checksums, and mapped into memory. A corpus that fits the cache is fetched once, whatever the number of epochs.
"""

from __future__ import annotations

import functools
import os
import tempfile
import threading
import time
import zlib
from collections.abc import Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import suppress
from itertools import pairwise
from mmap import ACCESS_READ, mmap
from pathlib import Path

import numpy as np
import obstore
from numpy.typing import NDArray

from voxbeam.schemas.errors import StorageError
from voxbeam.storage.cache import cache_folder
from voxbeam.trainer.data.index import Index

_GAP_BYTES = 64 << 10
"""what lies between two samples is read along up to this size: a sample's text is, its sound is not"""
_FETCHES = 8
"""blocks on their way at the same time"""
_ABANDONED_S = 3600
"""a file that nobody has finished for so long was left by a process that died"""
_TRIES = 3
"""for a block that arrives damaged; what fails to arrive is asked for again by the storage client"""


Place = tuple[mmap, int, int]
"""the bytes of a sample: a file that is mapped into memory, from where to where in it"""


def map_file(path: Path) -> mmap:
    """A file as bytes that are read when they are looked at."""
    with path.open("rb") as file:
        return mmap(file.fileno(), 0, access=ACCESS_READ)


class Blocks:
    """Blocks of `size` samples of an index. On disk they take `most_bytes`, or as much as is wanted at once."""

    def __init__(self, index: Index, size: int, most_bytes: int) -> None:
        self.index, self.size, self.most_bytes = index, size, most_bytes
        self.folder = cache_folder() / "stream" / "blocks" / f"{index.stamp}-{size}"
        self._coming: dict[int, Future[None]] = {}
        self._lock = threading.Lock()
        self._pool = ThreadPoolExecutor(_FETCHES, thread_name_prefix="blocks")
        self._cut = functools.lru_cache(maxsize=512)(self._mapped)

    def places(self, samples: NDArray[np.int64]) -> list[Place]:
        """Where samples lie, fetched where they are not there yet. Raises StorageError for what arrives damaged."""
        blocks, rows = (samples // self.size).tolist(), (samples % self.size).tolist()
        self.want(set(blocks))
        return [self._cut(block)[row] for block, row in zip(blocks, rows, strict=True)]

    def want(self, blocks: Iterable[int]) -> None:
        """Has blocks fetched, while the caller goes on."""
        for block in blocks:
            self._wanted(block)

    def keep(self, blocks: set[int]) -> None:
        """Frees disk space down to the limit, oldest first, without touching these blocks."""
        with self._lock:
            for block in [block for block, future in self._coming.items() if block not in blocks and future.done()]:
                del self._coming[block]
        files = sorted(self._stored(), key=lambda item: item[1].st_mtime)
        excess = sum(stat.st_size for _, stat in files) - self.most_bytes
        for file, stat in files:
            if excess > 0 and not (file.parent == self.folder and int(file.name.split(".")[0]) in blocks):
                file.unlink(missing_ok=True)
                excess -= stat.st_size

    def _stored(self) -> Iterator[tuple[Path, os.stat_result]]:
        """Files of the cache, of all corpora; but none that some process is still writing."""
        for file in self.folder.parent.glob("*/*"):
            with suppress(FileNotFoundError):  # another process freed or finished it
                stat = file.stat()
                if file.suffix == ".bin" or stat.st_mtime < time.time() - _ABANDONED_S:
                    yield file, stat

    def cancel(self) -> None:
        """Gives up what has not begun to come."""
        with self._lock:
            for block in [block for block, future in self._coming.items() if future.cancel()]:
                del self._coming[block]

    def _wanted(self, block: int) -> Future[None]:
        with self._lock:
            if block not in self._coming:
                self._coming[block] = self._pool.submit(self._fetch, block)
            return self._coming[block]

    def _mapped(self, block: int) -> list[Place]:
        while True:
            self._wanted(block).result()
            try:
                content = map_file(self._file(block))
                break
            except FileNotFoundError:  # another process needed the space
                with self._lock:
                    self._coming.pop(block, None)
        edges = np.cumsum(self.index.arrays["bytes"][block * self.size : (block + 1) * self.size], dtype=np.int64)
        return [(content, start, end) for start, end in pairwise([0, *edges.tolist()])]

    def _file(self, block: int) -> Path:
        return self.folder / f"{block}.bin"

    def _fetch(self, block: int) -> None:
        with suppress(FileNotFoundError):
            os.utime(self._file(block))
            return
        self.folder.mkdir(parents=True, exist_ok=True)
        with tempfile.NamedTemporaryFile(dir=self.folder, prefix=f"{block}.", delete=False) as file:
            for start, end in self._runs(block * self.size, min((block + 1) * self.size, len(self.index))):
                file.writelines(self._checked(start, end))
        Path(file.name).replace(self._file(block))

    def _runs(self, first: int, last: int) -> Iterator[tuple[int, int]]:
        """Samples first … last − 1, divided where the shard changes."""
        changes = first + 1 + np.flatnonzero(np.diff(self.index.arrays["shard"][first:last]))
        return pairwise([first, *changes.tolist(), last])

    def _checked(self, start: int, end: int) -> list[memoryview]:
        """The bytes of samples of one shard, which are what the manifest's checksums say."""
        arrays, path = self.index.arrays, self.index.shards[int(self.index.arrays["shard"][start])]
        starts, lengths = arrays["offset"][start:end].tolist(), arrays["bytes"][start:end].tolist()
        wrong = start
        for _ in range(_TRIES):
            store = self.index.store.object_store
            found = obstore.get_ranges(store, path, starts=starts, lengths=lengths, coalesce=_GAP_BYTES)
            sums = np.array([zlib.crc32(content) for content in found], np.uint32)
            differing = np.flatnonzero(sums != arrays["crc32"][start:end])
            if not len(differing):
                return [memoryview(content) for content in found]
            wrong = start + int(differing[0])
        raise StorageError(
            f"{self.index.store.uri(path)} at byte {arrays['offset'][wrong]} is not what the manifest says of "
            f"{self.index.key(wrong)}: the shard was damaged or replaced",
            remedy="`voxbeam verify` finds what else is wrong",
        )
