"""Codes: those of any samples of an index, from the shards of a folder or the blocks of a bucket, checked to be codes.

Shapes: K codebooks, T frames.
"""

from __future__ import annotations

import functools
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from assets.storage import StorageError, is_bucket
from trainer.blocks import Blocks
from trainer.index import Index

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
        """Codes [K, T] of samples, in their order. Raises StorageError, naming the sample, for bytes that are something else."""
        contents = self.blocks.contents(samples) if self.blocks else self._contents(samples)
        frames = self.index.arrays["frames"][samples].tolist()
        return [self._checked(*one) for one in zip(samples.tolist(), contents, frames, strict=True)]

    def _contents(self, samples: NDArray[np.int64]) -> list[NDArray[np.uint8]]:
        places = (self.index.arrays[name][samples].tolist() for name in ("shard", "offset", "bytes"))
        return [self._shard(shard)[start : start + size] for shard, start, size in zip(*places, strict=True)]

    def _mapped(self, shard: int) -> NDArray[np.uint8]:
        path = Path(self.index.store.root, self.index.shards[shard])
        return np.asarray(np.memmap(path, np.uint8, "r"))  # a plain view of it is cut several times faster

    def _checked(self, sample: int, content: NDArray[np.uint8], frames: int) -> NDArray[np.int16]:
        """Bytes of an npy file as codes. Its header is not parsed: what it must say is known, and the parser is slow."""
        begin = max(0, len(content) - _CODE_BYTES * N_BOOKS * frames)
        if _HEADER % frames in content[:begin].tobytes():
            codes_KT = content[begin:].view(np.int16).reshape(N_BOOKS, frames)
            # as unsigned numbers, negative ones are large too
            if not frames or np.maximum.reduce(codes_KT.view(np.uint16), axis=None) < N_CODES:
                return codes_KT
        where = f"{self.index.shards[self.index.arrays['shard'][sample]]} at byte {self.index.arrays['offset'][sample]}"
        raise StorageError(
            f"{where} does not hold the {frames} frames of {self.index.key(sample)}: the shard was damaged or replaced; "
            "`voxbeam verify` finds what else is wrong, and a copy of the shard mends it"
        )


_HEADER = b"'descr': '<i2', 'fortran_order': False, 'shape': (8, %d)"


def open_codes(index: Index, blocks: Blocks) -> Codes:
    """Codes of an index, read in the way that suits where its shards lie."""
    return Codes(index, blocks if is_bucket(index.store.root) else None)
