"""Purity: measures whether each segment holds one voice, the one it is labelled with. The policy rejects those that do not."""

from collections.abc import Sequence
from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from voxbeam.models.voice_track import BLOCK_MS, FRAME_MS, VoiceEvidence
from voxbeam.schemas.config import PurityConfig
from voxbeam.schemas.segment import Segment
from voxbeam.transforms.base import UnitStage, UnitState

PIECE, HOP = 12, 3
"""blocks of 100 ms of a piece that is compared with the voice, and from one to the next"""
MIN_SPEECH = 0.6
"""a piece with a smaller fraction of speech is not compared: pauses sound alike"""
SECOND_VOICE_FRAMES = 6
"""frames of 20 ms over which the probability of a second voice is averaged"""


def measure_purity(segment: Segment, evidence: VoiceEvidence) -> tuple[float, float]:
    """(voice_distance, second_voice) of a segment with a speaker (schemas/segment.py)."""
    start, end = segment.start_ms - evidence.start_ms, segment.end_ms - evidence.start_ms
    first, last = -(-start // BLOCK_MS), min(end // BLOCK_MS, evidence.track.blocks)
    starts = np.arange(first, max(first + 1, last - PIECE + 1), HOP)
    ends = np.minimum(starts + PIECE, max(last, first + 1))
    spoken = np.concatenate([[0], np.cumsum(evidence.alone_N[first : ends[-1]])])
    enough = spoken[ends - first] - spoken[starts - first] >= MIN_SPEECH * (ends - starts)
    if enough.any():
        starts, ends = starts[enough], ends[enough]
    similar = evidence.track.embed(starts, ends) @ evidence.embeddings[str(segment.speaker)]
    return float(1 - similar.min()), _highest(evidence.second_voice_U[start // FRAME_MS : -(-end // FRAME_MS)])


def is_mixed(voice_distance: float | None, second_voice: float | None, config: PurityConfig) -> bool:
    """Whether a segment with these measures may hold two voices. A measure that is not there, or a limit, decides nothing."""
    measured = ((voice_distance, config.max_voice_distance), (second_voice, config.max_second_voice))
    return any(value is not None and limit is not None and value > limit for value, limit in measured)


def reject_mixed(segments: Sequence[Segment], evidence: VoiceEvidence, config: PurityConfig) -> tuple[Segment, ...]:
    """The segments with their measures, as the policy alone leaves them: those that may hold two voices are rejected."""
    return tuple(
        replace(segment, rejected_by=Purity.name, reasons=("mixed_voices",))
        if segment.accepted and is_mixed(segment.voice_distance, segment.second_voice, config)
        else segment
        for segment in measure_segments(segments, evidence)
    )


class Purity(UnitStage):
    """Fills `voice_distance` and `second_voice` of the accepted segments."""

    name = "purity"

    def __init__(self, config: PurityConfig) -> None:
        super().__init__()
        self.config = config

    def run(self, state: UnitState) -> UnitState:
        if state.voices is None:
            return state
        return replace(state, segments=measure_segments(state.segments, state.voices), voices=None)


def measure_segments(segments: Sequence[Segment], evidence: VoiceEvidence) -> tuple[Segment, ...]:
    """The segments, the accepted ones with their measures."""
    return tuple(_measured(segment, evidence) if segment.accepted else segment for segment in segments)


def _measured(segment: Segment, evidence: VoiceEvidence) -> Segment:
    distance, second = measure_purity(segment, evidence)
    return replace(segment, voice_distance=distance, second_voice=second)


def _highest(probability_U: NDArray[np.float32]) -> float:
    """Highest mean over `SECOND_VOICE_FRAMES` neighboring frames."""
    if len(probability_U) < SECOND_VOICE_FRAMES:
        return float(probability_U.mean()) if len(probability_U) else 0.0
    window = np.ones(SECOND_VOICE_FRAMES) / SECOND_VOICE_FRAMES
    return float(np.convolve(probability_U, window, "valid").max())
