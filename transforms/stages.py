"""Stages: the chain that every unit goes through, in order. A new stage is added here (docs/add-a-stage.md)."""

from schemas.config import CorpusConfig
from transforms.cut import Cut
from transforms.decode import Decode
from transforms.diarize import Diarize
from transforms.judge import Judge
from transforms.phonemize import Phonemize
from transforms.score import Score
from transforms.stage import UnitStage
from transforms.tokenize import Tokenize
from transforms.transcribe import Transcribe


def stages_of(config: CorpusConfig) -> list[UnitStage]:
    """The stages that the configuration asks for."""
    return [
        Decode(config.decode, config.device),
        Diarize(config.diarize, config.device),
        Cut(config.cut),
        Transcribe(config.transcribe, config.device),
        Score(config.score, config.device),
        Judge(config.judge),
        Phonemize(config.phonemize),
        Tokenize(config.tokenize, config.device),
    ]
