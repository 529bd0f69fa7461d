"""Sound similarity: whether two pieces of speech are one recording, by their spectra over time, aligned in time.

Level, codec and sample rate do not matter; another reading of the same text is something else. Shapes: S samples at 16 kHz, T
frames of 10 ms, F bands.
"""

import numpy as np
from numpy.typing import NDArray
from scipy.signal import fftconvolve, stft

from voxbeam.schemas.formats import ASR_RATE

SAME_SOUND = 0.8
"""correlation of two spectra over time from which they are one recording; two readings have less than 0.6"""
_BANDS = 40


def sound_correlation(one_S: NDArray[np.float32], other_S: NDArray[np.float32]) -> float:
    """How alike two sounds are, −1 to 1, where they lie best on each other, over at least three quarters of the shorter one."""
    one_TF, other_TF = (_spectrum(wave) for wave in (one_S, other_S))
    if len(one_TF) > len(other_TF):
        one_TF, other_TF = other_TF, one_TF
    if not len(one_TF):
        return 0.0
    edge = len(one_TF) // 4
    other_TF = np.pad(other_TF, ((edge, edge), (0, 0)))
    there_T = np.pad(np.ones(len(other_TF) - 2 * edge), edge)
    products_T = fftconvolve(other_TF, one_TF[::-1], axes=0, mode="valid").sum(axis=1)
    energy_T = fftconvolve((other_TF**2).sum(axis=1), np.ones(len(one_TF)), mode="valid")
    own_T = fftconvolve(there_T, (one_TF**2).sum(axis=1)[::-1], mode="valid")
    return float((products_T / np.sqrt(np.maximum(energy_T * own_T, 1e-9))).max())


def _spectrum(wave_S: NDArray[np.float32]) -> NDArray[np.float64]:
    """Levels [T, F] in bands, less the mean of each band: what changes over time."""
    if len(wave_S) < ASR_RATE // 2:
        return np.zeros((0, _BANDS))
    _, _, spectrum_FT = stft(wave_S, fs=ASR_RATE, nperseg=400, noverlap=240, nfft=512, boundary=None, padded=False)
    edges = np.unique(np.round(np.geomspace(4, 240, _BANDS + 1)).astype(int))
    power_FT = np.square(np.abs(spectrum_FT))
    level_TF = np.log(np.add.reduceat(power_FT, edges[:-1], axis=0)[: len(edges) - 1] + 1e-3 * power_FT.mean() + 1e-12).T
    return level_TF - level_TF.mean(axis=0)
