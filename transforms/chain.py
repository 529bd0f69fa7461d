"""Stages: the chain that every unit goes through, in order. A new stage is added here (docs/add-a-stage.md)."""

from voxbeam.schemas.config import CorpusConfig
from voxbeam.transforms.base import UnitStage
from voxbeam.transforms.decode import Decode
from voxbeam.transforms.diarize import Diarize
from voxbeam.transforms.filter import Filter
from voxbeam.transforms.phonemize import Phonemize
from voxbeam.transforms.score import Score
from voxbeam.transforms.segment import SegmentSpeech
from voxbeam.transforms.tokenize import Tokenize
from voxbeam.transforms.transcribe import Transcribe

STAGES = tuple(stage.name for stage in (Decode, Diarize, SegmentSpeech, Transcribe, Score, Filter, Phonemize, Tokenize))
"""names of all stages, in order"""


def stages_of(config: CorpusConfig) -> list[UnitStage]:
    """The stages that the configuration asks for."""
    return [
        Decode(config.decode, config.device),
        Diarize(config.diarize, config.device),
        SegmentSpeech(config.segment),
        Transcribe(config.transcribe, config.device),
        Score(config.score, config.device),
        Filter(config.filter),
        Phonemize(config.phonemize),
        Tokenize(config.tokenize, config.device),
    ]
