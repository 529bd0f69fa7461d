"""Segment: divides a unit into segments of one speaker, from pause to pause.

The audio between two pauses is an *island*. The diarizer says who speaks in it; the energy of the audio says where it begins and
ends. An island in which the speaker changes, or in which a second voice is heard, is cut (transforms/cut_island.py): its parts of
one speaker are kept, from dip to dip of the energy, so that no edge falls inside a word.
"""

from collections.abc import Sequence
from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from voxbeam.schemas.config import SegmentConfig
from voxbeam.schemas.formats import ASR_RATE
from voxbeam.schemas.segment import Segment, Turn
from voxbeam.transforms.audio.pauses import HOP_MS, frame_levels_db, pause_mask, true_runs
from voxbeam.transforms.base import UnitStage, UnitState
from voxbeam.transforms.cut_island import Island, IslandCutter
from voxbeam.transforms.speech_index import SpeechIndex

TURN_ERROR_MS = 200
"""error of a diarizer's edges: the time between turns counts as a pause without this much at either end"""
CHANGE_PAD_MS, CHANGE_PAUSE_MS = 20, 2000
"""silence kept before or after another speaker, who may begin softly, and the pauses to which this applies"""
LONG_PAUSE_MS = 600
"""pauses longer than this are all equally good places for an edge"""
WARY_MS, WARY_TARGET_S = 10_000, 4.0
"""so near to a second voice there may be another one, which was not heard: segments are cut at every good pause, so that it
spoils a short one; a segment of this length costs as much as the worst edge"""


def segment_speech(
    pcm16k: NDArray[np.float32],
    start_ms: int,
    end_ms: int,
    turns: Sequence[Turn],
    mixed: Sequence[tuple[int, int]],
    config: SegmentConfig,
) -> tuple[Segment, ...]:
    """Segments of one speaker between pauses, disjoint and in order, inside [start_ms, end_ms).

    Args:
        pcm16k: audio [16 · (end_ms − start_ms)] in [−1, 1]; its first sample is at `start_ms` of the recording.
        turns: who speaks when, in ms from the start of the recording; one speaker at a time.
        mixed: start and end in ms of the times in which anyone else is heard as well, in order.
        config: limits and targets of the length of a segment, and what counts as a pause.

    Returns:
        Accepted segments, of min_s to max_s, and rejected ones (`rejected_by` is `segment`), with one of the reasons `overlap`
        (a second voice is heard), `speaker_change` (two speakers without a pause between them), `too_short` (less than min_s
        and no neighbor of the same speaker to join) or `no_pause` (more than max_s without a pause). The time between segments
        is a pause, or sound in which the diarizer finds no speaker.
    """
    length = end_ms - start_ms
    if not turns or length <= 0:
        return ()
    index = SpeechIndex(turns, start_ms, length)
    quiet = np.repeat(pause_mask(frame_levels_db(pcm16k, ASR_RATE)), HOP_MS)[:length]
    pauses = _find_pauses(quiet, length, index.is_speech, config)
    cutter = IslandCutter(index, quiet, [(start - start_ms, end - start_ms) for start, end in mixed])
    segments: list[Segment] = []
    run: list[Island] = []
    for island in _find_islands(pauses, length, index, cutter, config):
        gap_ms = island.start - run[-1].end if run else 0
        parted = bool(run) and (gap_ms > config.max_gap_s * 1000 or cutter.is_mixed(run[-1].end, island.start))
        if run and (parted or island.reason or island.speaker != run[-1].speaker):
            segments += _join(run, cutter, config)
            run = []
        if island.reason:
            segments.append(_rejected(island.left, island.right, island.speaker, island.reason))
        else:
            run.append(island)
    if run:
        segments += _join(run, cutter, config)
    return tuple(
        replace(
            s,
            start_ms=s.start_ms + start_ms,
            end_ms=s.end_ms + start_ms,
            speech_ratio=index.ratio(s.start_ms, s.end_ms, s.speaker),
        )
        for s in segments
    )


class SegmentSpeech(UnitStage):
    """Fills `segments`, accepted and rejected ones."""

    name = "segment"

    def __init__(self, config: SegmentConfig) -> None:
        super().__init__()
        self.config = config

    def run(self, state: UnitState) -> UnitState:
        audio = state.require_audio()
        segments = segment_speech(audio.pcm16k, audio.start_ms, audio.end_ms, state.turns, state.mixed, self.config)
        return replace(state, segments=segments)


def _find_pauses(quiet: NDArray[np.bool_], length: int, is_speech: NDArray[np.bool_], config: SegmentConfig) -> NDArray[np.int64]:
    """Start and end [k, 2] in ms of every pause of min_pause_s or more: low energy, or no turn of the diarizer."""
    no_turn = np.zeros(length, np.bool_)
    for start, end in true_runs(~is_speech):
        inner_start = start + TURN_ERROR_MS if start > 0 else start
        inner_end = end - TURN_ERROR_MS if end < length else end
        no_turn[inner_start : max(inner_start, inner_end)] = True
    found = true_runs(quiet | no_turn)
    # A pause at an edge of the unit may continue beyond it, so it counts however short it is.
    long_enough = (found[:, 1] - found[:, 0] >= config.min_pause_s * 1000) | (found[:, 0] == 0) | (found[:, 1] == length)
    return found[long_enough]


def _find_islands(
    pauses: NDArray[np.int64], length: int, index: SpeechIndex, cutter: IslandCutter, config: SegmentConfig
) -> list[Island]:
    """The islands in which anyone speaks, cut where more than one does, each with its speaker or the reason to reject it."""
    pad = round(config.pad_s * 1000)
    bounds = [0, *pauses.ravel().tolist(), length]
    spans = list(zip(bounds[::2], bounds[1::2], strict=True))
    islands: list[Island] = []
    for i, (start, end) in enumerate(spans):
        if end <= start or not index.speech(start, end):
            continue
        before = start - (spans[i - 1][1] if i else 0)
        after = (spans[i + 1][0] if i + 1 < len(spans) else length) - end
        at_start = i == 0 or spans[i - 1][1] == 0
        at_end = i + 1 == len(spans) or spans[i + 1][0] == length
        left = start - min(pad, before if at_start else before // 2)
        right = end + min(pad, after if at_end else after // 2)
        for island in cutter.cut(cutter.clear_edges(Island(start, end, left, right))):
            too_long = island.reason is None and island.right - island.left > config.max_s * 1000
            islands.append(replace(island, reason="no_pause") if too_long else island)
    return _without_pads_at_changes(islands)


def _without_pads_at_changes(islands: list[Island]) -> list[Island]:
    """The islands, with little silence kept where the neighbor across a pause is another speaker or is rejected."""
    trimmed: list[Island] = []
    for i, island in enumerate(islands):
        left, right = island.left, island.right
        before, after = islands[max(0, i - 1) : i], islands[i + 1 : i + 2]
        if before and before[0].speaker != island.speaker and island.start - before[0].end < CHANGE_PAUSE_MS:
            left = max(left, island.start - CHANGE_PAD_MS)
        if after and after[0].speaker != island.speaker and after[0].start - island.end < CHANGE_PAUSE_MS:
            right = min(right, island.end + CHANGE_PAD_MS)
        trimmed.append(replace(island, left=left, right=right))
    return trimmed


def _join(run: list[Island], cutter: IslandCutter, config: SegmentConfig) -> list[Segment]:
    """Divides a run of islands of one speaker into segments of least total cost (dynamic programming over their edges).

    The cost is low for lengths within the target and for edges in long pauses. Near a second voice it is low for short segments.
    """
    min_cost = [0.0] + [np.inf] * len(run)
    origin = [0] * (len(run) + 1)
    for end in range(1, len(run) + 1):
        pause = run[end].start - run[end - 1].end if end < len(run) else LONG_PAUSE_MS
        edge_cost = 1.0 - min(pause, LONG_PAUSE_MS) / LONG_PAUSE_MS
        for begin in range(end - 1, -1, -1):
            left, right = run[begin].left, run[end - 1].right
            duration = (right - left) / 1000
            if duration > config.max_s:
                break
            wary = cutter.is_mixed(left - WARY_MS, right + WARY_MS)
            cost = min_cost[begin] + edge_cost + _length_cost(duration, wary, config)
            if cost < min_cost[end]:
                min_cost[end], origin[end] = cost, begin
    segments: list[Segment] = []
    end = len(run)
    while end:
        begin = origin[end]
        left, right, speaker = run[begin].left, run[end - 1].right, run[begin].speaker
        if right - left < config.min_s * 1000:
            segments.append(_rejected(left, right, speaker, "too_short"))
        else:
            segments.append(Segment(start_ms=left, end_ms=right, speaker=speaker))
        end = begin
    return segments[::-1]


def _length_cost(seconds: float, wary: bool, config: SegmentConfig) -> float:
    """0 within the target, up to 1 at the limits, and 4 below min_s, where it is rejected; wary, the shorter the better."""
    if seconds < config.min_s:
        return 4.0
    if wary:
        return (seconds / WARY_TARGET_S) ** 2
    if seconds < config.target_min_s:
        return ((config.target_min_s - seconds) / (config.target_min_s - config.min_s)) ** 2
    if seconds > config.target_max_s:
        return ((seconds - config.target_max_s) / (config.max_s - config.target_max_s)) ** 2
    return 0.0


def _rejected(start: int, end: int, speaker: str | None, reason: str) -> Segment:
    return Segment(start_ms=start, end_ms=end, speaker=speaker, rejected_by=SegmentSpeech.name, reasons=(reason,))
