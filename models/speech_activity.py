"""Speech activity: in which moments anyone speaks, two speak at once, or somebody else than just before and after.

From pyannote's segmentation model (Plaquet and Bredin 2023, arXiv 2310.13025), which tells up to three speakers apart inside a
window of 10 s. Windows overlap by half; where they do, their weighted mean counts.

Shapes: n samples, T moments of 10 ms, W windows, F frames of a window, P = 7 sets of at most two of three speakers.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import nn

from voxbeam.models.oom import map_with_oom_backoff
from voxbeam.schemas.formats import ASR_RATE
from voxbeam.schemas.segment import Turn

MOMENT_MS = 10
MOMENT = ASR_RATE * MOMENT_MS // 1000
"""samples"""
WINDOW_S = 10
HOP_S = 5
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


@torch.inference_mode()
def find_activity(model: nn.Module, pcm16k: NDArray[np.float32], batch: int) -> SpeechActivity:
    """Speech activity of audio [n] in [−1, 1] at 16 kHz."""
    device = next(model.parameters()).device
    moments = -(-len(pcm16k) // MOMENT)
    # Models pad short audio with zeros, and find speech where noise stops abruptly; repeated audio does not stop.
    wave_S = np.resize(pcm16k, max(len(pcm16k), WINDOW_S * ASR_RATE)).astype(np.float32)
    last = (len(wave_S) - WINDOW_S * ASR_RATE) // MOMENT
    starts = [*range(0, last, HOP_S * 1000 // MOMENT_MS), last]
    windows = [torch.from_numpy(wave_S[s * MOMENT : s * MOMENT + WINDOW_S * ASR_RATE]).to(device) for s in starts]
    sets_WFP = map_with_oom_backoff(lambda rows: list(model(torch.stack(rows)[:, None]).exp().cpu()), windows, batch)
    return _average(starts, [sets_FP.float().numpy() for sets_FP in sets_WFP], moments)


def activity_of_turns(turns: Sequence[Turn], length_ms: int) -> SpeechActivity:
    """The activity that another diarizer's turns of a stretch of audio imply; nobody counts as somebody else."""
    count_T = np.zeros(-(-length_ms // MOMENT_MS), np.float32)
    for turn in turns:
        count_T[turn.start_ms // MOMENT_MS : -(-turn.end_ms // MOMENT_MS)] += 1
    return SpeechActivity(np.minimum(1, count_T), (count_T > 1).astype(np.float32), np.zeros_like(count_T))


def _average(starts: Sequence[int], sets_WFP: Sequence[NDArray[np.float32]], moments: int) -> SpeechActivity:
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
    return SpeechActivity(*(total_T3 / weight_T[:, None]).T)
