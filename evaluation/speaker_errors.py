"""Diarization error rate of the segments of a corpus, by pyannote.metrics."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from voxbeam.evaluation.built import BuiltRecording
from voxbeam.schemas.errors import ModelError

if TYPE_CHECKING:
    from pyannote.core import Annotation


@dataclass(frozen=True, kw_only=True)
class SpeakerErrors:
    """Seconds of a recording: of true speech, and of errors."""

    total: float
    missed: float
    false_alarm: float
    confusion: float

    @property
    def all(self) -> float:
        return self.missed + self.false_alarm + self.confusion


def speaker_errors(built: BuiltRecording, *, collar_s: float, skip_overlap: bool) -> SpeakerErrors:
    """The parts of the diarization error rate of a recording. Segments count, accepted or rejected, if they name a speaker.

    Args:
        built: with turns in its truth.
        collar_s: time on either side of every true edge that is not counted, as NIST's md-eval has it.
        skip_overlap: leave out the time in which several speak, which a corpus cuts out on purpose.

    Raises ModelError without pyannote.metrics.
    """
    try:
        from pyannote.core import Annotation, Segment, Timeline
        from pyannote.metrics.diarization import DiarizationErrorRate
    except ImportError as error:
        raise ModelError("the diarization error rate needs pyannote.metrics", remedy="install voxbeam[pipeline]") from error
    # pyannote's collar is the whole width around an edge, NIST's is either side of it
    metric = DiarizationErrorRate(collar=2 * collar_s, skip_overlap=skip_overlap)
    reference, hypothesis = Annotation(uri=built.recording), Annotation(uri=built.recording)
    for number, turn in enumerate(built.truth.turns):
        reference[Segment(turn.start_ms / 1000, turn.end_ms / 1000), number] = turn.speaker
    for number, segment in enumerate(built.segments):
        if segment.speaker is not None:
            hypothesis[Segment(segment.start_ms / 1000, segment.end_ms / 1000), number] = segment.speaker
    everything = Timeline([Segment(0, built.duration_ms / 1000)], uri=built.recording)
    parts = _parts(metric, reference, hypothesis, everything)
    return SpeakerErrors(
        total=parts["total"], missed=parts["missed detection"], false_alarm=parts["false alarm"], confusion=parts["confusion"]
    )


def _parts(metric: object, reference: Annotation, hypothesis: Annotation, everything: object) -> dict[str, float]:
    return metric(reference, hypothesis, uem=everything, detailed=True)  # type: ignore[operator]
