"""Second voice: the probability that anyone but the speaker of a moment is heard, alone or beside the speaker.

A small network over the frames of the speaker encoder, its similarity to the speaker's embedding over three lengths of time, and
speech activity. It finds what a diarizer's turns are too coarse for: a listener's "yes" of 0.3 s, the first word of an answer.
Trained by tools/train_second_voice.py; the card beside its weights says on what.

Shapes: U frames (50 per second), C = 512 encoder channels, E = 192 embedding values, H = 96, B examples.
"""

from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from safetensors.torch import load_file
from torch import Tensor, nn
from torch.nn import functional as F

from voxbeam.assets import WEIGHTS
from voxbeam.models.speech_activity import MOMENT_MS, SpeechActivity
from voxbeam.models.voice_track import FRAME_MS, Pooling, VoiceTrack

CHANNELS, HIDDEN = 512, 96
LENGTHS = (15, 30, 60)
"""frames (0.3, 0.6 and 1.2 s) around a frame whose embedding is compared with the speaker's"""
STRIDE = 2
"""similarities are computed for every second frame"""
CHUNK, MARGIN = 1000, 60
"""frames that are processed at once, and context on either side of them"""
SECOND_VOICE_WEIGHTS = WEIGHTS / "second_voice.safetensors"


class SecondVoice(nn.Module):
    """A bottleneck and three dilated convolutions, which see 0.3 s to either side."""

    def __init__(self) -> None:
        super().__init__()
        self.norm, self.narrow = nn.BatchNorm1d(CHANNELS), nn.Linear(CHANNELS, 64)
        self.join = nn.Conv1d(64 + len(LENGTHS) + 3, HIDDEN, 1)
        self.layers = nn.ModuleList(nn.Conv1d(HIDDEN, HIDDEN, 5, padding=2 * d, dilation=d) for d in (1, 2, 4))
        self.out, self.dropout = nn.Conv1d(HIDDEN, 1, 1), nn.Dropout(0.2)

    def forward(self, frames_BUC: Tensor, evidence_BUV: Tensor) -> Tensor:
        """Logits [B, U], from encoder frames and from similarities and activities [B, U, 6] (`evidence`)."""
        x_BUC = self.dropout(self.norm(frames_BUC.transpose(1, 2)).transpose(1, 2))
        x_BHU = torch.cat([F.relu(self.narrow(x_BUC)), evidence_BUV], dim=2).transpose(1, 2)
        x_BHU = F.relu(self.join(x_BHU))
        for layer in self.layers:
            x_BHU = x_BHU + F.relu(layer(self.dropout(x_BHU)))
        logits_BU: Tensor = self.out(x_BHU)[:, 0]
        return logits_BU


def load_second_voice(path: Path = SECOND_VOICE_WEIGHTS) -> SecondVoice:
    """The detector with its weights, in evaluation mode."""
    model = SecondVoice()
    model.load_state_dict(
        {name: value.float() if value.is_floating_point() else value for name, value in load_file(path).items()}
    )
    return model.eval()


@torch.inference_mode()
def hear_second_voice(
    model: SecondVoice, track: VoiceTrack, activity: SpeechActivity, speaker_U: NDArray[np.int64], voices_KE: NDArray[np.float32]
) -> NDArray[np.float32]:
    """The probability [U] for each frame of a track, given whose frame it is: a row of `voices_KE`."""
    frames = len(track.frames_UC)
    found = np.zeros(frames, np.float32)
    for start in range(0, frames, CHUNK):
        first, last = max(0, start - MARGIN), min(frames, start + CHUNK + MARGIN)
        part_UC = track.frames_UC[first:last].astype(np.float32)
        similar = similarities(part_UC, track.pool, voices_KE[speaker_U[first:last]])
        evidence_UV = np.concatenate([similar, sample_activity(activity, first, last)], axis=1)
        logits = model(torch.from_numpy(part_UC)[None], torch.from_numpy(evidence_UV)[None])[0]
        found[start : start + CHUNK] = torch.sigmoid(logits).numpy()[start - first : start - first + CHUNK]
    return found


def similarities(frames_UC: NDArray[np.float32], pool: Pooling, voice_UE: NDArray[np.float32]) -> NDArray[np.float32]:
    """Cosine similarity [U, 3] of the sound around each frame, over three lengths, and the voice given for it."""
    frames = len(frames_UC)
    totals, squares = (np.zeros((frames + 1, frames_UC.shape[1])) for _ in range(2))
    np.cumsum(frames_UC, axis=0, dtype=np.float64, out=totals[1:])
    np.cumsum(frames_UC.astype(np.float64) ** 2, axis=0, out=squares[1:])
    at = np.arange(0, frames, STRIDE)
    columns = []
    for length in LENGTHS:
        start, end = np.maximum(0, at - length // 2), np.minimum(frames, at + length // 2 + 1)
        embeddings = pool(totals[end] - totals[start], squares[end] - squares[start], (end - start).astype(np.float64))
        columns.append((np.repeat(embeddings, STRIDE, axis=0)[:frames] * voice_UE).sum(axis=1))
    return np.stack(columns, axis=1).astype(np.float32)


def sample_activity(activity: SpeechActivity, first: int, last: int) -> NDArray[np.float32]:
    """Speech, overlap and other [last − first, 3] at frames; zero beyond the end."""
    at = np.arange(first, last) * (FRAME_MS // MOMENT_MS)
    rows = np.stack([activity.speech_T, activity.overlap_T, activity.other_T], axis=1)
    inside = at < len(rows)
    return np.where(inside[:, None], rows[np.minimum(at, len(rows) - 1)], 0.0).astype(np.float32)
