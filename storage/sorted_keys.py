"""Sorted keys: where a key is in a table of millions, by hashes of 8 bytes each."""

from collections.abc import Sequence
from typing import Self

import numpy as np
from numpy.typing import NDArray

from voxbeam.schemas.sample_keys import key_digest


def key_digests(keys: Sequence[str]) -> NDArray[np.uint64]:
    """The hashes [N] of keys."""
    return np.fromiter(map(key_digest, keys), np.uint64, len(keys))


class SortedKeys:
    """The keys of a table in the order of their hashes."""

    def __init__(self, digests_N: NDArray[np.uint64]) -> None:
        self._digests_N = digests_N

    @classmethod
    def of(cls, batches: Sequence[NDArray[np.uint64]]) -> tuple[Self, NDArray[np.int64]]:
        """From the hashes of the rows' keys; and the rows [N] in this order, to sort by it what belongs to the keys."""
        digests_N = np.concatenate(batches) if batches else np.empty(0, np.uint64)
        order_N = np.argsort(digests_N)
        return cls(digests_N[order_N]), order_N

    def find(self, key: str) -> int | None:
        """The place of a key in this order; None if it is not there."""
        digest = np.uint64(key_digest(key))
        place = int(np.searchsorted(self._digests_N, digest))
        return place if place < len(self._digests_N) and self._digests_N[place] == digest else None
