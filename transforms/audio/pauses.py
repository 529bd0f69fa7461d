"""Pauses: where short-time energy falls to the background. Pure numpy, deterministic, one pass.

Levels are in dB below full scale, after a first difference: it takes rumble and mains hum away and lifts weak
fricatives, so that an /s/ at the end of a word is sound and a humming room is not.
"""

import numpy as np
from numpy.typing import NDArray

HOP_MS = 10
WINDOW_MS = 25
SURROUNDINGS_S = 5.0
"""how far on either side the background and the speech level are looked for"""
QUIET = 0.3
"""a pause is quieter than background + this share of the distance to the speech level"""
DYNAMIC_DB = 50.0
"""background is never taken to be further below speech; else digital silence would make room noise sound"""
SILENCE_DB = -100.0


def levels(pcm: NDArray[np.float32], sample_rate: int) -> NDArray[np.float32]:
    """Level in dB of every 10 ms of sound [n], measured over 25 ms around its middle: [ceil(n / hop)]."""
    hop, window = sample_rate * HOP_MS // 1000, sample_rate * WINDOW_MS // 1000
    frames = -(-len(pcm) // hop)
    if frames == 0:
        return np.zeros(0, np.float32)
    power = np.square(np.diff(pcm.astype(np.float64), prepend=pcm[:1]))
    total = np.concatenate([[0.0], np.cumsum(power)])
    first = np.arange(frames) * hop + (hop - window) // 2
    start, end = np.clip(first, 0, len(pcm)), np.clip(first + window, 0, len(pcm))
    mean = (total[end] - total[start]) / np.maximum(1, end - start)
    return (10 * np.log10(np.maximum(mean, 10 ** (SILENCE_DB / 10)))).astype(np.float32)


def quiet_frames(level: NDArray[np.float32]) -> NDArray[np.bool_]:
    """Which of the frames [t] are a pause, judged by background and speech level around each of them."""
    if not len(level):
        return np.zeros(0, np.bool_)
    around, hop = round(SURROUNDINGS_S * 1000 / HOP_MS), 1000 // HOP_MS
    if len(level) <= 2 * around:
        floor, loud = (np.full(len(level), np.percentile(level, q), np.float32) for q in (5, 95))
    else:
        windows = np.lib.stride_tricks.sliding_window_view(level, 2 * around)[::hop]
        low, high = np.percentile(windows, (5, 95), axis=1)
        at = np.arange(len(windows)) * hop + around
        frames = np.arange(len(level))
        floor, loud = np.interp(frames, at, low), np.interp(frames, at, high)
    floor = np.maximum(floor, loud - DYNAMIC_DB)
    return np.asarray(level <= floor + QUIET * (loud - floor), np.bool_)


def runs(mask: NDArray[np.bool_]) -> NDArray[np.int64]:
    """Start and end [k, 2] of every run of True."""
    edges = np.flatnonzero(np.diff(np.concatenate([[False], mask, [False]]).astype(np.int8)))
    return edges.reshape(-1, 2)


def pause_near(pcm: NDArray[np.float32], sample_rate: int) -> int:
    """Sample at the centre of the longest pause in a short stretch of sound [n]; of equally long ones, the quietest.

    Without any pause, the quietest 25 ms. Both neighbours of a window edge call it on the same samples and get the same
    answer. Time O(n log n), memory O(n); an empty stretch gives 0.
    """
    level = levels(pcm, sample_rate)
    if not len(level):
        return 0
    pauses = runs(quiet_frames(level))
    hop = sample_rate * HOP_MS // 1000
    if not len(pauses):
        return min(len(pcm) - 1, int(level.argmin()) * hop + hop // 2)
    start, end = max(pauses.tolist(), key=lambda p: (p[1] - p[0], -float(level[p[0] : p[1]].mean()), -p[0]))
    return min(len(pcm) - 1, (start + end) * hop // 2)
