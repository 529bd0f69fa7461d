"""Pauses: where the short-time energy falls to the background level. Pure numpy and deterministic.

Levels are in dB relative to full scale, after a first difference. It removes rumble and mains hum and lifts weak fricatives, so
that an /s/ at the end of a word counts as sound and a humming room does not.
"""

import numpy as np
from numpy.typing import NDArray

HOP_MS = 10
WINDOW_MS = 25
CONTEXT_S = 5.0
"""background and speech level are measured within this time before and after a frame"""
QUIET = 0.3
"""a frame belongs to a pause if its level is below background + this fraction of the distance to the speech level"""
DYNAMIC_DB = 50.0
"""the background is taken to be at most this far below the speech level; digital silence would make room noise count as sound"""
SILENCE_DB = -100.0


def frame_levels_db(pcm: NDArray[np.float32], sample_rate: int) -> NDArray[np.float32]:
    """Level in dB of each 10 ms frame of audio [n], measured over 25 ms around the frame's center: [ceil(n / hop)]."""
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


def pause_mask(level_T: NDArray[np.float32]) -> NDArray[np.bool_]:
    """Which frames [T] belong to a pause, relative to the background and speech level around each of them."""
    if not len(level_T):
        return np.zeros(0, np.bool_)
    context, hop = round(CONTEXT_S * 1000 / HOP_MS), 1000 // HOP_MS
    if len(level_T) <= 2 * context:
        floor_T, loud_T = (np.full(len(level_T), np.percentile(level_T, q), np.float32) for q in (5, 95))
    else:
        windows = np.lib.stride_tricks.sliding_window_view(level_T, 2 * context)[::hop]
        low, high = np.percentile(windows, (5, 95), axis=1)
        at = np.arange(len(windows)) * hop + context
        frames = np.arange(len(level_T))
        floor_T, loud_T = np.interp(frames, at, low), np.interp(frames, at, high)
    floor_T = np.maximum(floor_T, loud_T - DYNAMIC_DB)
    return np.asarray(level_T <= floor_T + QUIET * (loud_T - floor_T), np.bool_)


def true_runs(mask: NDArray[np.bool_]) -> NDArray[np.int64]:
    """Start and end [k, 2] of every run of True."""
    edges = np.flatnonzero(np.diff(np.concatenate([[False], mask, [False]]).astype(np.int8)))
    return edges.reshape(-1, 2)


def find_longest_pause(pcm: NDArray[np.float32], sample_rate: int) -> int:
    """Sample at the center of the longest pause of a stretch of audio [n]; of equally long ones, the quietest.

    Without any pause, the center of the quietest frame; 0 for no samples. The result depends on the arguments only, so two
    windows that share an edge find the same one. Time O(n log n), memory O(n).
    """
    level_T = frame_levels_db(pcm, sample_rate)
    if not len(level_T):
        return 0
    pauses = true_runs(pause_mask(level_T))
    hop = sample_rate * HOP_MS // 1000
    if not len(pauses):
        return min(len(pcm) - 1, int(level_T.argmin()) * hop + hop // 2)
    start, end = max(pauses.tolist(), key=lambda p: (p[1] - p[0], -float(level_T[p[0] : p[1]].mean()), -p[0]))
    return min(len(pcm) - 1, (start + end) * hop // 2)
