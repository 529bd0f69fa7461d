"""Multi-scale STFT discriminator (EnCodec, arXiv 2210.13438, section 3.4: "MS-STFT").

Networks of the same structure, one per window length, classify each patch of time and frequency of the complex spectrum as
recorded (positive) or decoded (negative).

Shapes: B batch, S samples at 24 kHz, T windows, F frequency bins, C channels.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.nn.utils.parametrizations import weight_norm

from voxbeam.trainer.codec.losses import stft

WINDOWS = (2048, 1024, 512, 256, 128)
"""samples; the hop is a quarter of the window"""
KERNEL = (3, 8)
"""time, frequency"""
DILATIONS = (1, 2, 4)
"""over time"""
LEAK = 0.2
"""slope of the leaky ReLU below zero; the paper does not state it"""


class ScaleDiscriminator(nn.Module):
    """The network of one window length: five two-dimensional convolutions over time and frequency."""

    def __init__(self, window: int, filters: int) -> None:
        super().__init__()
        self.window = window
        over_frequency = KERNEL[1] // 2
        in_conv = nn.Conv2d(2, filters, KERNEL, padding=(KERNEL[0] // 2, over_frequency))
        dilated = [
            nn.Conv2d(filters, filters, KERNEL, stride=(1, 2), dilation=(d, 1), padding=(d * (KERNEL[0] // 2), over_frequency))
            for d in DILATIONS
        ]
        self.layers = nn.ModuleList(weight_norm(layer) for layer in (in_conv, *dilated))
        self.out_conv = weight_norm(nn.Conv2d(filters, 1, 3, padding=1))

    def forward(self, x_B1S: Tensor) -> tuple[Tensor, list[Tensor]]:
        """Logits [B, 1, T, F / 8], and the features [B, C, T, F / stride] after each hidden layer."""
        spectrum_BTF = stft(x_B1S[:, 0], self.window).transpose(1, 2) / self.window**0.5  # white noise: the same level
        h_BCTF = torch.stack([spectrum_BTF.real, spectrum_BTF.imag], dim=1)
        features = []
        for layer in self.layers:
            h_BCTF = F.leaky_relu(layer(h_BCTF), LEAK)
            features.append(h_BCTF)
        return self.out_conv(h_BCTF), features


class MultiScaleDiscriminator(nn.Module):
    """One `ScaleDiscriminator` per window length."""

    def __init__(self, filters: int) -> None:
        super().__init__()
        self.scales = nn.ModuleList(ScaleDiscriminator(window, filters) for window in WINDOWS)

    def forward(self, x_B1S: Tensor) -> tuple[list[Tensor], list[list[Tensor]]]:
        """Logits and features of each scale, the longest window first."""
        logits, features = zip(*(scale(x_B1S) for scale in self.scales), strict=True)
        return list(logits), list(features)
