"""The chain of stages that every unit goes through, in order. Add a new stage here (docs/add-a-stage.md)."""

from voxbeam.schemas.config import CorpusConfig
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
        Phonemize(config.phonemize),
    ]


STAGES = tuple(stage.name for stage in build_stages(CorpusConfig()))
"""names of all stages, in order"""
