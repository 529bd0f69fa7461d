"""Codes: those of any samples of an index, as views of a folder's shards or of a bucket's blocks.

That they are codes of the right shape is seen here; that none is too large costs reading them all, and is seen when a batch of
them is put together (`voxbeam.trainer.data.stream`), which reads them anyhow.

Shapes: K codebooks, T frames.
"""

from __future__ import annotations

import functools
from mmap import mmap
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from voxbeam.schemas.errors import StorageError
from voxbeam.storage.store import is_bucket
from voxbeam.trainer.data.block_cache import Blocks, Place, map_file
from voxbeam.trainer.data.index import Index

N_BOOKS, N_CODES = 8, 1024
_CODE_BYTES = 2
_OPEN_SHARDS = 256
"""mapped at the same time; each holds a file descriptor"""


class Codes:
    """The codes of samples. A folder's shards are mapped into memory; of a bucket, whole `blocks` are."""

    def __init__(self, index: Index, blocks: Blocks | None) -> None:
        self.index, self.blocks = index, blocks
        self._shard = functools.lru_cache(_OPEN_SHARDS)(self._mapped)

    def read(self, samples: NDArray[np.int64]) -> list[NDArray[np.int16]]:
        """Codes [K, T] of samples, in their order. Raises StorageError, naming the sample, for bytes of something else."""
        places = self.blocks.places(samples) if self.blocks else self._places(samples)
        frames = self.index.arrays["frames"][samples].tolist()
        return [self._array(*one) for one in zip(samples.tolist(), places, frames, strict=True)]

    def refuse(self, samples: NDArray[np.int64]) -> None:
        """Raises StorageError, naming the first of these samples with numbers that are no codes."""
        for sample, codes_KT in zip(samples.tolist(), self.read(samples), strict=True):
            if not are_codes(codes_KT):
                raise self._damaged(sample, codes_KT.shape[1])

    def _places(self, samples: NDArray[np.int64]) -> list[Place]:
        shards, starts, sizes = (self.index.arrays[name][samples] for name in ("shard", "offset", "bytes"))
        files = map(self._shard, shards.tolist())
        return list(zip(files, starts.tolist(), (starts + sizes).tolist(), strict=True))

    def _mapped(self, shard: int) -> mmap:
        return map_file(Path(self.index.store.root, self.index.shards[shard]))

    def _array(self, sample: int, place: Place, frames: int) -> NDArray[np.int16]:
        """An npy file as codes. Its header is not parsed: what it must say is known, and the parser is slow."""
        file, start, end = place
        begin = end - _CODE_BYTES * N_BOOKS * frames
        if begin > start and _HEADER % frames in file[start:begin] and end <= len(file):
            return np.ndarray((N_BOOKS, frames), np.int16, file, begin)
        raise self._damaged(sample, frames)

    def _damaged(self, sample: int, frames: int) -> StorageError:
        where = f"{self.index.shards[self.index.arrays['shard'][sample]]} at byte {self.index.arrays['offset'][sample]}"
        return StorageError(
            f"{where} does not hold the {frames} frames of {self.index.key(sample)}: the shard was damaged or replaced; "
            "`voxbeam verify` finds what else is wrong, and a copy of the shard mends it"
        )


def are_codes(codes: NDArray[np.int16]) -> bool:
    """Whether all numbers of a contiguous array are codes."""
    return codes.size == 0 or bool(codes.view(np.uint16).max() < N_CODES)  # as unsigned numbers, negative ones are large too


_HEADER = b"'descr': '<i2', 'fortran_order': False, 'shape': (8, %d)"


def open_codes(index: Index, blocks: Blocks) -> Codes:
    """Codes of an index, read in the way that suits where its shards lie."""
    return Codes(index, blocks if is_bucket(index.store.root) else None)
