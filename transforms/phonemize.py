"""Phonemize: the text of each accepted segment as IPA phones and their ids."""

from dataclasses import replace

from apache_beam.metrics import Metrics

from voxbeam.models.phones import Phonemizer, PhoneSet, UnknownPhone, load_phone_set, open_phonemizer
from voxbeam.models.spoken_form import spoken_form
from voxbeam.schemas.config import PhonemizeConfig
from voxbeam.schemas.segment import Segment
from voxbeam.transforms.base import UnitStage, UnitState, once_per_process


@once_per_process
def load_phonemizer(voice: str) -> Phonemizer:
    """The phonemizer of an espeak-ng voice. Raises ModelError for an unknown voice."""
    return open_phonemizer(voice)


class Phonemize(UnitStage):
    """Fills `phones` and `phone_ids` of the accepted segments of a unit, from the spoken form of their text.

    A segment with a symbol that cannot be spoken is rejected (`unspoken_symbol`): its phones would lack what is in the sound.
    A segment with a phone that is not in the phone set is rejected (`unknown_phone`). There is no id for unknown phones, since a
    model could not learn anything from it.
    """

    name = "phonemize"

    def __init__(self, config: PhonemizeConfig) -> None:
        super().__init__()
        self.config = config

    def run(self, state: UnitState) -> UnitState:
        accepted = [segment for segment in state.segments if segment.accepted]
        if not accepted:
            return state
        phone_set = load_phone_set(self.config.voice)
        spoken = [spoken_form(segment.transcript.text if segment.transcript else "") for segment in accepted]
        phones = load_phonemizer(self.config.voice).phonemize([form.text for form in spoken])
        done = {
            s.start_ms: self._rejected(s, "unspoken_symbol") if form.dropped else self._with_phones(s, p, phone_set)
            for s, form, p in zip(accepted, spoken, phones, strict=True)
        }
        return replace(state, segments=tuple(done.get(s.start_ms, s) if s.accepted else s for s in state.segments))

    def _with_phones(self, segment: Segment, phones: str, phone_set: PhoneSet) -> Segment:
        try:
            ids = phone_set.encode(phones)
        except UnknownPhone:
            reason = "unknown_phone"
        else:
            if ids:
                return replace(segment, phones=phones, phone_ids=ids)
            reason = "no_text"  # the text has only bracketed remarks, such as "[music]"
        return self._rejected(segment, reason)

    def _rejected(self, segment: Segment, reason: str) -> Segment:
        Metrics.counter(self.name, f"rejected_{reason}").inc()
        return replace(segment, rejected_by=self.name, reasons=(reason,))
