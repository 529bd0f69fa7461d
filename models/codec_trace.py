"""Codec trace: whether speech passed through the embedded codec, as all speech does that voxbeam's models make.

The codec's decoder writes magnitudes and phases of overlapping frames. The phases that it writes do not move from frame to frame
and from bin to bin as those of a recording do. `features` are statistics of these movements by band; a linear classifier with
weights of 12 kB reads them. benchmarks/codec_trace trains and measures it, docs/safety.md has the figures.

Shapes: N windows, S samples at 16 kHz, T frames (200 per second), F = 227 frequency bins of 31.25 Hz, G = 28 bands, D = 980.
"""

from __future__ import annotations

from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from typing import Self

import numpy as np
from numpy.lib.stride_tricks import sliding_window_view
from numpy.typing import NDArray
from safetensors.numpy import load_file, save_file

from voxbeam.assets import WEIGHTS

FFT, HOP = 512, 80
FIRST_BIN, LAST_BIN = 3, 230
BAND_BINS, BANDS = 8, 28
ANGLES = (0.0, 0.2, 0.6, 1.2, 2.2)
"""bounds of the shares of angles, in radians"""
LIMIT = 6.0
"""standardized features are cut off here"""
CODEC_TRACE_WEIGHTS = WEIGHTS / "codec_trace.safetensors"
Array = NDArray[np.float32]


def features(wave_NS: Array) -> Array:
    """Features [N, D] of windows of one length, a second or more, at any level."""
    wave_NS = wave_NS / (wave_NS.std(axis=1, keepdims=True) + 1e-6)
    window_S = np.hanning(FFT + 1)[:-1].astype(np.float32)
    frames_NTS = sliding_window_view(wave_NS, FFT, axis=1)[:, ::HOP] * window_S
    bins_NTF = np.fft.rfft(frames_NTS, axis=2)[..., FIRST_BIN:LAST_BIN].astype(np.complex64)
    level_NTF = np.abs(bins_NTF)
    energy_NT = np.square(level_NTF).sum(axis=2)
    loud_NT = energy_NT >= np.median(energy_NT, axis=1, keepdims=True)
    phase_NTF = bins_NTF / (level_NTF + 1e-9)
    step_F = np.exp(-2j * np.pi * HOP / FFT * np.arange(FIRST_BIN, LAST_BIN)).astype(np.complex64)
    advance = _turn(phase_NTF, axis=1) * step_F  # beyond that of a tone in the middle of the bin
    delay = _turn(phase_NTF, axis=2)
    turns = (advance, _turn(advance, axis=1), delay, _turn(delay, axis=2), _turn(delay, axis=1))
    return np.concatenate([_by_band(turn, loud_NT) for turn in turns], axis=1)


def _turn(phase_NTF: NDArray[np.complex64], axis: int) -> NDArray[np.complex64]:
    """By what a phase turns from one place to the next."""
    count = phase_NTF.shape[axis]
    later, earlier = phase_NTF.take(range(1, count), axis), phase_NTF.take(range(count - 1), axis)
    return np.asarray(later * earlier.conj(), np.complex64)


def _by_band(turn_NTF: NDArray[np.complex64], loud_NT: NDArray[np.bool_]) -> Array:
    """Of the loud half of the frames, by band: mean turn, mean angle, and the shares of angles between `ANGLES`."""
    count, frames = turn_NTF.shape[:2]
    turn_NTGB = turn_NTF[..., : BANDS * BAND_BINS].reshape(count, frames, BANDS, BAND_BINS)
    weight_NT = loud_NT[:, :frames] / loud_NT[:, :frames].sum(axis=1, keepdims=True)

    def mean(value_NTGB: NDArray[np.generic]) -> NDArray[np.generic]:
        return np.einsum("ntg,nt->ng", value_NTGB.mean(axis=3), weight_NT)

    angle_NTGB = np.abs(np.angle(turn_NTGB))
    whole_NG = mean(turn_NTGB)
    shares = [mean((angle_NTGB > low) & (angle_NTGB <= high)) for low, high in pairwise(ANGLES)]
    return np.concatenate([whole_NG.real, whole_NG.imag, mean(angle_NTGB), *shares], axis=1).astype(np.float32)


@dataclass(frozen=True)
class CodecTrace:
    """The classifier."""

    mean_D: Array
    scale_D: Array
    weight_D: Array
    calibration: Array
    """scale and offset that make its sums log-likelihood ratios"""

    @classmethod
    def load(cls, path: Path = CODEC_TRACE_WEIGHTS) -> Self:
        return cls(**load_file(path))

    def save(self, path: Path) -> None:
        save_file({name: np.ascontiguousarray(value, np.float32) for name, value in vars(self).items()}, path)

    def standardized(self, features_ND: Array) -> Array:
        return np.clip((features_ND - self.mean_D) / self.scale_D, -LIMIT, LIMIT)

    def scores(self, features_ND: Array) -> Array:
        """Log-likelihood ratios [N]: above 0, the window is likelier to have passed through the codec than not."""
        scale, offset = self.calibration
        return np.asarray(self.standardized(features_ND) @ self.weight_D * scale + offset, np.float32)
