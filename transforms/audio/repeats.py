"""Repeated packets: a network recorder that fills a gap with the packet before it, sample for sample.

Found at the recording's own sample rate, where the copies are exact. A lossy codec behind the recorder changes every copy a
little: similar_packets.py finds half of those. A cross-fade between copies hides their edges: such repeats are not found here.
"""

import numpy as np
from numpy.typing import NDArray

MIN_LAG_MS, MAX_LAG_MS = 10, 60
"""how long packets are"""
_ANCHOR_MS = 4
"""windows are compared at such intervals"""
_WINDOW = 16
_EDGE_MS = 12
"""of a packet, how much a resampler between the recorder and this file may have changed at its edges"""
_MIN_REPEAT_MS = 5
_MAX_EXCESS = 8
"""samples behind a repeat that go on like it by chance"""
_MAX_TIMES_WITH_EDGES = 2
"""a hum is an exact repetition of any length, so one of many times must be exact at its edges too"""
_MIN_LEVEL = 0.1
"""of the waveform's own: −20 dB, so that the noise that a telephone makes up for pauses does not count"""
_MIN_MOVING = 0.5
"""fraction of the samples that differ from the one before: a square wave of a synthesizer stands still for the most part"""
_ANCHORS_AT_ONCE = 2000


def repeated_stretches(mono_T: NDArray[np.float32], rate: int) -> list[tuple[int, int]]:
    """Stretches (first sample, end) that repeat what is right before them: one to many copies of 10 to 60 ms of sound, in order.

    Sound that is periodic with less than 10 ms, and stretches in which the waveform stands still, are none. What repeats for
    another length than a multiple of its period is a hum or a tone, and none either.
    """
    shortest, longest = rate * MIN_LAG_MS // 1000, rate * MAX_LAG_MS // 1000
    step, edge = rate * _ANCHOR_MS // 1000, rate * _EDGE_MS // 1000
    if len(mono_T) < 2 * shortest or step == 0:
        return []
    bits_T = np.ascontiguousarray(mono_T + np.float32(0), np.float32).view(np.uint32)  # −0 becomes 0
    level = _MIN_LEVEL * float(np.sqrt(np.square(mono_T, dtype=np.float64).mean()))
    found: list[tuple[int, int]] = []
    for anchor, lag in _matches(bits_T, longest, step):
        if lag < shortest or (found and anchor < found[-1][1]):
            continue
        start, end = _extent(bits_T, anchor, lag)
        if start <= lag or end == len(mono_T):  # where it began or ends is not known
            continue
        length = end - start
        if float((bits_T[start + 1 : end] != bits_T[start : end - 1]).mean()) < _MIN_MOVING:
            continue
        times = max(1, round(length / lag))
        slack = edge if times <= _MAX_TIMES_WITH_EDGES else 0
        if not max(times * lag - slack, rate * _MIN_REPEAT_MS // 1000) <= length <= times * lag + _MAX_EXCESS:
            continue
        if float(np.sqrt(np.square(mono_T[start:end], dtype=np.float64).mean())) > level:
            found.append((start, end))
    return found


def _matches(bits_T: NDArray[np.uint32], longest: int, step: int) -> list[tuple[int, int]]:
    """(sample, lag) of windows that equal the one `lag` samples before them, and no nearer one."""
    hashes_T = _window_hashes(bits_T)
    anchors_N = np.arange(longest, len(hashes_T) - 1, step)
    anchors_N = anchors_N[hashes_T[anchors_N] != hashes_T[anchors_N + 1]]  # a waveform that stands still
    before_TL = np.lib.stride_tricks.sliding_window_view(hashes_T, longest)
    found = []
    for at in range(0, len(anchors_N), _ANCHORS_AT_ONCE):
        some_N = anchors_N[at : at + _ANCHORS_AT_ONCE]
        equal_NL = before_TL[some_N - longest] == hashes_T[some_N, None]
        for index in np.flatnonzero(equal_NL.any(axis=1)):
            lag = longest - int(np.flatnonzero(equal_NL[index])[-1])
            found.append((int(some_N[index]), lag))
    return found


def _window_hashes(bits_T: NDArray[np.uint32]) -> NDArray[np.uint64]:
    """A hash of every `_WINDOW` successive samples: [T − _WINDOW + 1]."""
    hashes_T, width = bits_T.astype(np.uint64), 1
    factor = 0x9E3779B97F4A7C15
    while width < _WINDOW:
        hashes_T = hashes_T[:-width] * np.uint64(factor) + hashes_T[width:]
        factor = factor * factor % (1 << 64)
        width *= 2
    return hashes_T


def _extent(bits_T: NDArray[np.uint32], anchor: int, lag: int) -> tuple[int, int]:
    """The longest stretch around `anchor` in which every sample equals the one `lag` samples before it."""
    start, end = anchor, anchor
    while end < len(bits_T):
        stop = min(end + 4 * lag, len(bits_T))
        differs = np.flatnonzero(bits_T[end:stop] != bits_T[end - lag : stop - lag])
        if len(differs):
            end += int(differs[0])
            break
        end = stop
    while start > lag:
        stop = max(start - 4 * lag, lag)
        differs = np.flatnonzero(bits_T[stop:start] != bits_T[stop - lag : start - lag])
        if len(differs):
            start = stop + int(differs[-1]) + 1
            break
        start = stop
    return start, end
