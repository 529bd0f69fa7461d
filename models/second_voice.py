"""Second voice: the probability that anyone but the speaker of a moment is heard, alone or beside the speaker.

A small network over the frames of the speaker encoder, the hidden layer of the segmentation model, similarities to the speaker's
embedding over five lengths of time, and speech activity. It finds what a diarizer's turns are too coarse for: a listener's "yes"
of 0.3 s, the first word of an answer.
Trained by tools/train_second_voice.py; the card beside its weights says on what.

Shapes: U frames (50 per second), C = 512 encoder channels, H = 128 hidden values of the segmentation model, E = 192 embedding
values, V = 13 similarities and activities, B examples, K speakers.
"""

from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from safetensors.torch import load_file
from torch import Tensor, nn
from torch.nn import functional as F

from voxbeam.assets import WEIGHTS
from voxbeam.models.speech_activity import HIDDEN, MOMENT_MS, SpeechActivity
from voxbeam.models.voice_track import FRAME_MS, VoiceTrack

CHANNELS, WIDTH = 512, 64
LENGTHS = (9, 15, 30, 60, 150)
"""frames (0.2 to 3 s) around a frame whose embedding is compared with the speaker's"""
EVIDENCE = 2 * len(LENGTHS) + 3
STRIDE = 4
"""similarities are computed for every fourth frame"""
CHUNK, MARGIN = 1000, 60
"""frames that are processed at once, and context on either side of them"""
SECOND_VOICE_WEIGHTS = WEIGHTS / "second_voice.safetensors"


class SecondVoice(nn.Module):
    """Two bottlenecks and five dilated convolutions, which see 0.6 s to either side."""

    frames_mean: Tensor
    frames_scale: Tensor
    hidden_mean: Tensor
    hidden_scale: Tensor

    def __init__(self) -> None:
        super().__init__()
        for name, values in (("frames", CHANNELS), ("hidden", HIDDEN)):
            self.register_buffer(f"{name}_mean", torch.zeros(values))
            self.register_buffer(f"{name}_scale", torch.ones(values))
        self.narrow, self.narrow_hidden = nn.Linear(CHANNELS, 64), nn.Linear(HIDDEN, 48)
        self.join = nn.Conv1d(64 + 48 + EVIDENCE, WIDTH, 1)
        self.layers = nn.ModuleList(nn.Conv1d(WIDTH, WIDTH, 3, padding=d, dilation=d) for d in (1, 2, 4, 8, 16))
        self.out, self.dropout = nn.Conv1d(WIDTH, 1, 1), nn.Dropout(0.2)

    def forward(self, frames_BUC: Tensor, hidden_BUH: Tensor, evidence_BUV: Tensor) -> Tensor:
        """Logits [B, U], from encoder frames, hidden values, and similarities and activities (`evidence`)."""
        x_BUN = F.relu(self.narrow((frames_BUC - self.frames_mean) * self.frames_scale))
        h_BUN = F.relu(self.narrow_hidden((hidden_BUH - self.hidden_mean) * self.hidden_scale))
        joined_BUN = torch.cat([self.dropout(x_BUN), self.dropout(h_BUN), evidence_BUV], dim=2)
        x_BWU = F.relu(self.join(joined_BUN.transpose(1, 2)))
        for layer in self.layers:
            x_BWU = x_BWU + F.relu(layer(x_BWU))
        logits_BU: Tensor = self.out(x_BWU)[:, 0]
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
    evidence_UV = gather_evidence(track, activity, speaker_U, voices_KE)
    found = np.zeros(frames, np.float32)
    for start in range(0, frames, CHUNK):
        part = slice(max(0, start - MARGIN), min(frames, start + CHUNK + MARGIN))
        inputs = (track.frames_UC[part], activity.hidden_UH[part], evidence_UV[part])
        logits = model(*(torch.from_numpy(rows.astype(np.float32))[None] for rows in inputs))[0]
        found[start : start + CHUNK] = torch.sigmoid(logits).numpy()[start - part.start : start - part.start + CHUNK]
    return found


def gather_evidence(
    track: VoiceTrack, activity: SpeechActivity, speaker_U: NDArray[np.int64], voices_KE: NDArray[np.float32]
) -> NDArray[np.float32]:
    """Evidence [U, V]: similarities over each length, the same less what is usual for the speaker, speech, overlap and other."""
    frames = len(track.frames_UC)
    activity_U3 = _sample_activity(activity, frames)
    similar_UL = _similarities(track, voices_KE[speaker_U])
    usual_UL = np.zeros_like(similar_UL)
    for speaker in range(len(voices_KE)):
        mine = speaker_U == speaker
        spoken = mine & (activity_U3[:, 0] > 0.5)
        if spoken.any():
            usual_UL[mine] = np.median(similar_UL[spoken], axis=0)
    return np.concatenate([similar_UL, similar_UL - usual_UL, activity_U3], axis=1)


def _similarities(track: VoiceTrack, voice_UE: NDArray[np.float32]) -> NDArray[np.float32]:
    """Cosine similarity [U, L] of the sound around each frame, over each length, and the voice given for it."""
    frames = len(track.frames_UC)
    found = []
    for first in range(0, frames, CHUNK):
        begin, last = max(0, first - max(LENGTHS)), min(frames, first + CHUNK + max(LENGTHS))
        part_UC = track.frames_UC[begin:last].astype(np.float64)
        totals, squares = (np.zeros((len(part_UC) + 1, part_UC.shape[1])) for _ in range(2))
        np.cumsum(part_UC, axis=0, out=totals[1:])
        np.cumsum(np.square(part_UC, out=part_UC), axis=0, out=squares[1:])
        at = np.arange(first, min(frames, first + CHUNK), STRIDE)
        columns = []
        for length in LENGTHS:
            start, end = np.maximum(begin, at - length // 2) - begin, np.minimum(last, at + length // 2 + 1) - begin
            rows = track.pool(totals[end] - totals[start], squares[end] - squares[start], (end - start).astype(np.float64))
            columns.append(np.repeat(rows, STRIDE, axis=0)[: min(frames, first + CHUNK) - first])
        chunk_ULE = np.stack(columns, axis=1)
        found.append(np.einsum("ule,ue->ul", chunk_ULE, voice_UE[first : first + CHUNK]))
    return np.concatenate(found).astype(np.float32) if found else np.zeros((0, len(LENGTHS)), np.float32)


def _sample_activity(activity: SpeechActivity, frames: int) -> NDArray[np.float32]:
    """Speech, overlap and other [U, 3] at frames."""
    at = np.minimum(np.arange(frames) * (FRAME_MS // MOMENT_MS), len(activity.speech_T) - 1)
    return np.stack([activity.speech_T[at], activity.overlap_T[at], activity.other_T[at]], axis=1).astype(np.float32)
