"""Codec layers at the frame rate: STFT features in, ConvNeXt blocks at 75 Hz, an inverse STFT out.

They replace SEANet in EnCodec, between the same shapes. SEANet spends most of its computation at 24 kHz; here the Fourier
transform does that part, so training and inference cost a tenth. The decoder is that of Vocos (Siuzdak 2023, arXiv 2306.00814,
section 3: ConvNeXt blocks, then magnitude and phase, then the inverse transform); the encoder is its mirror image. The names of
the parameters (`enter`, `widen`, …) are those in the embedded weights.

Shapes: B batch, S samples at 24 kHz, T frames of 320 samples, F bins or features, C channels, D latent dimension.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from voxbeam.models.mel import mel_filters
from voxbeam.schemas.formats import CODEC_HOP, CODEC_RATE

WINDOW = 4 * CODEC_HOP
"""53 ms: resolves the harmonics of a low voice"""
SHORT_WINDOW, SHORT_HOP = 480, CODEC_HOP // 2
"""20 ms, twice per frame: resolves the burst of a plosive"""
BANDS, SHORT_BANDS = 96, 64
"""mel bands of the two windows"""
PHASE_BINS = 80
"""bins whose phase is a feature: up to 1.5 kHz, where 6 kbit/s can carry a waveform"""
FLOOR = 1e-4
"""amplitude, −80 dBFS: about the noise of a quiet room"""
KERNEL = 7
"""frames spanned by a depthwise convolution"""
EXPANSION = 3
"""of the channels inside a block"""


class ConvNeXtBlock(nn.Module):
    """One-dimensional ConvNeXt (Liu et al. 2022, arXiv 2201.03545): a depthwise convolution, then an MLP, with a residual."""

    def __init__(self, channels: int, scale: float, bias: bool) -> None:
        super().__init__()
        self.over_time = nn.Conv1d(channels, channels, KERNEL, padding=KERNEL // 2, groups=channels, bias=bias)
        self.norm = nn.LayerNorm(channels, bias=bias)
        self.widen = nn.Linear(channels, EXPANSION * channels, bias=bias)
        self.narrow = nn.Linear(EXPANSION * channels, channels, bias=bias)
        self.scale = nn.Parameter(torch.full((channels,), scale))

    def forward(self, x_BTC: Tensor) -> Tensor:
        mixed_BTC = self.over_time(x_BTC.transpose(1, 2)).transpose(1, 2)
        return x_BTC + self.scale * self.narrow(F.gelu(self.widen(self.norm(mixed_BTC))))


class FrameEncoder(nn.Module):
    """Waveforms [B, 1, S] to latents [B, D, T], T = ceil(S / 320), as if surrounded by endless silence.

    No layer has a bias, so silence is zero everywhere, and the convolutions pad with zeros. Silence is added at both ends as far
    as windows and blocks extend. A zero-padded batch therefore gives each waveform the latents that it has alone.
    """

    long_window: Tensor
    short_window: Tensor
    long_mel: Tensor
    short_mel: Tensor

    def __init__(self, dimension: int, width: int, blocks: int) -> None:
        super().__init__()
        features = BANDS + 2 * SHORT_BANDS + 2 * PHASE_BINS
        self.context_frames = 2 + blocks * (KERNEL // 2)
        """frames on either side that a latent depends on: two of the window, three of each block"""
        self.enter = nn.Linear(features, width, bias=False)
        self.enter_norm = nn.LayerNorm(width, bias=False)
        self.blocks = nn.Sequential(*(ConvNeXtBlock(width, 1 / blocks, bias=False) for _ in range(blocks)))
        self.leave_norm = nn.LayerNorm(width, bias=False)
        self.leave = nn.Linear(width, dimension, bias=False)
        for name, size, bands in (("long", WINDOW, BANDS), ("short", SHORT_WINDOW, SHORT_BANDS)):
            self.register_buffer(f"{name}_window", torch.hann_window(size) * 4 / size, persistent=False)
            self.register_buffer(f"{name}_mel", mel_filters(CODEC_RATE, size, bands), persistent=False)

    def forward(self, x_B1S: Tensor) -> Tensor:
        pad = self.context_frames * CODEC_HOP
        x_BS = F.pad(x_B1S[:, 0], (pad, -x_B1S.shape[-1] % CODEC_HOP + pad))
        with torch.autocast(x_BS.device.type, enabled=False):  # the dynamic range of audio exceeds a mantissa of 8 bits
            features_BTF = self.features(x_BS.float())
        h_BTC = self.enter_norm(self.enter(features_BTF))
        z_BTD = self.leave(self.leave_norm(self.blocks(h_BTC)))
        return z_BTD[:, self.context_frames : -self.context_frames].transpose(1, 2)

    def features(self, x_BS: Tensor) -> Tensor:
        """Features [B, T, F] of each frame: log-amplitudes of mel bands, and low bins with their phase."""
        long_BTF = stft_frames(x_BS, self.long_window, CODEC_HOP)
        short_BTF = stft_frames(x_BS, self.short_window, SHORT_HOP)
        long = loudness(long_BTF.abs() @ self.long_mel)
        short = loudness(short_BTF.abs() @ self.short_mel).unflatten(1, (-1, 2)).flatten(2)
        low_BTF = long_BTF[..., :PHASE_BINS]
        magnitude = low_BTF.abs()
        low = torch.view_as_real(low_BTF * (loudness(magnitude) / magnitude.clamp(min=1e-9))).flatten(2)
        return torch.cat([long, short, low], dim=2)


class FrameDecoder(nn.Module):
    """Latents [B, D, T] to waveforms [B, 1, 320 T]: log-magnitude and phase of each bin, then overlap-add."""

    window: Tensor

    def __init__(self, dimension: int, width: int, blocks: int) -> None:
        super().__init__()
        self.context_frames = 2 + blocks * (KERNEL // 2)
        """frames on either side that the audio of a frame depends on"""
        self.enter = nn.Linear(dimension, width)
        self.enter_norm = nn.LayerNorm(width)
        self.blocks = nn.Sequential(*(ConvNeXtBlock(width, 1 / blocks, bias=True) for _ in range(blocks)))
        self.leave_norm = nn.LayerNorm(width)
        self.leave = nn.Linear(width, 3 * (WINDOW // 2 + 1))
        self.register_buffer("window", torch.hann_window(WINDOW), persistent=False)

    def forward(self, z_BDT: Tensor) -> Tensor:
        h_BTC = self.enter_norm(self.enter(z_BDT.transpose(1, 2)))
        h_BTC = self.leave_norm(self.blocks(h_BTC))
        log_magnitude, x, y = self.leave(h_BTC).float().chunk(3, dim=2)
        # the phase is predicted as a vector (x, y): an angle would have a discontinuity at ±π
        scale = torch.exp(log_magnitude.clamp(max=6.0)) * torch.rsqrt(x.square() + y.square() + 1e-6)
        spectrum_BTF = torch.complex(x * scale, y * scale)
        return overlap_add(torch.fft.irfft(spectrum_BTF, WINDOW), self.window)[:, None]


def stft_frames(x_BS: Tensor, window: Tensor, hop: int) -> Tensor:
    """Short-time Fourier transform [B, S / hop, F], with windows centered on each hop and zeros beyond the ends."""
    overhang = (len(window) - hop) // 2
    windows_BTW = F.pad(x_BS, (overhang, overhang)).unfold(1, len(window), hop)
    return torch.fft.rfft(windows_BTW * window)


def loudness(amplitude: Tensor) -> Tensor:
    """Logarithm of amplitudes above `FLOOR`: 0 for silence, about 2 at full scale."""
    return torch.log1p(amplitude / FLOOR) / 4


def overlap_add(frames_BTW: Tensor, window: Tensor) -> Tensor:
    """Waveforms [B, 320 T] of windows centered on their frames: the inverse of `stft_frames` (Griffin and Lim 1984)."""
    parts = len(window) // CODEC_HOP

    def add(windows_BTW: Tensor) -> Tensor:
        pieces = windows_BTW.unflatten(2, (parts, CODEC_HOP))
        padded = [F.pad(pieces[:, :, i], (0, 0, i, parts - 1 - i)) for i in range(parts)]
        overhang = (len(window) - CODEC_HOP) // 2
        return sum(padded[1:], padded[0]).flatten(1)[:, overhang:-overhang]

    window_sum = add(window.square().expand(1, frames_BTW.shape[1], -1))
    return add(frames_BTW * window) / window_sum
