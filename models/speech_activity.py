"""Speech activity: in which moments anyone speaks, two speak at once, or somebody else than just before and after.

From pyannote's segmentation model (Plaquet and Bredin 2023, arXiv 2310.13025), which tells up to three speakers apart inside a
window of 10 s. Windows overlap; where they do, their weighted mean counts.

Shapes: n samples, T moments of 10 ms, U frames of 20 ms, W windows, F frames of a window, P = 7 sets of at most two of three
speakers, H = 128 values of the model's last hidden layer.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn import functional as F

from voxbeam.models.oom import map_with_oom_backoff
from voxbeam.schemas.formats import ASR_RATE
from voxbeam.schemas.segment import Turn

MOMENT_MS = 10
MOMENT = ASR_RATE * MOMENT_MS // 1000
"""samples"""
WINDOW_S = 10
HOP_S = 7
HIDDEN = 128
_MEMBERS = ((1, 4, 5), (2, 4, 6), (3, 5, 6))
"""sets of the model's output that contain the first, second and third speaker; 0 is silence, 4 to 6 are pairs"""
_CONTEXT = 301
"""moments (3 s) in which the speaker with the most speech is the main one"""


@dataclass(frozen=True)
class SpeechActivity:
    """Probabilities [T] for every 10 ms."""

    speech_T: NDArray[np.float32]
    overlap_T: NDArray[np.float32]
    """two speak at once"""
    other_T: NDArray[np.float32]
    """somebody else than the main speaker of the 3 s around"""
    hidden_UH: NDArray[np.float16]
    """the model's last hidden layer, from the window whose middle is nearest"""


@torch.inference_mode()
def find_activity(model: Any, pcm16k: NDArray[np.float32], batch: int) -> SpeechActivity:
    """Speech activity of audio [n] in [−1, 1] at 16 kHz, by the model of `load_segmentation`."""
    device = next(model.parameters()).device
    moments = -(-len(pcm16k) // MOMENT)
    # Models pad short audio with zeros, and find speech where noise stops abruptly; repeated audio does not stop.
    wave_S = np.resize(pcm16k, max(len(pcm16k), WINDOW_S * ASR_RATE)).astype(np.float32)
    last = (len(wave_S) - WINDOW_S * ASR_RATE) // MOMENT
    starts = [*range(0, last, HOP_S * 1000 // MOMENT_MS), last]
    windows = [torch.from_numpy(wave_S[s * MOMENT : s * MOMENT + WINDOW_S * ASR_RATE]).to(device) for s in starts]
    found = map_with_oom_backoff(lambda rows: _run(model, torch.stack(rows)), windows, batch)
    speech_T, overlap_T, other_T = _average(starts, [sets_FP for sets_FP, _ in found], moments)
    return SpeechActivity(speech_T, overlap_T, other_T, _nearest(starts, [hidden_FH for _, hidden_FH in found], moments))


def with_turns(activity: SpeechActivity, turns: Sequence[Turn]) -> SpeechActivity:
    """The activity, but with the speech and the overlap of another diarizer's turns."""
    count_T = np.zeros(len(activity.speech_T), np.float32)
    for turn in turns:
        count_T[turn.start_ms // MOMENT_MS : -(-turn.end_ms // MOMENT_MS)] += 1
    return replace(activity, speech_T=np.minimum(1, count_T), overlap_T=(count_T > 1).astype(np.float32))


def _run(model: Any, waves_WS: Tensor) -> list[tuple[NDArray[np.float32], NDArray[np.float16]]]:
    """Probabilities [F, P] of the sets and the last hidden layer [F, H] of each window: PyanNet's forward pass, which keeps the
    latter to itself."""
    hidden_WFH, _ = model.lstm(model.sincnet(waves_WS[:, None]).transpose(1, 2))
    for layer in model.linear:
        hidden_WFH = F.leaky_relu(layer(hidden_WFH))
    sets_WFP = model.activation(model.classifier(hidden_WFH)).exp()
    return list(zip(sets_WFP.float().cpu().numpy(), hidden_WFH.cpu().numpy().astype(np.float16), strict=True))


def _average(
    starts: Sequence[int], sets_WFP: Sequence[NDArray[np.float32]], moments: int
) -> tuple[NDArray[np.float32], NDArray[np.float32], NDArray[np.float32]]:
    """Speech, overlap and other [T]."""
    per_window = WINDOW_S * 1000 // MOMENT_MS
    position = np.arange(per_window)
    weight = np.clip(np.minimum(position + 50, per_window + 50 - position), 0, 250).astype(np.float32)  # edges count less
    total_T3, weight_T = np.zeros((moments, 3), np.float32), np.full(moments, 1e-9, np.float32)
    for start, sets_FP in zip(starts, sets_WFP, strict=True):
        sets = sets_FP[position * len(sets_FP) // per_window]
        speakers = np.stack([sets[:, list(members)].sum(axis=1) for members in _MEMBERS], axis=1)
        around = np.stack([np.convolve(speaker, np.ones(_CONTEXT), "same") for speaker in speakers.T], axis=1)
        others = speakers.copy()
        others[position, around.argmax(axis=1)] = 0
        values = np.stack([1 - sets[:, 0], sets[:, 4:].sum(axis=1), others.max(axis=1)], axis=1)
        count = min(per_window, moments - start)
        total_T3[start : start + count] += values[:count] * weight[:count, None]
        weight_T[start : start + count] += weight[:count]
    speech_T, overlap_T, other_T = (total_T3 / weight_T[:, None]).T
    return speech_T, overlap_T, other_T


def _nearest(starts: Sequence[int], hidden_WFH: Sequence[NDArray[np.float16]], moments: int) -> NDArray[np.float16]:
    """The hidden layer [U, H] at every second moment."""
    per_window = WINDOW_S * 1000 // MOMENT_MS
    at_U, start_W = np.arange(0, moments, 2), np.array(starts)
    window_U = np.searchsorted((start_W[1:] + start_W[:-1] + per_window) // 2, at_U, "right")
    frame_U = np.minimum(per_window - 1, at_U - start_W[window_U]) * len(hidden_WFH[0]) // per_window
    return np.stack(hidden_WFH)[window_U, frame_U]
