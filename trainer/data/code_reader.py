"""Reads the codes of samples, as views of memory-mapped shards in a folder or of cached blocks of a bucket.

The shape is checked here. The range of the codes is checked once per batch (`voxbeam.trainer.data.stream`), where all of them are
read anyway.

Shapes: K codebooks, T frames.
"""

from __future__ import annotations

import functools
from mmap import mmap
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from voxbeam.schemas.errors import StorageError
from voxbeam.schemas.formats import CODEBOOK_SIZE, N_CODEBOOKS
from voxbeam.storage.store import is_bucket
from voxbeam.trainer.data.block_cache import BlockCache, ByteSpan, map_file
from voxbeam.trainer.data.index import Index

_CODE_BYTES = 2
_OPEN_SHARDS = 256
"""shards mapped at the same time; each needs a file descriptor"""


class CodeReader:
    """The codes of samples. Without `blocks`, the shards of a folder are memory-mapped."""

    def __init__(self, index: Index, blocks: BlockCache | None) -> None:
        self.index, self.blocks = index, blocks
        self._shard = functools.lru_cache(_OPEN_SHARDS)(self._map)

    def read(self, samples: NDArray[np.int64]) -> list[NDArray[np.int16]]:
        """Codes [K, T] of each sample. Raises StorageError, naming the sample, for bytes that are not its codes."""
        spans = self.blocks.locate(samples) if self.blocks else self._locate(samples)
        frames = self.index.arrays["frames"][samples].tolist()
        return [self._array(*one) for one in zip(samples.tolist(), spans, frames, strict=True)]

    def validate(self, samples: NDArray[np.int64]) -> None:
        """Raises StorageError, naming the first of these samples with a number outside the codebook."""
        for sample, codes_KT in zip(samples.tolist(), self.read(samples), strict=True):
            if not in_codebook_range(codes_KT):
                raise self._corrupt_error(sample, codes_KT.shape[1])

    def _locate(self, samples: NDArray[np.int64]) -> list[ByteSpan]:
        shards, starts, sizes = (self.index.arrays[name][samples] for name in ("shard", "offset", "bytes"))
        files = map(self._shard, shards.tolist())
        return list(zip(files, starts.tolist(), (starts + sizes).tolist(), strict=True))

    def _map(self, shard: int) -> mmap:
        return map_file(Path(self.index.store.root, self.index.shards[shard]))

    def _array(self, sample: int, span: ByteSpan, frames: int) -> NDArray[np.int16]:
        """The codes in an npy file. The header is compared, not parsed: its content is known, and numpy's parser is slow."""
        file, start, end = span
        begin = end - _CODE_BYTES * N_CODEBOOKS * frames
        if begin > start and _HEADER % frames in file[start:begin] and end <= len(file):
            return np.ndarray((N_CODEBOOKS, frames), np.int16, file, begin)
        raise self._corrupt_error(sample, frames)

    def _corrupt_error(self, sample: int, frames: int) -> StorageError:
        where = f"{self.index.shards[self.index.arrays['shard'][sample]]} at byte {self.index.arrays['offset'][sample]}"
        return StorageError(
            f"{where} does not contain the {frames} frames of {self.index.key(sample)}: the shard is damaged or was replaced",
            remedy="run `voxbeam verify` to find all damage, and restore the shard from a copy",
        )


def in_codebook_range(codes: NDArray[np.int16]) -> bool:
    """Whether all numbers of a contiguous array are valid codes."""
    return codes.size == 0 or bool(codes.view(np.uint16).max() < CODEBOOK_SIZE)  # unsigned, negative numbers are large too


_HEADER = b"'descr': '<i2', 'fortran_order': False, 'shape': (8, %d)"


def open_code_reader(index: Index, blocks: BlockCache) -> CodeReader:
    """The reader of an index: through the block cache for a bucket, memory-mapped for a folder."""
    return CodeReader(index, blocks if is_bucket(index.store.root) else None)
