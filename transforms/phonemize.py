"""Phonemize: the text of each accepted segment as IPA phones and their ids."""

from dataclasses import replace

from apache_beam.metrics import Metrics

from voxbeam.models.phones import Phonemizer, PhoneSet, UnknownPhone, load_phone_set, open_phonemizer
from voxbeam.models.text_normalization import normalize_text
from voxbeam.schemas.config import PhonemizeConfig
from voxbeam.schemas.segment import Segment
from voxbeam.transforms.base import UnitStage, UnitWork, once_per_process


@once_per_process
def load_phonemizer(voice: str) -> Phonemizer:
    """The phonemizer of a voice, one per process. Raises RuntimeError for a voice that it does not know."""
    return open_phonemizer(voice)


class Phonemize(UnitStage):
    """Fills `phones` and `phone_ids` of the accepted segments of a unit, from their normalised text.

    A segment with a phone outside the phone set is rejected (`unknown_phone`): there is no id for "something else", since a
    model could only learn noise from it.
    """

    name = "phonemize"

    def __init__(self, config: PhonemizeConfig) -> None:
        super().__init__()
        self.config = config

    def run(self, work: UnitWork) -> UnitWork:
        accepted = [segment for segment in work.segments if segment.accepted]
        if not accepted:
            return work
        phone_set = load_phone_set(self.config.voice)
        texts = [normalize_text(segment.transcript.text) if segment.transcript else "" for segment in accepted]
        phones = load_phonemizer(self.config.voice).phonemize(texts)
        done = {s.start_ms: self._filled(s, p, phone_set) for s, p in zip(accepted, phones, strict=True)}
        return replace(work, segments=tuple(done.get(s.start_ms, s) if s.accepted else s for s in work.segments))

    def _filled(self, segment: Segment, phones: str, phone_set: PhoneSet) -> Segment:
        try:
            ids = phone_set.encode(phones)
        except UnknownPhone:
            reason = "unknown_phone"
        else:
            if ids:
                return replace(segment, phones=phones, phone_ids=ids)
            reason = "no_text"  # bracketed asides alone, such as "[music]"
        Metrics.counter("phonemize", f"rejected_{reason}").inc()
        return replace(segment, rejected_by=self.name, reasons=(reason,))
