"""How far decoded speech is from what went in: to the ear (mel), and where an ear hears phase (low bins).

Shapes: B batch, S samples at 24 kHz.
"""

from __future__ import annotations

import functools

import torch
from torch import Tensor

from voxbeam.models.mel import mel_filters
from voxbeam.schemas.formats import CODEC_RATE

MEL_SCALES = ((128, 20), (256, 40), (512, 64), (1024, 80), (2048, 128))  # (window in samples, mel bands)
MEL_FLOOR = 1e-4  # amplitude: -80 dBFS per bin, about the room noise of a read-speech recording
LOW_WINDOW, LOW_BINS = 1024, 64  # up to 1.5 kHz


@functools.cache
def mel_of(window: int, bands: int, device: torch.device) -> Tensor:
    """Filters [window // 2 + 1, bands] on a device."""
    with torch.inference_mode(False):  # what is kept must serve a training step too, whoever asks first
        return mel_filters(CODEC_RATE, window, bands).to(device)


@functools.cache
def taper_of(window: int, device: torch.device) -> Tensor:
    with torch.inference_mode(False):
        return torch.hann_window(window, device=device)


def spectrum(wave_BS: Tensor, window: int) -> Tensor:
    """Complex spectra [B, bins, windows], a quarter of a window apart."""
    return torch.stft(wave_BS, window, window // 4, window=taper_of(window, wave_BS.device), return_complex=True)


def log_mel(wave_BS: Tensor, window: int, bands: int) -> Tensor:
    """Natural logarithm of mel amplitudes [B, windows, bands], 1 for a sine at full scale."""
    amplitudes = spectrum(wave_BS, window).abs().transpose(1, 2)
    return torch.log(amplitudes @ mel_of(window, bands, wave_BS.device) / (window / 4) + MEL_FLOOR)


def mel_distance(x_B1S: Tensor, y_B1S: Tensor) -> Tensor:
    """Mean |ln mel(x) - ln mel(y)| over five scales (EnCodec, section 3.4: the reconstruction loss over frequency)."""
    pairs = [(log_mel(x_B1S[:, 0], *scale), log_mel(y_B1S[:, 0], *scale)) for scale in MEL_SCALES]
    return torch.stack([(x - y).abs().mean() for x, y in pairs]).mean()


def time_distance(x_B1S: Tensor, y_B1S: Tensor) -> Tensor:
    """Mean |x - y| in shares of the mean |x| (EnCodec, section 3.4: the reconstruction loss over time)."""
    return (x_B1S - y_B1S).abs().mean() / x_B1S.abs().mean().clamp(min=1e-4)


def low_distance(x_B1S: Tensor, y_B1S: Tensor) -> Tensor:
    """Mean distance of complex spectra below 1.5 kHz, each bin brought to the square root of its size, in shares of x.

    It keeps the harmonics of a voice in step from frame to frame, which a mel distance leaves to chance.
    """
    x, y = _low_spectrum(x_B1S[:, 0]), _low_spectrum(y_B1S[:, 0])
    return (x - y).abs().mean() / x.abs().mean().clamp(min=1e-4)


def _low_spectrum(wave_BS: Tensor) -> Tensor:
    parts = torch.view_as_real(spectrum(wave_BS, LOW_WINDOW)[:, :LOW_BINS])
    return parts / (parts.square().sum(-1, keepdim=True) + 1e-6) ** 0.25
