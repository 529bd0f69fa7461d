"""Fixtures that all tests share: real speech, and the data beside the repository where it is present."""

from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pytest
import soundfile as sf
import soxr
from numpy.typing import NDArray

from tests.audio_fixtures import SAMPLE

Writer = Callable[..., Path]
_SUBTYPES = {
    "wav16": ("wav", "WAV", "PCM_16"),
    "wav24": ("wav", "WAV", "PCM_24"),
    "wavf": ("wav", "WAV", "FLOAT"),
    "flac": ("flac", "FLAC", "PCM_16"),
    "vorbis": ("ogg", "OGG", "VORBIS"),
    "opus": ("opus", "OGG", "OPUS"),
    "mp3": ("mp3", "MP3", "MPEG_LAYER_III"),
}
FORMATS = (*_SUBTYPES, "m4a")


@pytest.fixture(scope="session", autouse=True)
def own_ledger(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """A ledger and keys of the tests' own, which commands and Synthesizers use; nothing of the user's is read or written."""
    folder = tmp_path_factory.mktemp("safety")
    with pytest.MonkeyPatch.context() as environment:
        environment.setenv("VOXBEAM_LEDGER", str(folder / "ledger"))
        environment.setenv("VOXBEAM_KEYS", str(folder / "keys"))
        yield folder


@pytest.fixture(scope="session")
def speech() -> NDArray[np.float32]:
    """Thirty seconds of two people talking, float32 at 16 kHz."""
    pcm, rate = sf.read(SAMPLE, dtype="float32")
    assert rate == 16_000
    return pcm


@pytest.fixture(scope="session")
def shared_data() -> Path:
    """The data beside the repository: LibriSpeech and AMI clips. Skips where it is absent."""
    folder = Path(__file__).resolve().parents[2] / "shared" / "data"
    if not folder.is_dir():
        pytest.skip("needs ../shared/data")
    return folder


@pytest.fixture(scope="session")
def write_audio(speech: NDArray[np.float32]) -> Writer:
    """`write_audio(folder, format, rate, channels, seconds)` writes real speech in one of FORMATS."""

    def write(folder: Path, kind: str, rate: int = 16_000, channels: int = 1, seconds: float = 30.0) -> Path:
        mono = soxr.resample(speech, 16_000, rate)[: round(seconds * rate)]
        sound = np.stack([mono * (1 - 0.3 * c) for c in range(channels)], axis=1)
        if kind == "m4a":
            return _write_m4a(folder / "speech.m4a", sound, rate)
        suffix, container, subtype = _SUBTYPES[kind]
        path = folder / f"{kind}.{suffix}"
        sf.write(path, sound, rate, format=container, subtype=subtype)
        return path

    return write


@pytest.fixture(scope="session")
def corpus_uri(tmp_path_factory: pytest.TempPathFactory, speech: NDArray[np.float32]) -> str:
    """A corpus of two releases made by hand, with real speech and sources to cut (tests/reporting/corpora.py); read only."""
    from voxbeam.models.threads import pin_threads

    from tests.reporting.corpora import build_by_hand

    pin_threads()
    return build_by_hand(tmp_path_factory.mktemp("reported [1]*"), speech).root


def _write_m4a(path: Path, sound: NDArray[np.float32], rate: int) -> Path:
    import av

    layout = "mono" if sound.shape[1] == 1 else "stereo"
    with av.open(str(path), "w", format="ipod") as container:
        stream = container.add_stream("aac", rate=rate, layout=layout)
        for start in range(0, len(sound), 1024):
            block = np.ascontiguousarray(sound[start : start + 1024].T)
            frame = av.AudioFrame.from_ndarray(block, format="fltp", layout=layout)
            frame.sample_rate, frame.pts = rate, start
            container.mux(stream.encode(frame))
        container.mux(stream.encode(None))
    return path
