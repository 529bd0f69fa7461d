"""A cache on local disk for codes in a bucket, in blocks of neighboring samples, shared by the processes of a machine.

A request per sample would be slow and expensive. An epoch takes samples block by block (`sampler.py`), so a block is fetched
whole, in as few requests as the gaps between its samples allow, and checked against the checksums of the manifest.
A corpus that fits the cache is fetched once, whatever the number of epochs.
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
from pathlib import Path

import numpy as np
import obstore
from numpy.typing import NDArray

from voxbeam.schemas.errors import StorageError
from voxbeam.storage.cache import cache_folder
from voxbeam.trainer.data.index import Index

_GAP_BYTES = 64 << 10
"""a gap up to this size between two samples is read with them: it covers a sample's text, but not its audio"""
_FETCHES = 8
"""blocks fetched at the same time"""
_STALE_S = 3600
"""an unfinished file of this age was left by a process that died"""
_MAX_TRIES = 3
"""attempts for a block that arrives damaged; the storage client itself retries failed requests"""


class OpenFile:
    """A local file for reading in places. It is read, not memory-mapped: a mapped file that becomes shorter kills the process."""

    def __init__(self, path: Path) -> None:
        self._fd = os.open(path, os.O_RDONLY | os.O_CLOEXEC)

    def read(self, start: int, size: int) -> bytes:
        """Bytes from `start`; fewer than `size` if the file ends before."""
        return os.pread(self._fd, size, start)

    def __del__(self) -> None:
        if hasattr(self, "_fd"):
            os.close(self._fd)


ByteSpan = tuple[OpenFile, int, int]
"""the bytes of a sample: a file, first byte, size"""


class BlockCache:
    """Blocks of `size` samples of an index. They take at most `max_bytes` on disk, or as much as is in use at once."""

    def __init__(self, index: Index, size: int, max_bytes: int) -> None:
        self.index, self.size, self.max_bytes = index, size, max_bytes
        self.folder = cache_folder() / "stream" / "blocks" / f"{index.content_hash}-{size}"
        self._inflight: dict[int, Future[None]] = {}
        self._lock = threading.Lock()
        self._pool = ThreadPoolExecutor(_FETCHES, thread_name_prefix="blocks")
        self._spans = functools.lru_cache(maxsize=512)(self._map)

    def locate(self, samples: NDArray[np.int64]) -> list[ByteSpan]:
        """Where the bytes of samples are; fetches missing blocks. Raises StorageError for a block that arrives damaged."""
        blocks, rows = (samples // self.size).tolist(), (samples % self.size).tolist()
        self.prefetch(set(blocks))
        return [self._spans(block)[row] for block, row in zip(blocks, rows, strict=True)]

    def prefetch(self, blocks: Iterable[int]) -> None:
        """Starts fetching blocks in the background."""
        for block in blocks:
            self._request(block)

    def evict_except(self, blocks: set[int]) -> None:
        """Deletes the oldest files until the cache is within its limit, but none of these blocks."""
        with self._lock:
            for block in [block for block, future in self._inflight.items() if block not in blocks and future.done()]:
                del self._inflight[block]
        files = sorted(self._cached_files(), key=lambda item: item[1].st_mtime)
        excess = sum(stat.st_size for _, stat in files) - self.max_bytes
        for file, stat in files:
            if excess > 0 and not (file.parent == self.folder and int(file.name.split(".")[0]) in blocks):
                file.unlink(missing_ok=True)
                excess -= stat.st_size

    def _cached_files(self) -> Iterator[tuple[Path, os.stat_result]]:
        """Files of the cache, of all corpora, except those that a process is still writing."""
        for file in self.folder.parent.glob("*/*"):
            with suppress(FileNotFoundError):  # another process deleted or renamed it
                stat = file.stat()
                if file.suffix == ".bin" or stat.st_mtime < time.time() - _STALE_S:
                    yield file, stat

    def cancel(self) -> None:
        """Cancels fetches that have not started."""
        with self._lock:
            for block in [block for block, future in self._inflight.items() if future.cancel()]:
                del self._inflight[block]

    def _request(self, block: int) -> Future[None]:
        with self._lock:
            if block not in self._inflight:
                self._inflight[block] = self._pool.submit(self._fetch, block)
            return self._inflight[block]

    def _map(self, block: int) -> list[ByteSpan]:
        while True:
            self._request(block).result()
            try:
                content = OpenFile(self._file(block))
                break
            except FileNotFoundError:  # another process evicted it
                with self._lock:
                    self._inflight.pop(block, None)
        edges = np.cumsum(self.index.arrays["bytes"][block * self.size : (block + 1) * self.size], dtype=np.int64)
        return [(content, start, end - start) for start, end in pairwise([0, *edges.tolist()])]

    def _file(self, block: int) -> Path:
        return self.folder / f"{block}.bin"

    def _fetch(self, block: int) -> None:
        with suppress(FileNotFoundError):
            os.utime(self._file(block))
            return
        self.folder.mkdir(parents=True, exist_ok=True)
        with tempfile.NamedTemporaryFile(dir=self.folder, prefix=f"{block}.", delete=False) as file:
            for start, end in self._runs(block * self.size, min((block + 1) * self.size, len(self.index))):
                file.writelines(self._fetch_verified(start, end))
        Path(file.name).replace(self._file(block))

    def _runs(self, first: int, last: int) -> Iterator[tuple[int, int]]:
        """Samples first … last − 1, split where the shard changes."""
        changes = first + 1 + np.flatnonzero(np.diff(self.index.arrays["shard"][first:last]))
        return pairwise([first, *changes.tolist(), last])

    def _fetch_verified(self, start: int, end: int) -> list[memoryview]:
        """The bytes of samples of one shard, verified against the checksums of the manifest."""
        arrays, path = self.index.arrays, self.index.shards[int(self.index.arrays["shard"][start])]
        starts, lengths = arrays["offset"][start:end].tolist(), arrays["bytes"][start:end].tolist()
        wrong = start
        for _ in range(_MAX_TRIES):
            store = self.index.store.object_store
            found = obstore.get_ranges(store, path, starts=starts, lengths=lengths, coalesce=_GAP_BYTES)
            sums = np.array([zlib.crc32(content) for content in found], np.uint32)
            differing = np.flatnonzero(sums != arrays["crc32"][start:end])
            if not len(differing):
                return [memoryview(content) for content in found]
            wrong = start + int(differing[0])
        raise StorageError(
            f"{self.index.store.uri(path)} at byte {arrays['offset'][wrong]} does not match the checksum of "
            f"{self.index.key(wrong)}: the shard is damaged or was replaced",
            remedy="run `voxbeam verify` to find all damage",
        )
