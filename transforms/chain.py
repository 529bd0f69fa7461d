"""The chain of stages that every unit goes through, in order. Add a new stage here (docs/add-a-stage.md)."""

from collections.abc import Iterable

from voxbeam.schemas.config import CorpusConfig
from voxbeam.schemas.fingerprint import kind_of_stage
from voxbeam.transforms.base import UnitStage
from voxbeam.transforms.decode import DecodeAudio
from voxbeam.transforms.diarize import Diarize
from voxbeam.transforms.phonemize import Phonemize
from voxbeam.transforms.purity import Purity
from voxbeam.transforms.score import Score
from voxbeam.transforms.segment import SegmentSpeech
from voxbeam.transforms.tokenize import Tokenize
from voxbeam.transforms.transcribe import Transcribe


def build_stages(config: CorpusConfig) -> list[UnitStage]:
    """The stages, set up from the configuration. Phones come last: a segment whose text has none has codes all the same."""
    return [
        DecodeAudio(config.decode, config.device),
        Diarize(config.diarize, config.device),
        SegmentSpeech(config.segment),
        Purity(config.purity),
        Transcribe(config.transcribe, config.device),
        Score(config.score, config.device),
        Tokenize(config.tokenize, config.device),
        *(Tokenize(codec, config.device, name) for name, codec in config.codecs.items()),
        Phonemize(config.phonemize),
    ]


STAGES = tuple(stage.name for stage in build_stages(CorpusConfig()))
"""names of all stages, in order; further codecs add one each"""


def in_order(stages: Iterable[str]) -> list[str]:
    """All stages, with those of further codecs that are among some names, in the order in which they run."""
    found = {stage for stage in stages if kind_of_stage(stage) in STAGES}
    return sorted(found.union(STAGES), key=lambda stage: (STAGES.index(kind_of_stage(stage)), stage))
