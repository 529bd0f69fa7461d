"""Who is heard in a sample: purity and kept speech against exact turns. Shapes: T moments of 10 ms, P persons."""

from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from voxbeam.evaluation.built import BuiltRecording, BuiltSegment

MOMENT_MS = 10
FOREIGN_MS, LONE_MS, OWN_PAUSE_MS = 200, 2000, 500
"""what makes a sample impure; shortest stretch of lone speech; longest pause inside one"""


@dataclass(frozen=True)
class Moments:
    """Who speaks when in a recording."""

    persons: list[str]
    count_T: NDArray[np.int64]
    """how many speak at once"""
    who_T: NDArray[np.int64]
    """the one who speaks alone, −1 where nobody does"""


@dataclass(frozen=True)
class Heard:
    """What a sample holds."""

    person: str | None
    """who is heard alone for the longest"""
    foreign_ms: int
    """time of anyone else, or of several at once"""

    @property
    def impure(self) -> bool:
        return self.foreign_ms >= FOREIGN_MS or self.person is None


def moments(built: BuiltRecording) -> Moments:
    """Who speaks when, from the turns of a recording's truth."""
    turns = built.truth.turns
    persons = sorted({turn.speaker for turn in turns})
    length = max([built.duration_ms, *(turn.end_ms for turn in turns)]) // MOMENT_MS + 2
    active_PT = np.zeros((len(persons), length), np.bool_)
    for turn in turns:
        active_PT[persons.index(turn.speaker), round(turn.start_ms / MOMENT_MS) : round(turn.end_ms / MOMENT_MS)] = True
    count_T = active_PT.sum(axis=0)
    return Moments(persons, count_T, np.where(count_T == 1, active_PT.argmax(axis=0), -1))


def heard_in(now: Moments, segment: BuiltSegment) -> Heard:
    """Whose voice a segment holds, and how much of others."""
    span = slice(segment.start_ms // MOMENT_MS, segment.end_ms // MOMENT_MS)
    alone = Counter(now.who_T[span][now.who_T[span] >= 0].tolist())
    main = alone.most_common(1)
    foreign = alone.total() - (main[0][1] if main else 0) + int((now.count_T[span] > 1).sum())
    return Heard(now.persons[main[0][0]] if main else None, MOMENT_MS * foreign)


def lone_speech(now: Moments) -> NDArray[np.bool_]:
    """Moments [T] of stretches of 2 s and more in which one person speaks alone, own pauses of up to 0.5 s included."""
    lone_T = np.zeros(len(now.who_T), np.bool_)
    for person in range(len(now.persons)):
        merged: list[list[int]] = []
        for start, end in _runs(now.who_T == person):
            gap = slice(merged[-1][1], start) if merged else slice(0, 0)
            if merged and start - merged[-1][1] <= OWN_PAUSE_MS // MOMENT_MS and not now.count_T[gap].any():
                merged[-1][1] = end
            else:
                merged.append([start, end])
        for start, end in merged:
            if end - start >= LONE_MS // MOMENT_MS:
                lone_T[start:end] |= now.who_T[start:end] == person
    return lone_T


def states(built: BuiltRecording, length: int) -> NDArray[np.object_]:
    """What became of every moment: `accepted`, the reasons of a rejection joined by `+`, or `no segment`."""
    state_T = np.full(length, "no segment", object)
    for segment in built.segments:
        state_T[segment.start_ms // MOMENT_MS : segment.end_ms // MOMENT_MS] = "+".join(segment.reasons) or "accepted"
    return state_T


def _runs(mask_T: NDArray[np.bool_]) -> Iterator[tuple[int, int]]:
    edges = np.flatnonzero(np.diff(np.concatenate([[0], mask_T.astype(np.int8), [0]])))
    return zip(edges[::2].tolist(), edges[1::2].tolist(), strict=True)
