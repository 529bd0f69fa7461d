"""Sparse file: a bucket's object for a decoder, as a local file whose bytes are fetched when they are read, and only once."""

import io
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import BinaryIO, cast

BLOCK = 256 << 10
_MAX_BLOCKS = 16
_BUFFER = 64 << 10


class SparseFile:
    """A local file of the object's size, which `fill(start, length)` fills. It opens like a Path.

    A decoder first reads in a few places (header, end, steps of a binary search), then sequentially. So the first request in a
    place is for one block, and later ones for a quarter of what has been read sequentially before: few requests, and few bytes
    that are never read.
    """

    def __init__(self, path: Path, fill: Callable[[int, int], None]) -> None:
        self.path, self.fill = path, fill
        self.size = path.stat().st_size
        self._present: set[int] = set()

    @property
    def name(self) -> str:
        return self.path.name

    @property
    def suffix(self) -> str:
        return self.path.suffix

    @property
    def complete(self) -> bool:
        """Whether every block has been fetched."""
        return len(self._present) == -(-self.size // BLOCK)

    def open(self, mode: str = "rb") -> BinaryIO:
        """The file for reading. All open handles share the fetched blocks."""
        if mode != "rb":
            raise ValueError(f"{self.name} can be opened as 'rb' only, not as {mode!r}")
        return cast(BinaryIO, io.BufferedReader(_Reader(self), _BUFFER))

    def ensure(self, start: int, length: int) -> None:
        """Fetches the missing blocks of `length` bytes from `start`."""
        end = -(-min(start + length, self.size) // BLOCK)
        for block in range(start // BLOCK, end):
            if block not in self._present:
                self._fetch(block, max(end - block, _read_ahead(self._run_length(block))))

    def _run_length(self, block: int) -> int:
        """How many blocks just before this one are present; no more than matter."""
        run = 0
        while run < 4 * _MAX_BLOCKS and block - run - 1 in self._present:
            run += 1
        return run

    def _fetch(self, first: int, wanted: int) -> None:
        last = min(first + min(wanted, _MAX_BLOCKS), -(-self.size // BLOCK))
        end = next((block for block in range(first, last) if block in self._present), last)
        self.fill(first * BLOCK, min(end * BLOCK, self.size) - first * BLOCK)
        self._present.update(range(first, end))


def _read_ahead(run: int) -> int:
    """How many blocks to request after a run of this many."""
    return min(max(run // 4, 1), _MAX_BLOCKS)


def sequential_requests(size: int) -> int:
    """Number of requests for a file of `size` bytes that is read from beginning to end."""
    requests = present = 0
    while present * BLOCK < size:
        present += _read_ahead(present)
        requests += 1
    return requests


AudioFile = Path | SparseFile
"""input of a decoder: a local file, or one that is filled while it is read"""


@contextmanager
def opened_for_library(file: AudioFile) -> Iterator[str | BinaryIO]:
    """The file for a decoding library: a path if all bytes are present, which is faster; otherwise a Python file object."""
    if isinstance(file, Path):
        yield str(file)
    elif file.complete:
        yield str(file.path)
    else:
        with file.open("rb") as content:
            yield content


@contextmanager
def opened_part(file: AudioFile, start: int, end: int) -> Iterator[BinaryIO]:
    """The bytes from `start` up to `end` of a file, as a file object of their own."""
    with file.open("rb") as content:
        yield cast(BinaryIO, io.BufferedReader(_Part(content, start, end), _BUFFER))


class _Part(io.RawIOBase):
    def __init__(self, content: BinaryIO, start: int, end: int) -> None:
        self.content, self.start, self.end, self.name = content, start, end, "part"
        content.seek(start)

    def readable(self) -> bool:
        return True

    def seekable(self) -> bool:
        return True

    def seek(self, offset: int, whence: int = io.SEEK_SET) -> int:
        base = {io.SEEK_SET: self.start, io.SEEK_CUR: self.content.tell(), io.SEEK_END: self.end}[whence]
        return self.content.seek(max(self.start, base + offset)) - self.start

    def tell(self) -> int:
        return self.content.tell() - self.start

    def readinto(self, buffer: memoryview) -> int:  # type: ignore[override]
        found = self.content.read(max(0, min(len(buffer), self.end - self.content.tell())))
        buffer[: len(found)] = found
        return len(found)


class _Reader(io.RawIOBase):
    def __init__(self, file: SparseFile) -> None:
        self.file, self.name = file, file.name
        self._bytes = file.path.open("rb", buffering=0)

    def readable(self) -> bool:
        return True

    def seekable(self) -> bool:
        return True

    def seek(self, offset: int, whence: int = io.SEEK_SET) -> int:
        return self._bytes.seek(offset, whence)

    def tell(self) -> int:
        return self._bytes.tell()

    def readinto(self, buffer: memoryview) -> int:  # type: ignore[override]
        self.file.ensure(self._bytes.tell(), len(buffer))
        return self._bytes.readinto(buffer)

    def close(self) -> None:
        self._bytes.close()
        super().close()
