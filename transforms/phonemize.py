"""Phonemize: the text of each accepted segment as IPA phones and their ids."""

from collections.abc import Sequence
from dataclasses import dataclass, replace

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


@dataclass(frozen=True)
class Phones:
    """The phones of a text, or why it has none."""

    phones: str | None = None
    ids: tuple[int, ...] = ()
    reason: str | None = None
    """`unspoken_symbol`, `unknown_phone` or `no_text`"""


def phones_of(texts: Sequence[str], voice: str) -> list[Phones]:
    """Phones of the spoken form of each text.

    A text with a symbol that cannot be spoken has none (`unspoken_symbol`): its phones would lack what is in the sound. Nor has
    one with a phone that is not in the phone set (`unknown_phone`): a model could not learn anything from an id for those.
    """
    phone_set = load_phone_set(voice)
    spoken = [spoken_form(text) for text in texts]
    phones = load_phonemizer(voice).phonemize([form.text for form in spoken])
    return [
        Phones(reason="unspoken_symbol") if form.dropped else _encoded(found, phone_set)
        for form, found in zip(spoken, phones, strict=True)
    ]


def _encoded(phones: str, phone_set: PhoneSet) -> Phones:
    try:
        ids = phone_set.encode(phones)
    except UnknownPhone:
        return Phones(reason="unknown_phone")
    return Phones(phones, ids) if ids else Phones(reason="no_text")  # the text has only bracketed remarks, such as "[music]"


class Phonemize(UnitStage):
    """Fills `phones` and `phone_ids` of the accepted segments of a unit. A segment whose text has none is rejected."""

    name = "phonemize"

    def __init__(self, config: PhonemizeConfig) -> None:
        super().__init__()
        self.config = config

    def run(self, state: UnitState) -> UnitState:
        accepted = [segment for segment in state.segments if segment.accepted]
        if not accepted:
            return state
        texts = [segment.transcript.text if segment.transcript else "" for segment in accepted]
        found = iter(phones_of(texts, self.config.voice))
        return replace(state, segments=tuple(self._filled(s, next(found)) if s.accepted else s for s in state.segments))

    def _filled(self, segment: Segment, found: Phones) -> Segment:
        if found.reason is None:
            return replace(segment, phones=found.phones, phone_ids=found.ids)
        Metrics.counter(self.name, f"rejected_{found.reason}").inc()
        return replace(segment, rejected_by=self.name, reasons=(found.reason,))
