"""Strata: by which parts a release is sampled, and how many clips each part gets. Pure functions."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from itertools import takewhile

import numpy as np
from numpy.typing import NDArray

BANDS = ("weakest 10 %", "next 30 %", "best 60 %")
"""of all samples, by their worst score"""
_LIMITS = (0.9, 0.6)
"""fractions of samples that are less weak than a band"""
MAX_SOURCES = 4


def source_names(uris: Mapping[str, str]) -> dict[str, str]:
    """For each recording, the name of its source: the first folder in which addresses differ.

    Recordings of sources beyond the largest three are of "other", and all of them are of "all" where folders do not tell.
    """
    folders = {name: uri.split("/")[:-1] for name, uri in uris.items()}
    levels = takewhile(lambda parts: len(set(parts)) == 1, zip(*folders.values(), strict=False))
    common = sum(1 for _ in levels)
    names = {name: "/".join(parts[common : common + 1]) or "all" for name, parts in folders.items()}
    sizes = Counter(names.values())
    largest = [name for name, _ in sorted(sizes.items(), key=lambda item: (-item[1], item[0]))[: MAX_SOURCES - 1]]
    if len(sizes) <= MAX_SOURCES:
        return names
    return {name: source if source in largest else "other" for name, source in names.items()}


def weakness_bands(scores: list[NDArray[np.float32]]) -> NDArray[np.int64]:
    """The band of every sample [N], as an index of BANDS, from scores [N] in which more is worse; NaN: there is none."""
    weakness = np.zeros(len(scores[0]), np.float32)
    for values in scores:
        there = np.isfinite(values)
        if there.any():
            ordered = np.sort(values[there])
            rank = np.searchsorted(ordered, values[there], side="left") / len(ordered)  # equal scores are equally weak
            weakness[there] = np.maximum(weakness[there], rank.astype(np.float32))
    ordered = np.sort(weakness)
    rank = np.searchsorted(ordered, weakness, side="left") / len(ordered)
    return np.where(rank >= _LIMITS[0], 0, np.where(rank >= _LIMITS[1], 1, 2))


def allot(sizes: Mapping[int, int], clips: int) -> dict[int, int]:
    """How many clips each stratum gets: half of them in equal parts, half by size, none more than it has.

    Every stratum gets one at least, while there are clips. The sum is `clips`, or all samples if there are fewer.
    """
    clips = min(clips, sum(sizes.values()))
    given = dict.fromkeys(sizes, 0)
    total = sum(sizes.values())
    want = {cell: clips / 2 / len(sizes) + clips / 2 * size / total for cell, size in sizes.items()}
    for _ in range(clips):
        open_cells = [cell for cell, size in sizes.items() if given[cell] < size]
        given[max(open_cells, key=lambda cell: (given[cell] == 0, want[cell] - given[cell], -cell))] += 1
    return given
