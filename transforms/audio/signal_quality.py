"""Signal quality without a model: bandwidth, loudness, dropouts, loops. All are finite for finite input."""

import warnings

import numpy as np
import pyloudnorm
from scipy.ndimage import uniform_filter1d
from scipy.signal import fftconvolve, stft

from voxbeam.transforms.audio.gaps import gaps
from voxbeam.transforms.audio.noise_and_clipping import QUANTIZATION_POWER, Waveform

LOUDNESS_FLOOR_LUFS = -70.0
"""absolute gate of ITU-R BS.1770; the value for silence"""


def bandwidth_hz(waveform_T: Waveform, rate: int, *, floor_db: float = 60.0, rise_db: float = 6.0) -> float:
    """Highest frequency in Hz with speech energy; 0 for silence.

    A band of about 200 Hz has speech energy if the level of its loud frames (95th percentile, so that rare fricatives count) is
    within `floor_db` of the loudest band's and `rise_db` above that of its own quiet frames (20th percentile). So steady hiss and
    hum do not count, nor what a resampler leaves above its cut-off. The result is the upper edge of the highest such band.
    """
    if len(waveform_T) < 1024:
        waveform_T = np.pad(waveform_T, (0, 1024 - len(waveform_T)))
    frequencies_F, _, spectrum_FN = stft(
        waveform_T, fs=rate, window="hann", nperseg=1024, noverlap=512, boundary=None, padded=False
    )
    power_FN = np.square(np.abs(spectrum_FN))
    width = max(round(200 / (rate / 1024)), 1)
    bands = (len(frequencies_F) - 1) // width
    power_BN = power_FN[1 : 1 + bands * width].reshape(bands, width, -1).mean(axis=1)
    loud_B, quiet_B = np.percentile(power_BN, 95, axis=1), np.percentile(power_BN, 20, axis=1)
    if loud_B.max() <= QUANTIZATION_POWER:
        return 0.0
    # Fewer than ten frames contain no quiet ones to compare with.
    rises_B = loud_B >= quiet_B * 10 ** (rise_db / 10) if power_BN.shape[1] >= 10 else np.ones(bands, dtype=bool)
    speech_B = rises_B & (loud_B >= loud_B.max() * 10 ** (-floor_db / 10))
    highest = int(np.flatnonzero(speech_B).max(initial=-1))
    return float(frequencies_F[(highest + 1) * width])


def loudness_lufs(waveform_T: Waveform, rate: int) -> float:
    """Integrated loudness in LUFS (ITU-R BS.1770), at least −70. A waveform shorter than a 0.4 s block is repeated to fill it."""
    if not len(waveform_T) or not np.any(waveform_T):
        return LOUDNESS_FLOOR_LUFS
    block = int(np.ceil(0.4 * rate)) + 1
    if len(waveform_T) < block:
        waveform_T = np.tile(waveform_T, -(-block // len(waveform_T)))
    with warnings.catch_warnings(), np.errstate(all="ignore"):
        warnings.simplefilter("ignore")
        loudness = float(pyloudnorm.Meter(rate).integrated_loudness(waveform_T.astype(np.float64)))
    return max(loudness, LOUDNESS_FLOOR_LUFS) if np.isfinite(loudness) else LOUDNESS_FLOOR_LUFS


def dropouts(waveform_T: Waveform, rate: int) -> float:
    """Fraction of the time that is lost to gaps (gaps.py)."""
    return sum(end - start for start, end in gaps(waveform_T, rate)) / max(1, len(waveform_T))


def loops(waveform_T: Waveform, rate: int) -> float:
    """Fraction of the time that plays again what was heard up to two seconds before: a stuck player, a text-to-speech loop.

    Nobody says a word twice with the same waveform. Blocks of 0.4 s are compared, at half the rate, with what comes before; one
    that is the same (correlation of 0.97) at few lags is a copy. Hum, tones and held notes are alike at many.
    """
    half_T = waveform_T[: len(waveform_T) // 2 * 2].astype(np.float64).reshape(-1, 2).mean(axis=1)
    block, reach, least = rate // 5, rate, rate // 8
    loud = 0.1 * float(np.square(half_T).mean()) if len(half_T) else 0.0
    copied = 0
    for start in range(least, len(half_T) - block + 1, block):
        here_T = half_T[start : start + block]
        past_T = half_T[max(0, start - reach) : start + block - least]
        if len(past_T) < block or np.square(here_T).mean() <= max(loud, QUANTIZATION_POWER):
            continue
        energy_T = np.maximum(fftconvolve(np.square(past_T), np.ones(block), "valid"), 1e-9)
        alike_T = fftconvolve(past_T, here_T[::-1], "valid") / np.sqrt(energy_T * np.square(here_T).sum())
        copied += alike_T.max() >= 0.97 and (alike_T > 0.8).mean() < 0.02
    return copied * block / max(1, len(half_T))


def background_tonality(waveform_T: Waveform, rate: int) -> float:
    """How steady the lines in the spectrum of the pauses are, −1 to 1: near 0 for noise and rooms, higher for music and hum.

    In the quietest 15 % of frames (64 ms, 150 to 5000 Hz), the level of each bin relative to its neighborhood is correlated with
    that 96 ms later. Notes last that long; noise and the ends of words do not.
    """
    frame, hop, lag = rate * 64 // 1000, rate * 16 // 1000, 6
    if len(waveform_T) < frame + 40 * hop:
        return 0.0
    frequencies_F, _, spectrum_FN = stft(
        waveform_T, fs=rate, window="hann", nperseg=frame, noverlap=frame - hop, boundary=None, padded=False
    )
    power_FN = np.square(np.abs(spectrum_FN[(frequencies_F > 150) & (frequencies_F < 5000)])) + 1e-12
    level_FN = 10 * np.log10(power_FN)
    residue_FN = level_FN - uniform_filter1d(level_FN, 21, axis=0)
    norm_N = np.sqrt(np.square(residue_FN).sum(axis=0)) + 1e-9
    correlation_N = (residue_FN[:, :-lag] * residue_FN[:, lag:]).sum(axis=0) / (norm_N[:-lag] * norm_N[lag:])
    energy_N = power_FN.sum(axis=0)
    louder_N = np.maximum(energy_N[:-lag], energy_N[lag:])
    quiet = np.argsort(louder_N, kind="stable")[: max(5, int(0.15 * len(louder_N)))]
    return float(correlation_N[quiet].mean())
