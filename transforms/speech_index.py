"""Speech index: how long each speaker talks in any stretch of a unit, in constant time per query."""

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from voxbeam.schemas.segment import Turn


class SpeechIndex:
    """Cumulative speech time of all turns of a unit, in ms. All times are relative to the start of the unit."""

    def __init__(self, turns: Sequence[Turn], start_ms: int, length: int) -> None:
        masks: dict[str, NDArray[np.bool_]] = {}
        for turn in turns:
            mask = masks.setdefault(turn.speaker, np.zeros(length, np.bool_))
            mask[max(0, turn.start_ms - start_ms) : max(0, turn.end_ms - start_ms)] = True
        self._speakers = sorted(masks)
        self._turns, self._start = sorted(turns, key=lambda turn: (turn.start_ms, turn.end_ms)), start_ms
        self.is_speech: NDArray[np.bool_] = np.any([masks[s] for s in self._speakers], axis=0)
        """[length], for every millisecond"""
        self._by_speaker = [_cumulative(masks[s]) for s in self._speakers]
        self._any = _cumulative(self.is_speech)

    def speech(self, start: int, end: int) -> int:
        """Time in which at least one speaker talks."""
        return int(self._any[end] - self._any[start])

    def changes(self) -> list[tuple[int, int]]:
        """End of one speaker's turn and start of the next one's, for neighboring turns of different speakers, in order."""
        pairs = zip(self._turns, self._turns[1:], strict=False)
        return [(a.end_ms - self._start, b.start_ms - self._start) for a, b in pairs if a.speaker != b.speaker]

    def ranked(self, start: int, end: int) -> list[tuple[int, str]]:
        """(time, label) of every speaker, longest first; ties in order of label."""
        spoken = [(int(c[end] - c[start]), s) for c, s in zip(self._by_speaker, self._speakers, strict=True)]
        return sorted(spoken, key=lambda pair: (-pair[0], pair[1]))

    def ratio(self, start: int, end: int, speaker: str | None) -> float:
        """Fraction of the stretch in which the speaker talks; in which anyone talks, for None."""
        spoken = self.speech(start, end)
        if speaker is not None:
            spoken = {label: ms for ms, label in self.ranked(start, end)}[speaker]
        return spoken / (end - start)


def _cumulative(mask: NDArray[np.bool_]) -> NDArray[np.int32]:
    return np.concatenate([[0], np.cumsum(mask, dtype=np.int32)]).astype(np.int32)
