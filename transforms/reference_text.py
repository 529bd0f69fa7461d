"""Reference text: the stretch of a recording's text that each of its segments speaks, and the word error rate against it.

The text is of the whole recording; a unit hears a window of it, and of that only what was transcribed. So the words of all
transcripts are aligned with the text at once, with the fewest word errors, under one rule: words of the text may lie outside of
the segments, but between two segments no more than there is time to speak them. Those cost nothing; the others are charged to a
segment.

Shapes: columns are positions in the reference, 0 … N.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from voxbeam.models.words import word_errors

MAX_WORDS_PER_SECOND = 4
"""of time that was not transcribed: fast speech; read speech has 2.5"""
_EDIT = 1000
"""cost of a substitution or insertion"""
_SKIP = 1
"""cost of a word between segments: to substitute a word is better than to insert it and to skip its counterpart"""
_ORIGIN_BITS = 21
"""a cell is `cost << 21 | origin`: the least cell is the cheapest, of those the one that begins first"""
_MAX_WORDS = (1 << _ORIGIN_BITS) - 2
_UNREACHABLE = np.int64(1) << 61

Cells = NDArray[np.int64]
"""[N + 1], the best way to each column"""


@dataclass(frozen=True, kw_only=True)
class HeardSegment:
    """The words that the recognizer writes for a segment."""

    words: Sequence[str]
    start_ms: int
    end_ms: int


def reference_stretches(reference: Sequence[str], segments: Sequence[HeardSegment], duration_ms: int) -> list[tuple[int, int]]:
    """Of each segment the stretch [from, to) of the reference that it speaks. Stretches are in order and disjoint.

    Takes time proportional to the words of the reference times those of the segments (1.4 s for 2,500 of 90,000, a quarter of an
    hour of ten hours), and memory for the reference, and for the number of segments times the part of it that they span.

    Args:
        reference: words of the whole recording, as the segments' words are normalized.
        segments: disjoint, in order of time.
        duration_ms: of the recording.
    """
    if not segments:
        return []
    reference = reference[:_MAX_WORDS]
    numbers: dict[str, int] = {}
    ids_N = np.array([numbers.setdefault(word, len(numbers)) for word in reference], np.int32)
    heard = [np.array([numbers.get(word, -1) for word in segment.words], np.int32) for segment in segments]
    edges_ms = [0, *(edge for segment in segments for edge in (segment.start_ms, segment.end_ms)), duration_ms]
    room = [max(0, b - a) * MAX_WORDS_PER_SECOND // 1000 for a, b in zip(edges_ms[::2], edges_ms[1::2], strict=True)]
    deletions = [_deletion_cost(segment) for segment in segments]
    first, last = _span(ids_N, heard, room, deletions)
    stretches = [(first + start, first + end) for start, end in _trace(ids_N[first:last], heard, room, deletions)]
    stretches[0] = min(first, room[0]), stretches[0][1]
    stretches[-1] = stretches[-1][0], max(last, len(reference) - room[-1])
    return stretches


def reference_word_error_rates(
    reference: Sequence[str], segments: Sequence[HeardSegment], duration_ms: int
) -> list[float | None]:
    """Of each segment its word errors / the words of its stretch of the reference.

    Where that stretch has no words, the number of words heard; None where there is neither. Above 1 if more is heard than read.
    """
    rates: list[float | None] = []
    for segment, (start, end) in zip(segments, reference_stretches(reference, segments, duration_ms), strict=True):
        spoken = reference[start:end]
        rates.append(word_errors(spoken, segment.words) / max(1, len(spoken)) if spoken or segment.words else None)
    return rates


def _deletion_cost(segment: HeardSegment) -> int:
    """Of a word of the reference that a segment lacks: least in the segment with the fewest words for its time."""
    seconds = max(0.1, (segment.end_ms - segment.start_ms) / 1000)
    return _EDIT + min(99, round(10 * len(segment.words) / seconds))


def _span(ids_N: NDArray[np.int32], heard: list[NDArray[np.int32]], room: list[int], deletions: list[int]) -> tuple[int, int]:
    """The columns between which the segments' words lie. What is outside and has no room there is charged as deletions."""
    columns = np.arange(len(ids_N) + 1, dtype=np.int64)
    cells = np.maximum(columns - room[0], 0) * (deletions[0] - 1) << _ORIGIN_BITS | columns
    for i, words in enumerate(heard):
        if i:
            cells = _skip(cells, room[i])
        cells = _consume(cells, ids_N, words, deletions[i])
    cells += np.maximum(columns[::-1] - room[-1], 0) * (deletions[-1] - 1) << _ORIGIN_BITS
    last = len(ids_N) - int(np.argmin((cells >> _ORIGIN_BITS)[::-1]))
    return int(cells[last] & (1 << _ORIGIN_BITS) - 1), last


def _trace(
    ids_N: NDArray[np.int32], heard: list[NDArray[np.int32]], room: list[int], deletions: list[int]
) -> list[tuple[int, int]]:
    """The stretch of each segment, where the first begins at column 0 and the last ends at column N."""
    origins = np.arange(len(ids_N) + 1, dtype=np.int64)
    cells = np.full(len(origins), _UNREACHABLE)
    cells[0] = 0
    before: list[NDArray[np.int32]] = []  # where the segment before ends, if this one begins at a column
    begins: list[NDArray[np.int32]] = []  # where this segment begins, if it ends at a column
    for i, words in enumerate(heard):
        cells = _skip(_from_here(cells, origins), room[i] if i else 0)
        before.append(_origin(cells))
        cells = _consume(_from_here(cells, origins), ids_N, words, deletions[i])
        begins.append(_origin(cells))
    stretches: list[tuple[int, int]] = []
    end = len(ids_N)
    for i in reversed(range(len(heard))):
        start = int(begins[i][end])
        stretches.append((start, end))
        end = int(before[i][start])
    return stretches[::-1]


def _from_here(cells: Cells, origins: Cells) -> Cells:
    return cells >> _ORIGIN_BITS << _ORIGIN_BITS | origins


def _origin(cells: Cells) -> NDArray[np.int32]:
    return (cells & (1 << _ORIGIN_BITS) - 1).astype(np.int32)


def _consume(cells: Cells, ids_N: NDArray[np.int32], words: NDArray[np.int32], deletion: int) -> Cells:
    """The cells after the words of a segment."""
    edit, ramp = np.int64(_EDIT << _ORIGIN_BITS), np.arange(len(cells), dtype=np.int64) * (deletion << _ORIGIN_BITS)
    cells = np.minimum.accumulate(cells - ramp) + ramp
    for word in words:
        substituted = cells[:-1] + np.where(ids_N == word, 0, edit)
        cells = cells + edit
        np.minimum(cells[1:], substituted, out=cells[1:])
        cells -= ramp
        np.minimum.accumulate(cells, out=cells)
        cells += ramp
    return cells


def _skip(cells: Cells, most: int) -> Cells:
    """The cells after at most `most` words that belong to no segment."""
    ramp = np.arange(len(cells), dtype=np.int64) * (_SKIP << _ORIGIN_BITS)
    cells = cells - ramp
    width, most = 1, min(most, len(cells) - 1)
    while width <= most:  # cells[j] is the least of `width` columns that end at j
        step = min(width, most + 1 - width)
        cells[step:] = np.minimum(cells[step:], cells[:-step])
        width += step
    return cells + ramp
