"""Reuse: what an earlier unit of the same window knows, and which stages have to run all the same.

A stage runs again if its fingerprint differs. Turns, mixed times and voices are not kept in a form that later stages can use, so
whatever needs them runs from `diarize` on. Sound is decoded only for a stage that hears it.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from functools import partial

from voxbeam.schemas.fingerprint import SOUND, kind_of_stage
from voxbeam.schemas.segment import LocalSpeaker, Segment, Turn

_DEAF = ("phonemize",)
"""stages that do not hear the sound"""
_RUNS_WITH = {"segment": ("diarize",), "purity": ("diarize", "segment")}
"""stage → stages whose result it needs and a unit file does not hold"""
_COST = {
    "decode": 1,
    "diarize": 10,
    "segment": 1,
    "purity": 1,
    "transcribe": 8,
    "score": 3,
    "tokenize": 2,
    "phonemize": 1,
    SOUND: 1,
}
"""about the time of each, to choose among earlier units"""


def stages_to_run(earlier: Mapping[str, str], wanted: Mapping[str, str]) -> frozenset[str]:
    """The stages that have to run so that a unit with the fingerprints `earlier` becomes one with those that are wanted."""
    run = {stage for stage, mark in wanted.items() if earlier.get(stage) != mark}
    run |= {needed for stage in run for needed in _RUNS_WITH.get(stage, ())}
    return frozenset(run | {"decode"} if run - {*_DEAF} else run)


def cost_of(run: frozenset[str]) -> int:
    """About the time that stages take, in no unit."""
    return sum(_COST[kind_of_stage(stage)] for stage in run)


@dataclass(frozen=True, kw_only=True)
class EarlierUnit:
    """The content of an earlier unit of the same window."""

    run: frozenset[str]
    """stages that have to run all the same"""
    start_ms: int
    end_ms: int
    peak: float
    turns: tuple[Turn, ...]
    speakers: tuple[LocalSpeaker, ...]
    mixed: tuple[tuple[int, int], ...]
    segments: tuple[Segment, ...]
    flac: dict[int, bytes] = field(default_factory=dict)
    """start of a segment → its sound"""

    def cut(self) -> tuple[Segment, ...]:
        """The segments as the stage `segment` left them."""
        return tuple(
            Segment(
                start_ms=s.start_ms,
                end_ms=s.end_ms,
                speaker=s.speaker,
                speech_ratio=s.speech_ratio,
                rejected_by=s.rejected_by if s.rejected_by == "segment" else None,
                reasons=s.reasons if s.rejected_by == "segment" else (),
            )
            for s in self.segments
        )

    def fill(self, stage: str, segments: tuple[Segment, ...]) -> tuple[Segment, ...] | None:
        """The segments with what a later stage found out of each; None if they are not cut as they were."""
        kind, _, codec = stage.partition(".")
        fill = partial(_codes_of, codec) if codec else _FILL[kind]
        return tuple(map(fill, segments, self.segments)) if self.fits(segments) else None

    def fits(self, segments: tuple[Segment, ...]) -> bool:
        """Whether segments are cut as this unit's are."""
        cuts = ([(s.start_ms, s.end_ms, s.speaker) for s in some] for some in (segments, self.segments))
        return next(cuts) == next(cuts)


def _codes_of(codec: str, segment: Segment, known: Segment) -> Segment:
    codes = known.further_codes.get(codec)
    return segment if codes is None else replace(segment, further_codes={**segment.further_codes, codec: codes})


def _phones(segment: Segment, known: Segment) -> Segment:
    segment = replace(segment, phones=known.phones, phone_ids=known.phone_ids)
    return replace(segment, rejected_by="phonemize", reasons=known.reasons) if known.rejected_by == "phonemize" else segment


_FILL: dict[str, Callable[[Segment, Segment], Segment]] = {
    "purity": lambda s, known: replace(s, voice_distance=known.voice_distance, second_voice=known.second_voice),
    "transcribe": lambda s, known: replace(s, transcript=known.transcript),
    "score": lambda s, known: replace(s, scores=known.scores),
    "tokenize": lambda s, known: replace(s, codes=known.codes),
    "phonemize": _phones,
}
