"""The GE2E speaker encoder (Wan et al. 2018), with the weights and features of Resemblyzer.

Shapes: B partial utterances, T mel frames (100 per second), M = 40 mel bands, E = 256 embedding values.
"""

from collections.abc import Sequence
from pathlib import Path

import torch
import torchaudio
from safetensors.torch import load_file
from torch import Tensor, nn

from voxbeam.assets import WEIGHTS
from voxbeam.models.oom import map_with_oom_backoff
from voxbeam.schemas.formats import ASR_RATE

HOP = 160
WINDOW = 400
BANDS = 40
DIMENSION = 256
PARTIAL_FRAMES = 160
"""input length in training: 1.6 s"""
LOUDNESS_DBFS = -30.0
SPEAKER_WEIGHTS = WEIGHTS / "speaker_ge2e.safetensors"


class GE2E(nn.Module):
    """Three LSTM layers, a linear layer with ReLU, L2 norm."""

    fbank_FM: Tensor
    window: Tensor

    def __init__(self) -> None:
        super().__init__()
        self.lstm = nn.LSTM(BANDS, DIMENSION, 3, batch_first=True)
        self.linear = nn.Linear(DIMENSION, DIMENSION)
        fbank_FM = torchaudio.functional.melscale_fbanks(
            WINDOW // 2 + 1, 0.0, ASR_RATE / 2, BANDS, ASR_RATE, norm="slaney", mel_scale="slaney"
        )
        self.register_buffer("fbank_FM", fbank_FM, persistent=False)
        self.register_buffer("window", torch.hann_window(WINDOW), persistent=False)

    def forward(self, mels_BTM: Tensor) -> Tensor:
        """Embeddings [B, E] of unit length, of partial utterances of equal length."""
        _, (hidden, _) = self.lstm(mels_BTM)
        return nn.functional.normalize(torch.relu(self.linear(hidden[-1])), dim=1)

    def mels(self, waveform: Tensor) -> Tensor:
        """Power mel spectrogram [1 + n // 160, M], without logarithm, of audio [n] in [−1, 1] at 16 kHz."""
        spectrum_FT = torch.stft(
            waveform, WINDOW, HOP, WINDOW, self.window, center=True, pad_mode="constant", return_complex=True
        )
        return spectrum_FT.abs().square().T @ self.fbank_FM

    def embed(self, mels: Sequence[Tensor], max_partials: int, batch: int = 64) -> Tensor:
        """Embeddings [len(mels), E] of unit length, one per spectrogram [T, M].

        Each is the mean over at most `max_partials` partial utterances; a shorter spectrogram is repeated.
        """
        partials: list[Tensor] = []
        owners: list[int] = []
        for index, mel_TM in enumerate(mels):
            for part in _partials(mel_TM, max_partials):
                partials.append(part)
                owners.append(index)
        rows = map_with_oom_backoff(lambda rows: list(self(torch.stack(rows))), partials, batch)
        sums = torch.zeros(len(mels), DIMENSION, device=self.fbank_FM.device)
        if rows:
            sums.index_add_(0, torch.tensor(owners, device=sums.device), torch.stack(rows))
        return nn.functional.normalize(sums, dim=1)


def loudness_gain(waveform: Tensor) -> float:
    """Power gain to −30 dBFS; 1 for louder audio or silence."""
    power = float(waveform.square().mean()) if waveform.numel() else 0.0
    return max(1.0, 10 ** (LOUDNESS_DBFS / 10) / power) if power > 1e-10 else 1.0


def load_ge2e(path: Path = SPEAKER_WEIGHTS) -> GE2E:
    """The encoder with its weights, in evaluation mode."""
    model = GE2E()
    model.load_state_dict(load_file(path))
    return model.eval()


def _partials(mel_TM: Tensor, max_partials: int) -> list[Tensor]:
    frames = mel_TM.shape[0]
    if frames < PARTIAL_FRAMES:
        return [mel_TM.repeat(-(-PARTIAL_FRAMES // frames), 1)[:PARTIAL_FRAMES]]
    count = min(max_partials, -(-frames // PARTIAL_FRAMES))
    slack = frames - PARTIAL_FRAMES
    starts = (
        [round(slack * (i + 0.5) / count) for i in range(count)]
        if slack < PARTIAL_FRAMES
        else [round(slack * i / max(1, count - 1)) for i in range(count)]
    )
    return [mel_TM[start : start + PARTIAL_FRAMES] for start in starts]
