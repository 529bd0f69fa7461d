"""Sparse file: stands for an object of a bucket in the decoder's hands; bytes are brought when they are read, and only once."""

import io
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import BinaryIO, cast

from voxbeam.transforms.audio.sandbox_ipc import ask_parent_to_fill

BLOCK = 256 << 10
_MOST_BLOCKS = 16
_BUFFER = 64 << 10


class SparseFile:
    """A local file of the object's size, which `fill(start, length)` fills. Opens like a Path.

    A decoder looks about (header, end, the places where a search halves), then reads on in a row. So one block is asked for
    at first, and a quarter of what was read in a row up to there later on: few requests, and little that nobody reads.
    """

    def __init__(self, path: Path, fill: Callable[[int, int], None] = ask_parent_to_fill) -> None:
        self.path, self.fill = path, fill
        self.size = path.stat().st_size
        self._there: set[int] = set()

    @property
    def name(self) -> str:
        return self.path.name

    @property
    def suffix(self) -> str:
        return self.path.suffix

    @property
    def whole(self) -> bool:
        """Whether all of it has been brought."""
        return len(self._there) == -(-self.size // BLOCK)

    def open(self, mode: str = "rb") -> BinaryIO:
        """The file for reading. All that are open share what has been brought."""
        if mode != "rb":
            raise ValueError(f"{self.name} is for reading as bytes, not for {mode!r}")
        return cast(BinaryIO, io.BufferedReader(_Reader(self), _BUFFER))

    def bring(self, start: int, length: int) -> None:
        """Fills what is not there yet of `length` bytes from `start`."""
        end = -(-min(start + length, self.size) // BLOCK)
        for block in range(start // BLOCK, end):
            if block not in self._there:
                self._bring(block, max(end - block, _ahead(self._in_a_row(block))))

    def _in_a_row(self, block: int) -> int:
        """How many blocks just before this one are there, as far as that matters."""
        row = 0
        while row < 4 * _MOST_BLOCKS and block - row - 1 in self._there:
            row += 1
        return row

    def _bring(self, first: int, wanted: int) -> None:
        last = min(first + min(wanted, _MOST_BLOCKS), -(-self.size // BLOCK))
        after = next((block for block in range(first, last) if block in self._there), last)
        self.fill(first * BLOCK, min(after * BLOCK, self.size) - first * BLOCK)
        self._there.update(range(first, after))


def _ahead(row: int) -> int:
    """How many blocks are asked for after so many in a row."""
    return min(max(row // 4, 1), _MOST_BLOCKS)


def asked_in_a_row(size: int) -> int:
    """How often a file of `size` bytes asks for more while it is read from beginning to end."""
    asked = there = 0
    while there * BLOCK < size:
        there += _ahead(there)
        asked += 1
    return asked


AudioFile = Path | SparseFile
"""what a decoder reads: a local file, or one that is filled while it is read"""


@contextmanager
def opened_for_library(file: AudioFile) -> Iterator[str | BinaryIO]:
    """What a decoding library reads: it opens a local file itself, and one that is fetched while it is read through Python."""
    if isinstance(file, Path):
        yield str(file)
    elif file.whole:
        yield str(file.path)
    else:
        with file.open("rb") as content:
            yield content


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
        self.file.bring(self._bytes.tell(), len(buffer))
        return self._bytes.readinto(buffer)

    def close(self) -> None:
        self._bytes.close()
        super().close()
