"""Gaps: lost packets filled with zeros, or with the last sample."""

import numpy as np
from numpy.typing import NDArray


def gaps(waveform_T: NDArray[np.float32], rate: int, sound_T: NDArray[np.float32] | None = None) -> list[tuple[int, int]]:
    """Stretches (first sample, end) in which the waveform stands still in the middle of sound.

    A run of equal samples of 8 to 300 ms counts if there is sound within 10 ms before and behind it, at −20 dB of the waveform's
    own level. Digital silence between words, as a noise gate leaves it, is longer or fades, and does not count. `sound_T` is the
    same waveform without its offset, if it has one: levels are measured of that.
    """
    if len(waveform_T) < 2:
        return []
    still_T = np.abs(np.diff(waveform_T)) < 1e-7
    edges = np.flatnonzero(np.diff(np.concatenate([[0], still_T.astype(np.int8), [0]])))
    sound_T = waveform_T if sound_T is None else sound_T
    beside, least = rate // 100, 0.1 * float(np.sqrt(np.square(sound_T, dtype=np.float64).mean()))
    found = []
    for start, end in zip(edges[::2].tolist(), edges[1::2].tolist(), strict=True):
        if not rate * 8 // 1000 <= end - start <= rate * 3 // 10 or start == 0 or end >= len(waveform_T) - 1:
            continue
        sides = sound_T[max(0, start - beside) : start], sound_T[end + 1 : end + 1 + beside]
        if min(float(np.sqrt(np.square(side, dtype=np.float64).mean())) for side in sides) > least:
            found.append((start, end))
    return found
