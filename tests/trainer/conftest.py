"""Speech of three artificial speakers, small enough for one CPU core."""

from collections.abc import Sequence
from pathlib import Path

import pytest
import soundfile as sf

from voxbeam.models.threads import pin_threads
from voxbeam.trainer.codec.data import AudioUtterance, find_utterances, split_speakers

from tests.audio_fixtures import SAMPLE


@pytest.fixture(autouse=True)
def one_thread() -> None:
    """One thread in every test: loading Whisper in another test resets the thread count, which changes the last digits."""
    pin_threads()


@pytest.fixture(scope="session")
def speech_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Three "speakers" of a few seconds each, as wav and flac, from the sample that pyannote.audio ships."""
    folder = tmp_path_factory.mktemp("speech")
    audio, rate = sf.read(SAMPLE, dtype="float32")
    for index, name in enumerate(("1-a.flac", "2-a.wav", "3-a.flac")):
        sf.write(folder / name, audio[index * 8 * rate : (index * 8 + 4) * rate], rate)
    return folder


@pytest.fixture(scope="session")
def utterances(speech_folder: Path) -> Sequence[AudioUtterance]:
    """The training utterances."""
    return split_speakers(find_utterances(str(speech_folder)), 1)[0]
