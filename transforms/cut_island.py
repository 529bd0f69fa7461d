"""Cut island: the parts of an island in which one person speaks, if more than one does."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from voxbeam.transforms.audio.pauses import true_runs
from voxbeam.transforms.speech_index import SpeechIndex

DIP_MS = 20
"""the energy stays low for this long between words, and in some consonants: an edge of a part is put into such a dip"""
CHANGE_ERROR_MS = 300
"""a dip this near to a change of speaker is where the change is"""
CLEAR_DIP_MS = 90
"""a shorter dip may lie inside a word of somebody who is being interrupted"""
CHANGE_MARGIN_MS = 100
"""without a clear dip, this much on either side of a change is uncertain"""
MIXED_MARGIN_MS = 20
"""uncertain time on either side of a second voice"""
MIN_PART_MS = 200
"""a shorter part is rejected with what it lies beside"""


@dataclass(frozen=True)
class Island:
    """A stretch of sound, in ms from the start of the unit."""

    start: int
    end: int
    left: int
    """start of a segment that begins with this island"""
    right: int
    """end of a segment that ends with this island"""
    speaker: str | None = None
    reason: str | None = None


class IslandCutter:
    """Cuts the islands of a unit.

    Args:
        index: the unit's turns.
        quiet: [length] milliseconds of low energy.
        mixed: start and end in ms of the times in which a second voice is heard, in order.
    """

    def __init__(self, index: SpeechIndex, quiet: NDArray[np.bool_], mixed: Sequence[tuple[int, int]]) -> None:
        self._index, self._changes = index, index.changes()
        runs = true_runs(quiet)
        self._dips = runs[runs[:, 1] - runs[:, 0] >= DIP_MS]
        self._mixed = np.array(mixed, np.int64).reshape(-1, 2)

    def cut(self, island: Island) -> list[Island]:
        """The island's parts in order, each with a speaker or a reason; they cover it. The island whole if nothing divides it."""
        start, end = island.start, island.end
        uncertain = np.zeros(end - start, np.int8)
        for left, right in self._changes_in(start, end):
            uncertain[max(0, left - start) : max(0, right - start)] = 1
        for left, right in _touching(self._mixed, start, end):
            uncertain[max(0, left - MIXED_MARGIN_MS - start) : right + MIXED_MARGIN_MS - start] = 2
        if not uncertain.any():
            return [replace(island, speaker=self._speaker(start, end))]
        return list(self._parts(island, uncertain))

    def is_mixed(self, start: int, end: int) -> bool:
        """Whether a second voice is heard in a stretch."""
        return len(_touching(self._mixed, start, end)) > 0

    def clear_edges(self, island: Island) -> Island:
        """The island without edges of its silence in which a second voice is heard."""
        before, after = _touching(self._mixed, island.left, island.start), _touching(self._mixed, island.end, island.right)
        left = min(island.start, int(before[-1][1])) if len(before) else island.left
        return replace(island, left=left, right=max(island.end, int(after[0][0])) if len(after) else island.right)

    def _parts(self, island: Island, uncertain: NDArray[np.int8]) -> Iterator[Island]:
        done, left = island.start, island.left
        for first, last in true_runs(uncertain == 0).tolist():
            start, end = self._trim(island, island.start + first, island.start + last)
            if end - start < MIN_PART_MS or not self._index.speech(start, end):
                continue
            if self._is_dip(done, start):
                left = start
            elif start > done:
                yield Island(done, start, left, start, None, _reason(uncertain[done - island.start : start - island.start]))
                left = start
            right = island.right if end == island.end else end
            yield Island(start, end, left, right, self._speaker(start, end))
            done = left = end
        if done < island.end:
            yield Island(done, island.end, left, island.right, None, _reason(uncertain[done - island.start :]))

    def _trim(self, island: Island, start: int, end: int) -> tuple[int, int]:
        """A part without what may be half a word: edges in the middle of it move inwards to the nearest dip."""
        dips = _touching(self._dips, start, end)
        if start > island.start and not self._in_dip(start):
            start = (max(start, int(dips[0][0])) + int(dips[0][1])) // 2 if len(dips) else end
        if end < island.end and not self._in_dip(end):
            end = (int(dips[-1][0]) + min(end, int(dips[-1][1]))) // 2 if len(dips) else start
        return start, end

    def _is_dip(self, start: int, end: int) -> bool:
        """Whether a stretch is a dip and nothing else: a pause too short for the energy alone to cut at."""
        dips = _touching(self._dips, start, end)
        return start < end and len(dips) == 1 and dips[0][0] <= start and dips[0][1] >= end

    def _in_dip(self, at: int) -> bool:
        dips = _touching(self._dips, at - 1, at + 1)
        return len(dips) > 0

    def _changes_in(self, start: int, end: int) -> Iterator[tuple[int, int]]:
        """Uncertain times at the changes of speaker in an island: the deepest of the dips nearby, or a margin."""
        for before, after in self._changes:
            if before < end and after > start:
                # also the pauses on either side of the island: a change in one of them costs the island nothing
                dips = _touching(self._dips, max(start - 1, before - CHANGE_ERROR_MS), min(end + 1, after + CHANGE_ERROR_MS))
                longest = max(dips.tolist(), key=lambda dip: (dip[1] - dip[0], -dip[0]), default=(0, 0))
                if longest[1] - longest[0] >= CLEAR_DIP_MS:
                    yield longest[0], longest[1]
                else:
                    yield before - CHANGE_MARGIN_MS, after + CHANGE_MARGIN_MS

    def _speaker(self, start: int, end: int) -> str:
        return self._index.ranked(start, end)[0][1]


def _touching(intervals_K2: NDArray[np.int64], start: int, end: int) -> NDArray[np.int64]:
    """Those of the sorted, disjoint intervals that overlap with one interval."""
    first = int(np.searchsorted(intervals_K2[:, 1], start, "right"))
    return intervals_K2[first : int(np.searchsorted(intervals_K2[:, 0], end, "left"))]


def _reason(uncertain: NDArray[np.int8]) -> str:
    return "overlap" if (uncertain == 2).any() else "speaker_change"
