"""Codec layers that work at the frame rate: a spectrum in, ConvNeXt blocks at 75 Hz, a spectrum out.

They stand where EnCodec has SEANet (`encodec_adapter.py`), between the same shapes. SEANet spends most of its work at 24 kHz;
here the Fourier transform does that part, so a second of sound costs a tenth, to train and to run. The decoder is that of
Vocos (Siuzdak 2023, arXiv 2306.00814, section 3: ConvNeXt blocks, then magnitude and phase, then the inverse transform);
the encoder is its mirror image.

Shapes: B batch, S samples at 24 kHz, T frames of 320 samples, F bins or features, C channels, D latent dimension.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from voxbeam.models.mel import mel_filters
from voxbeam.schemas.formats import CODEC_HOP, CODEC_RATE

WINDOW = 4 * CODEC_HOP  # 53 ms: tells the harmonics of a low voice apart
SHORT_WINDOW, SHORT_HOP = 480, CODEC_HOP // 2  # 20 ms, twice a frame: tells where a stop bursts
BANDS, SHORT_BANDS = 96, 64  # mel bands of the two
PHASE_BINS = 80  # bins whose phase the encoder hears: up to 1.5 kHz, where 6 kbps can carry a waveform
FLOOR = 1e-4  # amplitude, -80 dBFS: where hearing begins, about the noise of a quiet room
KERNEL = 7  # frames that a depthwise convolution spans
EXPANSION = 3  # of the channels, inside a block


class Block(nn.Module):
    """ConvNeXt in one dimension (Liu et al. 2022, arXiv 2201.03545): mixes over time, then over channels; residual."""

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
    """Waveforms [B, 1, S] to latents [B, D, T], T = ceil(S / 320): those that they have in the midst of endless silence.

    Nothing has a bias, so silence is zero in every layer, and zeros are what the convolutions pad with. As windows and
    blocks reach beyond the ends, that much silence is added there. A zero-padded batch thus gives each waveform the latents
    that it has alone.
    """

    long_taper: Tensor
    short_taper: Tensor
    long_mel: Tensor
    short_mel: Tensor

    def __init__(self, dimension: int, width: int, blocks: int) -> None:
        super().__init__()
        features = BANDS + 2 * SHORT_BANDS + 2 * PHASE_BINS
        self.reach = 2 + blocks * (KERNEL // 2)  # frames: two of the window, three of each block
        self.enter = nn.Linear(features, width, bias=False)
        self.enter_norm = nn.LayerNorm(width, bias=False)
        self.blocks = nn.Sequential(*(Block(width, 1 / blocks, bias=False) for _ in range(blocks)))
        self.leave_norm = nn.LayerNorm(width, bias=False)
        self.leave = nn.Linear(width, dimension, bias=False)
        for name, size, bands in (("long", WINDOW, BANDS), ("short", SHORT_WINDOW, SHORT_BANDS)):
            self.register_buffer(f"{name}_taper", torch.hann_window(size) * 4 / size, persistent=False)
            self.register_buffer(f"{name}_mel", mel_filters(CODEC_RATE, size, bands), persistent=False)

    def forward(self, x_B1S: Tensor) -> Tensor:
        spare = self.reach * CODEC_HOP
        x_BS = F.pad(x_B1S[:, 0], (spare, -x_B1S.shape[-1] % CODEC_HOP + spare))
        with torch.autocast(x_BS.device.type, enabled=False):  # a mantissa of 8 bits does not hold what an ear holds
            features_BTF = self.hear(x_BS.float())
        h_BTC = self.enter_norm(self.enter(features_BTF))
        z_BTD = self.leave(self.leave_norm(self.blocks(h_BTC)))
        return z_BTD[:, self.reach : -self.reach].transpose(1, 2)

    def hear(self, x_BS: Tensor) -> Tensor:
        """Features [B, T, F] of what lies around each frame: loudness in mel bands, and low bins with their phase."""
        long_BTF = spectrum(x_BS, self.long_taper, CODEC_HOP)
        short_BTF = spectrum(x_BS, self.short_taper, SHORT_HOP)
        long = loudness(long_BTF.abs() @ self.long_mel)
        short = loudness(short_BTF.abs() @ self.short_mel).unflatten(1, (-1, 2)).flatten(2)
        low_BTF = long_BTF[..., :PHASE_BINS]
        size = low_BTF.abs()
        low = torch.view_as_real(low_BTF * (loudness(size) / size.clamp(min=1e-9))).flatten(2)
        return torch.cat([long, short, low], dim=2)


class FrameDecoder(nn.Module):
    """Latents [B, D, T] to waveforms [B, 1, 320 T]: log-magnitude and direction of each bin, then overlap-add."""

    taper: Tensor

    def __init__(self, dimension: int, width: int, blocks: int) -> None:
        super().__init__()
        self.reach = 2 + blocks * (KERNEL // 2)  # frames on either side that a frame's sound depends on
        self.enter = nn.Linear(dimension, width)
        self.enter_norm = nn.LayerNorm(width)
        self.blocks = nn.Sequential(*(Block(width, 1 / blocks, bias=True) for _ in range(blocks)))
        self.leave_norm = nn.LayerNorm(width)
        self.leave = nn.Linear(width, 3 * (WINDOW // 2 + 1))
        self.register_buffer("taper", torch.hann_window(WINDOW), persistent=False)

    def forward(self, z_BDT: Tensor) -> Tensor:
        h_BTC = self.enter_norm(self.enter(z_BDT.transpose(1, 2)))
        h_BTC = self.leave_norm(self.blocks(h_BTC))
        magnitude, x, y = self.leave(h_BTC).float().chunk(3, dim=2)
        # The direction is that of (x, y): an angle would have to jump where it passes a half turn.
        size = torch.exp(magnitude.clamp(max=6.0)) * torch.rsqrt(x.square() + y.square() + 1e-6)
        spectrum_BTF = torch.complex(x * size, y * size)
        return overlap_add(torch.fft.irfft(spectrum_BTF, WINDOW), self.taper)[:, None]


def spectrum(x_BS: Tensor, taper: Tensor, hop: int) -> Tensor:
    """Fourier transforms [B, S / hop, F] of the windows around every `hop` samples; silence lies beyond the ends."""
    reach = (len(taper) - hop) // 2
    windows = F.pad(x_BS, (reach, reach)).unfold(1, len(taper), hop)
    return torch.fft.rfft(windows * taper)


def loudness(amplitude: Tensor) -> Tensor:
    """Logarithm of amplitudes above `FLOOR`, zero for silence, about 2 at full scale."""
    return torch.log1p(amplitude / FLOOR) / 4


def overlap_add(frames_BTW: Tensor, taper: Tensor) -> Tensor:
    """Waveforms [B, 320 T] of windows that lie around their frames: the inverse of `spectrum` (Griffin and Lim 1984)."""
    parts = len(taper) // CODEC_HOP

    def add(windows: Tensor) -> Tensor:
        pieces = windows.unflatten(2, (parts, CODEC_HOP))
        padded = [F.pad(pieces[:, :, i], (0, 0, i, parts - 1 - i)) for i in range(parts)]
        reach = (len(taper) - CODEC_HOP) // 2
        return sum(padded[1:], padded[0]).flatten(1)[:, reach:-reach]

    share = add(taper.square().expand(1, frames_BTW.shape[1], -1))
    return add(frames_BTW * taper) / share
