"""SNR and clipping of speech. They need numpy alone, so that a prompt is measured without a second of imports."""

import numpy as np
from numpy.typing import NDArray

Waveform = NDArray[np.float32]

SNR_LIMIT_DB = 80.0
"""SNR is reported within ± this; 16-bit audio has no more"""
_LSB = 1 / 32768
QUANTIZATION_POWER = _LSB**2 / 12


def snr_db(waveform_T: Waveform, rate: int) -> float:
    """Signal-to-noise ratio of speech in dB, within ±80: 10·log10((S − N) / N).

    Over 20 ms frames every 10 ms, N is the median power of the quietest fifth of the frames (robust to single frames of digital
    silence), at least that of 16-bit rounding. S is the mean power of the frames that are 3 dB above N, or of all if none is. The
    waveform should contain a pause, as segments do; without one the result is too low.
    """
    power_N = np.square(_frames(waveform_T.astype(np.float64), length=rate // 50, hop=rate // 100)).mean(axis=1)
    quiet = np.sort(power_N)[: max(len(power_N) // 5, 1)]
    noise = max(float(np.median(quiet)), QUANTIZATION_POWER)
    active = power_N[power_N > 2 * noise]
    speech = float(active.mean() if len(active) else power_N.mean())
    ratio = max((speech - noise) / noise, 10 ** (-SNR_LIMIT_DB / 10))
    return float(np.clip(10 * np.log10(ratio), -SNR_LIMIT_DB, SNR_LIMIT_DB))


def clipping(waveform_T: Waveform) -> float:
    """Fraction of samples that are clipped: at full scale, or in a flat top.

    A flat top is a run of at least four samples within 2 % of the largest one that are equal to one 16-bit step: audio that was
    clipped and then lowered in level. Silence has none.
    """
    level_T = np.abs(waveform_T)
    peak = float(level_T.max(initial=0.0))
    clipped_T = level_T >= 0.999
    if peak > 0.05:
        near_T = level_T >= 0.98 * peak
        steady_T = near_T[1:] & near_T[:-1] & (np.abs(np.diff(waveform_T)) <= _LSB)
        edges = np.flatnonzero(np.diff(np.concatenate([[0], steady_T.astype(np.int8), [0]])))
        for start, end in zip(edges[::2], edges[1::2], strict=True):
            if end - start >= 3:  # three equal steps join four samples
                clipped_T[start : end + 1] = True
    return float(clipped_T.mean()) if len(clipped_T) else 0.0


def _frames(waveform_T: NDArray[np.float64], length: int, hop: int) -> NDArray[np.float64]:
    """Frames [N, length] of a waveform [T], zero-padded to one frame where it is shorter."""
    if len(waveform_T) < length:
        waveform_T = np.pad(waveform_T, (0, length - len(waveform_T)))
    return np.lib.stride_tricks.sliding_window_view(waveform_T, length)[::hop]
