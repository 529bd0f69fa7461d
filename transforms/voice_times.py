"""Times of voices: turns, turns beside them and mixed times, from the voice of each block and probabilities of each moment.

Shapes: N blocks of 100 ms, T moments of 10 ms, U frames of 20 ms.
"""

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from voxbeam.models.speech_activity import MOMENT_MS
from voxbeam.models.voice_track import BLOCK_MS, FRAME_MS
from voxbeam.transforms.audio.pauses import true_runs

MIXED_MS, MIXED_GAP_MS = 80, 60
"""a second voice that is heard for less is not one; heard again after less, it has not stopped"""


def nearest_voice(voice_N: NDArray[np.int64]) -> NDArray[np.int64]:
    """The voice of each block, or of the nearest block that has one; the one before, if two are equally near."""
    known = np.flatnonzero(voice_N >= 0)
    if not len(known):
        return np.zeros_like(voice_N)
    at = np.arange(len(voice_N))
    after = known[np.clip(np.searchsorted(known, at), 0, len(known) - 1)]
    before = known[np.clip(np.searchsorted(known, at, "right") - 1, 0, len(known) - 1)]
    return np.asarray(voice_N[np.where(np.abs(after - at) < np.abs(at - before), after, before)])


def second_nearest_voice(alone_N: NDArray[np.int64], voice_N: NDArray[np.int64]) -> NDArray[np.int64]:
    """The voice of the nearest block with another voice than each block's `voice_N`; −1 if there is none."""
    found_N, distance_N = np.full_like(voice_N, -1), np.full(len(voice_N), len(voice_N))
    at = np.arange(len(voice_N))
    for voice in np.unique(alone_N[alone_N >= 0]):
        known = np.flatnonzero(alone_N == voice)
        place = np.searchsorted(known, at)
        nearest = np.stack([known[np.maximum(0, place - 1)], known[np.minimum(len(known) - 1, place)]])
        away_N = np.abs(nearest - at).min(axis=0)
        closer = (voice_N != voice) & (away_N < distance_N)
        found_N[closer], distance_N[closer] = voice, away_N[closer]
    return found_N


def mixed_times(second_U: NDArray[np.float32], limit: float, least_ms: int) -> list[tuple[int, int]]:
    """Start and end in ms of the times in which a second voice is heard for `least_ms` or more."""
    times: list[tuple[int, int]] = []
    for start, end in (true_runs(second_U > limit) * FRAME_MS).tolist():
        if times and start - times[-1][1] < MIXED_GAP_MS:
            times[-1] = (times[-1][0], end)
        else:
            times.append((start, end))
    return [(start, end) for start, end in times if end - start >= least_ms]


def moments_in(times: Sequence[tuple[int, int]], moments: int) -> NDArray[np.bool_]:
    """The moments [moments] inside the times, which are in ms."""
    inside_T = np.zeros(moments, np.bool_)
    for start, end in times:
        inside_T[start // MOMENT_MS : end // MOMENT_MS] = True
    return inside_T


def turns_of(speech_T: NDArray[np.bool_], voice_N: NDArray[np.int64], length: int) -> list[tuple[int, int, int]]:
    """(start, end, voice) in ms of the runs of speech of one voice, in order."""
    per_block = BLOCK_MS // MOMENT_MS
    index = np.minimum(np.arange(len(speech_T)) // per_block, len(voice_N) - 1)
    voice_T = np.where(speech_T, voice_N[index], -1)
    edges = np.flatnonzero(np.diff(voice_T, prepend=-2, append=-2))
    runs = zip(edges[:-1].tolist(), edges[1:].tolist(), strict=True)
    return [(a * MOMENT_MS, min(length, b * MOMENT_MS), int(voice_T[a])) for a, b in runs if voice_T[a] >= 0]
