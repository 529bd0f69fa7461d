"""Word edges: whether sound begins or ends at once, in the middle of a word, and whether speech is faster than people speak.

Without a model. Shapes: S samples, M milliseconds, F bands, N frames.
"""

import numpy as np
from numpy.lib.stride_tricks import sliding_window_view
from numpy.typing import NDArray
from scipy.signal import stft

Waveform = NDArray[np.float32]
Levels = NDArray[np.float64]

MIN_RANGE_DB = 35.0
"""between the noise and the loudest speech: with less, the soft beginnings of words are hidden, and any edge looks sudden"""
_SHORT_MS, _AFTER_MS, _LOUD_MS, _BEFORE_MS, _GAP_MS = 5, 10, 60, 40, 3
_NEAR_EDGE_MS = (-15, 80)
"""around the first sound, where an edge may be"""
_LOUD_DB, _SOUND_DB = -10.0, -20.0
"""relative to the loudest speech: what goes on after a cut, and what is sound at all"""
_OF_BEGINNINGS = 0.92
_HOP_MS, _SHORT_LAG, _LONG_LAG, _SMOOTHED = 10, 2, 12, 3
_BANDS = 24
_DEPTH_DB, _ACTIVE_DB = -30.0, -20.0
"""of a band and of a frame, relative to loud frames: what is softer is left out, as noise would fill it"""


def edge_jump(waveform_S: Waveform, rate: int) -> float | None:
    """Share of the range between noise and speech that the level jumps within 3 ms at the beginning or the end, 0 to about 1.

    People hardly begin, and never end, a word within 3 ms at full level: it was cut. A beginning counts a little less, since
    vowels may begin suddenly. None where the range is too small to tell. Sound that begins with the waveform, without a pause,
    counts as beginning from the noise.
    """
    per_ms = rate // 1000
    power_M = np.square(waveform_S[: len(waveform_S) // per_ms * per_ms].astype(np.float64)).reshape(-1, per_ms).mean(axis=1)
    if len(power_M) < 2 * _LOUD_MS:
        return None
    level_M = _level_db(power_M, _SHORT_MS)
    top, floor = (float(np.percentile(level_M, share)) for share in (90, 5))
    if top - floor < MIN_RANGE_DB:
        return None
    return max(_OF_BEGINNINGS * _jump(power_M, top, floor), _jump(power_M[::-1], top, floor))


def _jump(power_M: Levels, top: float, floor: float) -> float:
    """The largest jump of the level where the sound begins, as a share of the range."""
    pad = np.full(_BEFORE_MS + _SHORT_MS, 10 ** (floor / 10))
    padded_M = np.concatenate([pad, power_M, pad])
    short_M, after_M, loud_M = (_level_db(padded_M, width) for width in (_SHORT_MS, _AFTER_MS, _LOUD_MS))
    sound = np.flatnonzero(short_M >= max(top + _SOUND_DB, floor + 8))
    if not len(sound):
        return 0.0
    first, last = (int(sound[0]) + offset for offset in _NEAR_EDGE_MS)
    at = np.arange(max(_BEFORE_MS, first), min(len(loud_M), last))
    if not len(at):
        return 0.0
    before_M = sliding_window_view(short_M, _BEFORE_MS - _GAP_MS - _SHORT_MS + 1).max(axis=1)[at - _BEFORE_MS]
    goes_on = np.minimum(after_M[at], loud_M[at]) >= top + _LOUD_DB
    jumps = np.where(goes_on, after_M[at] - np.maximum(before_M, floor), 0.0) / (top - floor)
    return float(jumps.max())


def _level_db(power_M: Levels, width: int) -> Levels:
    """Level in dB of every window of so many milliseconds."""
    sums = np.concatenate([[0.0], np.cumsum(power_M)])
    return np.asarray(10 * np.log10((sums[width:] - sums[:-width]) / width + 1e-12))


def spectral_pace(waveform_S: Waveform, rate: int) -> float | None:
    """How much of the spectrum's change in 120 ms happens within 20 ms: higher for faster speech. None without speech.

    Levels in bands, smoothed over 30 ms; level and pitch do not matter, and noise 30 dB below the speech little.
    """
    frame, hop = rate * 25 // 1000, rate * _HOP_MS // 1000
    if len(waveform_S) < frame + (_LONG_LAG + _SMOOTHED + 1) * hop:
        return None
    _, _, spectrum_FN = stft(
        waveform_S, fs=rate, nperseg=frame, noverlap=frame - hop, nfft=rate * 32 // 1000, boundary=None, padded=False
    )
    edges = np.unique(np.round(np.geomspace(4, spectrum_FN.shape[0] - 17, _BANDS + 1)).astype(int))
    power_FN = np.add.reduceat(np.square(np.abs(spectrum_FN)), edges[:-1], axis=0)
    loud = float(np.percentile(power_FN.sum(axis=0), 90))
    if loud <= 0:
        return None
    least_F1 = np.maximum(loud * 10 ** (_DEPTH_DB / 10), 4 * np.percentile(power_FN, 10, axis=1, keepdims=True))
    level_NF = 10 * np.log10(np.maximum(power_FN, least_F1)).T
    smooth_NF = sliding_window_view(level_NF, _SMOOTHED, axis=0).mean(axis=-1)
    active_N = (power_FN.sum(axis=0) >= loud * 10 ** (_ACTIVE_DB / 10))[_SMOOTHED // 2 :][: len(smooth_NF)]
    short, long = (_change(smooth_NF, active_N, lag) for lag in (_SHORT_LAG, _LONG_LAG))
    return short / long if long else None


def _change(level_NF: Levels, active_N: NDArray[np.bool_], lag: int) -> float:
    """Mean distance in dB of spectra that lie so many frames apart, both with speech; 0 for none."""
    distance_N = np.sqrt(np.square(level_NF[lag:] - level_NF[:-lag]).mean(axis=1))[active_N[lag:] & active_N[:-lag]]
    return float(distance_N.mean()) if len(distance_N) else 0.0
