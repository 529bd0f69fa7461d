"""Cut: segments of one voice, from pause to pause.

The sound between two pauses is an *island*. Islands are never divided, so no edge falls inside a word; who speaks in an
island comes from the diarizer, where it begins and ends comes from the sound itself.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from voxbeam.schemas.config import SegmentConfig
from voxbeam.schemas.segment import Segment, Turn
from voxbeam.transforms.audio.pauses import HOP_MS, levels, quiet_frames, runs
from voxbeam.transforms.base import UnitStage, UnitWork

SAMPLES_PER_MS = 16
TURN_ERROR_MS = 200
"""how far a diarizer's edge may be off: silence between turns counts as a pause without this much at either end"""
OVERLAP_MS = 150
"""two voices at once for this long spoil an island"""
CHANGE_MS = 300
"""a second voice for this long in an island is more than an edge that is off"""
LONG_PAUSE_MS = 600
"""pauses longer than this are all equally good places to cut"""


@dataclass(frozen=True)
class _Island:
    start: int
    end: int
    left: int
    """where a segment that begins with this island starts"""
    right: int
    """where a segment that ends with this island ends"""
    voice: str | None
    reason: str | None


def segment_speech(
    pcm16k: NDArray[np.float32], start_ms: int, end_ms: int, turns: Sequence[Turn], config: SegmentConfig
) -> tuple[Segment, ...]:
    """Segments of one voice between pauses, disjoint and in order, inside [start_ms, end_ms).

    Args:
        pcm16k: sound [16 · (end_ms − start_ms)] in [−1, 1]; its first sample is at `start_ms` of the recording.
        turns: who speaks when, in ms from the start of the recording; voices may overlap.

    Returns:
        Accepted segments last min_s to max_s. What cannot be used stands there too, rejected by `segment` with one of the
        reasons `overlap` (two voices at once), `speaker_change` (two voices without a pause between), `too_short` (less
        than min_s with no neighbour of the same voice to join), `no_pause` (more than max_s without a pause). What lies
        between segments is a pause, or sound in which the diarizer hears no voice.
    """
    length = end_ms - start_ms
    if not turns or length <= 0:
        return ()
    heard = _Heard(turns, start_ms, length)
    pauses = _pauses(pcm16k, length, heard.any_voice, config)
    islands = _islands(pauses, length, heard, config)
    segments: list[Segment] = []
    run: list[_Island] = []
    for island in islands:
        if run and (island.reason or island.voice != run[-1].voice or island.start - run[-1].end > config.max_gap_s * 1000):
            segments += _join(run, config)
            run = []
        if island.reason:
            segments.append(_rejected(island.left, island.right, island.voice, island.reason))
        else:
            run.append(island)
    if run:
        segments += _join(run, config)
    return tuple(
        replace(s, start_ms=s.start_ms + start_ms, end_ms=s.end_ms + start_ms, speech_ratio=heard.ratio(s)) for s in segments
    )


class SegmentSpeech(UnitStage):
    """Turns to segments."""

    name = "segment"

    def __init__(self, config: SegmentConfig) -> None:
        super().__init__()
        self.config = config

    def run(self, work: UnitWork) -> UnitWork:
        sound = work.sound
        return replace(work, segments=segment_speech(sound.pcm16k, sound.start_ms, sound.end_ms, work.turns, self.config))


class _Heard:
    """How long each voice is heard in any stretch, in constant time; all times from the start of the unit."""

    def __init__(self, turns: Sequence[Turn], start_ms: int, length: int) -> None:
        masks: dict[str, NDArray[np.bool_]] = {}
        for turn in turns:
            mask = masks.setdefault(turn.voice, np.zeros(length, np.bool_))
            mask[max(0, turn.start_ms - start_ms) : max(0, turn.end_ms - start_ms)] = True
        self.voices = sorted(masks)
        at_once = np.asarray(np.sum([masks[v] for v in self.voices], axis=0, dtype=np.int16))
        self.any_voice: NDArray[np.bool_] = np.asarray(at_once > 0)
        self._each = [_cumulative(masks[v]) for v in self.voices]
        self._any, self._overlap = _cumulative(self.any_voice), _cumulative(np.asarray(at_once > 1))

    def speech(self, start: int, end: int) -> int:
        return int(self._any[end] - self._any[start])

    def overlap(self, start: int, end: int) -> int:
        return int(self._overlap[end] - self._overlap[start])

    def ranked(self, start: int, end: int) -> list[tuple[int, str]]:
        """Milliseconds of every voice, longest first; equal ones by name."""
        spoken = [(int(c[end] - c[start]), v) for c, v in zip(self._each, self.voices, strict=True)]
        return sorted(spoken, key=lambda s: (-s[0], s[1]))

    def ratio(self, segment: Segment) -> float:
        """Share of the segment in which its voice is heard; any voice, where it belongs to nobody alone."""
        start, end = segment.start_ms, segment.end_ms
        spoken = self.speech(start, end)
        if segment.voice is not None:
            spoken = dict((v, ms) for ms, v in self.ranked(start, end))[segment.voice]
        return spoken / (end - start)


def _cumulative(mask: NDArray[np.bool_]) -> NDArray[np.int32]:
    return np.concatenate([[0], np.cumsum(mask, dtype=np.int32)]).astype(np.int32)


def _pauses(pcm16k: NDArray[np.float32], length: int, any_voice: NDArray[np.bool_], config: SegmentConfig) -> NDArray[np.int64]:
    """Start and end [k, 2] in ms of every pause of the unit of min_pause_s or more."""
    quiet = np.repeat(quiet_frames(levels(pcm16k, 1000 * SAMPLES_PER_MS)), HOP_MS)[:length]
    silent = np.zeros(length, np.bool_)
    for start, end in runs(~any_voice):
        inner_start = start + TURN_ERROR_MS if start > 0 else start
        inner_end = end - TURN_ERROR_MS if end < length else end
        silent[inner_start : max(inner_start, inner_end)] = True
    found = runs(quiet | silent)
    # at the edges of the unit a pause may be cut off, so it counts however short it is
    whole = (found[:, 1] - found[:, 0] >= config.min_pause_s * 1000) | (found[:, 0] == 0) | (found[:, 1] == length)
    return found[whole]


def _islands(pauses: NDArray[np.int64], length: int, heard: _Heard, config: SegmentConfig) -> list[_Island]:
    """The sound between pauses in which a voice is heard, labelled."""
    pad = round(config.pad_s * 1000)
    bounds = [0, *pauses.ravel().tolist(), length]
    spans = list(zip(bounds[::2], bounds[1::2], strict=True))
    islands: list[_Island] = []
    for index, (start, end) in enumerate(spans):
        if end <= start or not heard.speech(start, end):
            continue
        before = start - (spans[index - 1][1] if index else 0)
        after = (spans[index + 1][0] if index + 1 < len(spans) else length) - end
        at_start = index == 0 or spans[index - 1][1] == 0
        at_end = index + 1 == len(spans) or spans[index + 1][0] == length
        left = start - min(pad, before if at_start else before // 2)
        right = end + min(pad, after if at_end else after // 2)
        voice, reason = _label(start, end, heard)
        if reason is None and right - left > config.max_s * 1000:
            reason = "no_pause"
        islands.append(_Island(start, end, left, right, voice, reason))
    return islands


def _label(start: int, end: int, heard: _Heard) -> tuple[str | None, str | None]:
    """Whose island it is, and why it cannot be used."""
    if heard.overlap(start, end) >= OVERLAP_MS:
        return None, "overlap"
    ranked = heard.ranked(start, end)
    if len(ranked) > 1 and ranked[1][0] >= CHANGE_MS:
        return None, "speaker_change"
    return ranked[0][1], None


def _join(run: list[_Island], config: SegmentConfig) -> list[Segment]:
    """Divides a run of islands of one voice into segments at the least cost: target lengths, cuts at long pauses."""
    least = [0.0] + [np.inf] * len(run)
    origin = [0] * (len(run) + 1)
    for end in range(1, len(run) + 1):
        pause = run[end].start - run[end - 1].end if end < len(run) else LONG_PAUSE_MS
        edge = 1.0 - min(pause, LONG_PAUSE_MS) / LONG_PAUSE_MS
        for begin in range(end - 1, -1, -1):
            duration = (run[end - 1].right - run[begin].left) / 1000
            if duration > config.max_s:
                break
            cost = least[begin] + edge + _length_cost(duration, config)
            if cost < least[end]:
                least[end], origin[end] = cost, begin
    segments: list[Segment] = []
    end = len(run)
    while end:
        begin = origin[end]
        left, right, voice = run[begin].left, run[end - 1].right, run[begin].voice
        if right - left < config.min_s * 1000:
            segments.append(_rejected(left, right, voice, "too_short"))
        else:
            segments.append(Segment(start_ms=left, end_ms=right, voice=voice))
        end = begin
    return segments[::-1]


def _length_cost(seconds: float, config: SegmentConfig) -> float:
    """0 within the target, 1 at the limits, and more for what is too short to be kept."""
    if seconds < config.min_s:
        return 4.0
    if seconds < config.target_min_s:
        return ((config.target_min_s - seconds) / (config.target_min_s - config.min_s)) ** 2
    if seconds > config.target_max_s:
        return ((seconds - config.target_max_s) / (config.max_s - config.target_max_s)) ** 2
    return 0.0


def _rejected(start: int, end: int, voice: str | None, reason: str) -> Segment:
    return Segment(start_ms=start, end_ms=end, voice=voice, rejected_by="segment", reasons=(reason,))
