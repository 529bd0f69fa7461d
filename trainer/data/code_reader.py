"""Reads the codes of samples, from the shards of a folder or from cached blocks of a bucket.

Every sample is compared with its checksum in the manifest, and its shape is checked. The range of the codes is checked once per
batch (`voxbeam.trainer.data.stream`), where all of them are read anyway.

Shapes: K codebooks, T frames.
"""

from __future__ import annotations

import functools
import zlib
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from voxbeam.schemas.errors import StorageError
from voxbeam.schemas.formats import CODEBOOK_SIZE, N_CODEBOOKS
from voxbeam.storage.store import is_bucket
from voxbeam.trainer.data.block_cache import BlockCache, ByteSpan, OpenFile
from voxbeam.trainer.data.index import Index

_CODE_BYTES = 2
_OPEN_SHARDS = 256
"""shards open at the same time; each needs a file descriptor"""


class CodeReader:
    """The codes of samples. Without `blocks`, they are read from the shards of a folder."""

    def __init__(self, index: Index, blocks: BlockCache | None) -> None:
        self.index, self.blocks = index, blocks
        self._shard = functools.lru_cache(_OPEN_SHARDS)(self._open)

    def read(self, samples: NDArray[np.int64]) -> list[NDArray[np.int16]]:
        """Codes [K, T] of each sample. Raises StorageError, naming the sample, for bytes that are not its codes."""
        spans = self.blocks.locate(samples) if self.blocks else self._locate(samples)
        frames = self.index.arrays["frames"][samples].tolist()
        checksums = self.index.arrays["crc32"][samples].tolist()
        return [self._array(*one) for one in zip(samples.tolist(), spans, frames, checksums, strict=True)]

    def validate(self, samples: NDArray[np.int64]) -> None:
        """Raises StorageError, naming the first of these samples with a number outside the codebook."""
        for sample, codes_KT in zip(samples.tolist(), self.read(samples), strict=True):
            if not in_codebook_range(codes_KT):
                raise self._corrupt_error(sample, codes_KT.shape[1])

    def _locate(self, samples: NDArray[np.int64]) -> list[ByteSpan]:
        shards, starts, sizes = (self.index.arrays[name][samples] for name in ("shard", "offset", "bytes"))
        files = map(self._shard, shards.tolist())
        return list(zip(files, starts.tolist(), sizes.tolist(), strict=True))

    def _open(self, shard: int) -> OpenFile:
        path = self.index.shards[shard]
        try:
            return OpenFile(Path(self.index.store.root, path))
        except OSError as error:
            raise StorageError(
                f"cannot read {self.index.store.uri(path)}: {error.strerror}",
                remedy="run `voxbeam verify` to find all damage, and restore the shard from a copy",
            ) from error

    def _array(self, sample: int, span: ByteSpan, frames: int, checksum: int) -> NDArray[np.int16]:
        """The codes in an npy file. The header is compared, not parsed: its content is known, and numpy's parser is slow."""
        file, start, size = span
        content = file.read(start, size)
        begin = size - _CODE_BYTES * N_CODEBOOKS * frames
        if len(content) == size and zlib.crc32(content) == checksum and begin > 0 and _HEADER % frames in content[:begin]:
            return np.ndarray((N_CODEBOOKS, frames), np.int16, content, begin)
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
    """The reader of an index: through the block cache for a bucket, from the shards for a folder."""
    return CodeReader(index, blocks if is_bucket(index.store.root) else None)
