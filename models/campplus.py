"""CAM++: the speaker encoder of Wang et al. 2023 (arXiv 2303.00332), in the 3D-Speaker project's Chinese-English form.

A small 2-D residual network over the mel bands, then densely connected dilated convolutions over time, each scaled by a mask
computed from its context, and mean and standard deviation over time. The converted weights have the batch norms folded into the
convolutions before them.

Shapes: B excerpts, T frames (100 per second), F = 80 mel bands, E = 192 embedding values, C channels, U = T / 2 frames after the
strided convolution.
"""

from collections import defaultdict
from collections.abc import Sequence
from pathlib import Path

import torch
import torchaudio
from safetensors.torch import load_file
from torch import Tensor, nn
from torch.nn import functional as F

from voxbeam.assets import WEIGHTS
from voxbeam.models.oom import map_with_oom_backoff
from voxbeam.schemas.formats import ASR_RATE

BANDS = 80
DIMENSION = 192
FRAMES_PER_SECOND = 100
MIN_FRAMES = 30
"""shorter excerpts are repeated to this length"""
LENGTH_STEP = 25
"""excerpts are cut to a multiple of this many frames, so that many have the same length and run as one batch"""
CONTEXT_FRAMES = 100
"""length of the pieces over which a layer's local context is averaged"""
GROWTH, BOTTLENECK, STEM = 32, 128, 128
BLOCKS = ((12, 1), (24, 2), (16, 2))
"""layers and dilation of each dense block"""
SPEAKER_WEIGHTS = WEIGHTS / "speaker_campplus.safetensors"


class CAMPlusPlus(nn.Module):
    """Embeddings of excerpts of one length."""

    def __init__(self) -> None:
        super().__init__()
        self.head = _Head()
        self.stem = nn.Conv1d(32 * BANDS // 8, STEM, 5, stride=2, padding=2)
        self.blocks, self.transitions = nn.ModuleList(), nn.ModuleList()
        channels = STEM
        for layers, dilation in BLOCKS:
            self.blocks.append(nn.ModuleList(_DenseLayer(channels + i * GROWTH, dilation) for i in range(layers)))
            channels += layers * GROWTH
            self.transitions.append(_ScaledConv(channels, channels // 2))
            channels //= 2
        self.out = _Scale(channels)
        self.channels = channels
        """of the frames"""
        self.project = nn.Linear(2 * channels, DIMENSION)

    def frames(self, features_BTF: Tensor) -> Tensor:
        """Frames [B, C, U] before they are pooled, of features with zero mean over time."""
        x_BCU = F.relu(self.stem(self.head(features_BTF.transpose(1, 2))))
        for block, transition in zip(self.blocks, self.transitions, strict=True):
            assert isinstance(block, nn.ModuleList)
            for layer in block:
                x_BCU = torch.cat([x_BCU, layer(x_BCU)], dim=1)
            x_BCU = transition(x_BCU)
        return F.relu(self.out(x_BCU))

    def forward(self, features_BTF: Tensor) -> Tensor:
        """Embeddings [B, E], not normalized, of features with zero mean over time."""
        x_BCU = self.frames(features_BTF)
        deviation_BC = x_BCU.std(dim=2) if x_BCU.shape[2] > 1 else torch.zeros_like(x_BCU[..., 0])
        return self.project(torch.cat([x_BCU.mean(dim=2), deviation_BC], dim=1))

    def embed(self, features: Sequence[Tensor], batch: int = 32) -> Tensor:
        """Embeddings [len(features), E] of length 1, one per excerpt [T, F] (without mean subtraction), computed by length."""
        rows = torch.zeros(len(features), DIMENSION, device=self.project.weight.device)
        by_length: dict[int, list[int]] = defaultdict(list)
        for index, feature_TF in enumerate(features):
            by_length[_used_length(len(feature_TF))].append(index)
        for length, members in sorted(by_length.items()):
            excerpts = [_fit(features[i], length) for i in members]
            found = map_with_oom_backoff(lambda chosen: list(self(torch.stack(chosen))), excerpts, batch)
            rows[members] = torch.stack(found)
        return F.normalize(rows, dim=1)


class _Block2d(nn.Module):
    """Two 3×3 convolutions with a shortcut; `stride` is over the mel bands."""

    def __init__(self, stride: int) -> None:
        super().__init__()
        self.first = nn.Conv2d(32, 32, 3, stride=(stride, 1), padding=1)
        self.second = nn.Conv2d(32, 32, 3, padding=1)
        self.shortcut = nn.Conv2d(32, 32, 1, stride=(stride, 1)) if stride != 1 else nn.Identity()

    def forward(self, x_BCFT: Tensor) -> Tensor:
        return F.relu(self.second(F.relu(self.first(x_BCFT))) + self.shortcut(x_BCFT))


class _Head(nn.Module):
    """Mel bands [B, F, T] to channels [B, 32 · F / 8, T]."""

    def __init__(self) -> None:
        super().__init__()
        self.first = nn.Conv2d(1, 32, 3, padding=1)
        self.blocks = nn.Sequential(_Block2d(2), _Block2d(1), _Block2d(2), _Block2d(1))
        self.last = nn.Conv2d(32, 32, 3, stride=(2, 1), padding=1)

    def forward(self, x_BFT: Tensor) -> Tensor:
        return F.relu(self.last(self.blocks(F.relu(self.first(x_BFT[:, None]))))).flatten(1, 2)


class _Scale(nn.Module):
    """A scale and an offset for each channel: a batch norm that no convolution comes before."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.weight, self.bias = nn.Parameter(torch.ones(channels)), nn.Parameter(torch.zeros(channels))

    def forward(self, x_BCU: Tensor) -> Tensor:
        return torch.addcmul(self.bias[:, None], x_BCU, self.weight[:, None])


class _ScaledConv(nn.Module):
    """Scale, ReLU, convolution of width 1."""

    def __init__(self, channels: int, out: int) -> None:
        super().__init__()
        self.scale, self.conv = _Scale(channels), nn.Conv1d(channels, out, 1)

    def forward(self, x_BCU: Tensor) -> Tensor:
        out: Tensor = self.conv(F.relu(self.scale(x_BCU)))
        return out


class _DenseLayer(nn.Module):
    """`GROWTH` new channels: a dilated convolution, scaled by a mask from the mean over the excerpt and over pieces of it."""

    def __init__(self, channels: int, dilation: int) -> None:
        super().__init__()
        self.narrow = _ScaledConv(channels, BOTTLENECK)
        self.local = nn.Conv1d(BOTTLENECK, GROWTH, 3, padding=dilation, dilation=dilation, bias=False)
        self.context, self.mask = nn.Conv1d(BOTTLENECK, BOTTLENECK // 2, 1), nn.Conv1d(BOTTLENECK // 2, GROWTH, 1)

    def forward(self, x_BCU: Tensor) -> Tensor:
        x_BCU = F.relu(self.narrow(x_BCU))
        frames = x_BCU.shape[2]
        pieces_BCP = F.avg_pool1d(x_BCU, CONTEXT_FRAMES, CONTEXT_FRAMES, ceil_mode=True)
        # the mask is the same within a piece, so it is computed for pieces, not for frames
        mask_BCP = torch.sigmoid(self.mask(F.relu(self.context(x_BCU.mean(2, keepdim=True) + pieces_BCP))))
        local_BCU: Tensor = self.local(x_BCU)
        return local_BCU * mask_BCP.repeat_interleave(CONTEXT_FRAMES, dim=2)[..., :frames]


def fbank(waveform: Tensor) -> Tensor:
    """Log mel features [T, F] of audio [n] in [−1, 1] at 16 kHz, as Kaldi computes them, without dither."""
    if waveform.numel() < ASR_RATE * 25 // 1000:
        return torch.zeros(0, BANDS, device=waveform.device)
    return torchaudio.compliance.kaldi.fbank(
        waveform[None], num_mel_bins=BANDS, sample_frequency=ASR_RATE, dither=0.0, snip_edges=False
    )


def load_campplus(path: Path = SPEAKER_WEIGHTS) -> CAMPlusPlus:
    """The encoder with its weights, in evaluation mode."""
    model = CAMPlusPlus()
    model.load_state_dict({name: value.float() for name, value in load_file(path).items()})
    return model.eval()


def _used_length(frames: int) -> int:
    return max(MIN_FRAMES, frames - frames % LENGTH_STEP)


def _fit(feature_TF: Tensor, length: int) -> Tensor:
    """Exactly `length` frames around the middle, or repeated, with zero mean over time."""
    frames = len(feature_TF)
    if frames < length:
        feature_TF = feature_TF.repeat(-(-length // frames), 1)[:length]
    else:
        start = (frames - length) // 2
        feature_TF = feature_TF[start : start + length]
    return feature_TF - feature_TF.mean(dim=0)
