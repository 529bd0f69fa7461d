"""Reconstruction losses of a codec: mel spectrogram, waveform, and complex spectrum at low frequencies.

Shapes: B batch, S samples at 24 kHz.
"""

from __future__ import annotations

import functools

import torch
from torch import Tensor

from voxbeam.models.mel import mel_filters
from voxbeam.schemas.formats import CODEC_RATE

MEL_SCALES = ((128, 20), (256, 40), (512, 64), (1024, 80), (2048, 128))
"""window in samples, mel bands"""
MEL_FLOOR = 1e-4
"""amplitude: −80 dBFS per bin, about the room noise of recorded read speech"""
LOW_WINDOW, LOW_BINS = 1024, 64
"""up to 1.5 kHz"""


@functools.cache
def mel_filterbank(window: int, bands: int, device: torch.device) -> Tensor:
    """Mel filters [window // 2 + 1, bands], cached per device."""
    with torch.inference_mode(False):  # a tensor cached in inference mode could not be used in a training step
        return mel_filters(CODEC_RATE, window, bands).to(device)


@functools.cache
def hann_window(window: int, device: torch.device) -> Tensor:
    with torch.inference_mode(False):
        return torch.hann_window(window, device=device)


def stft(wave_BS: Tensor, window: int) -> Tensor:
    """Complex spectrogram [B, bins, windows] with a hop of a quarter window."""
    return torch.stft(wave_BS, window, window // 4, window=hann_window(window, wave_BS.device), return_complex=True)


def log_mel(wave_BS: Tensor, window: int, bands: int) -> Tensor:
    """Natural logarithm of mel amplitudes [B, windows, bands]; a full-scale sine has amplitude 1."""
    amplitudes = stft(wave_BS, window).abs().transpose(1, 2)
    return torch.log(amplitudes @ mel_filterbank(window, bands, wave_BS.device) / (window / 4) + MEL_FLOOR)


def mel_distance(x_B1S: Tensor, y_B1S: Tensor) -> Tensor:
    """Mean |ln mel(x) - ln mel(y)| over five scales (EnCodec, section 3.4: the reconstruction loss over frequency)."""
    pairs = [(log_mel(x_B1S[:, 0], *scale), log_mel(y_B1S[:, 0], *scale)) for scale in MEL_SCALES]
    return torch.stack([(x - y).abs().mean() for x, y in pairs]).mean()


def time_distance(x_B1S: Tensor, y_B1S: Tensor) -> Tensor:
    """Mean |x − y| divided by mean |x| (EnCodec, section 3.4: the reconstruction loss over time)."""
    return (x_B1S - y_B1S).abs().mean() / x_B1S.abs().mean().clamp(min=1e-4)


def low_distance(x_B1S: Tensor, y_B1S: Tensor) -> Tensor:
    """Mean distance of complex spectra below 1.5 kHz, relative to x, with the square root of each bin's magnitude.

    It keeps the phase of a voice's harmonics coherent between frames, which a mel distance does not constrain.
    """
    x, y = _low_stft(x_B1S[:, 0]), _low_stft(y_B1S[:, 0])
    return (x - y).abs().mean() / x.abs().mean().clamp(min=1e-4)


def _low_stft(wave_BS: Tensor) -> Tensor:
    parts = torch.view_as_real(stft(wave_BS, LOW_WINDOW)[:, :LOW_BINS])
    return parts / (parts.square().sum(-1, keepdim=True) + 1e-6) ** 0.25
